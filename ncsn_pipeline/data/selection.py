"""Which part of a data set is meant, where it has several of a kind."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Selection:
    """Names within a data set; what is `None` is found out.

    Args:
        image_column: the column of pictures.
        label_column: the column of classes.
        dataset_config_name: one of the configurations of a data set that has several.
        train_split: the part to train on.
        test_split: the part to measure on; by default `test` or `validation`, or some of the training images.

    Raises:
        ValueError: for one part both to train and to measure on.
    """

    image_column: str | None = None
    label_column: str | None = None
    dataset_config_name: str | None = None
    train_split: str = "train"
    test_split: str | None = None

    def __post_init__(self) -> None:
        if self.train_split == self.test_split:
            raise ValueError(
                f"train_split and test_split are both {self.train_split!r}: what is trained on cannot measure. Leave "
                "test_split out, and some of the images are kept aside."
            )
