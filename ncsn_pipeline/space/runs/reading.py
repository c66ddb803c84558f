"""What the shipped classifier reads in a model's pictures, where it was trained on the same data."""

from collections import Counter
from collections.abc import Sequence

import numpy as np
import torch

from ...evaluation.choosing import choose_features, training_data, training_facts
from ...evaluation.features import ClassifierFeatures, extract_features

MNIST = "ylecun/mnist"
DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")


def reader_for(folder: str, channels: int) -> ClassifierFeatures | None:
    """The classifier that knows the data of the model in that folder; `None` where none does.

    Args:
        folder: of a model.
        channels: of its pictures.
    """
    trained_on = training_data(training_facts(folder))
    return choose_features(None, None, trained_on, trained_on, channels)[0] if trained_on else None


def reads_digits(reader: ClassifierFeatures | None) -> bool:
    """Whether what it reads are handwritten digits."""
    return reader is not None and reader.classifier.config.dataset == MNIST


def read(reader: ClassifierFeatures, pictures: np.ndarray) -> list[int]:
    """The class that each picture looks like.

    Args:
        reader: the classifier.
        pictures: shape `(B, H, W, C)`, in [0, 1].
    """
    images = torch.from_numpy(pictures).permute(0, 3, 1, 2).float()
    return extract_features(images, reader).probabilities.argmax(1).tolist()


def words_about(found: Sequence[int], asked: Sequence[int] | None, names: Sequence[str]) -> str:
    """How many read as asked ("18 of 20 read as asked"), or where nothing was asked, what they are ("5 twos, 1 six").

    Several of a class that is no number are called by its name alone ("5 landscape, 1 moods").

    Args:
        found: the class that each picture looks like.
        asked: the class that was asked of each, if any was.
        names: of the classes; one that has none is called by its number.
    """
    if asked is not None:
        right = sum(one == other for one, other in zip(found, asked, strict=True))
        return f"{right} of {len(found)} read as asked"
    return ", ".join(f"{count} {_called(label, names, count)}" for label, count in Counter(found).most_common())


def _called(label: int, names: Sequence[str], count: int) -> str:
    """A class in words, several of it where there are: "two", "sixes", "landscape", "of class 3"."""
    if label >= len(names):
        return f"of class {label}"
    name = names[label]
    if not name.isdecimal() or int(name) >= len(DIGITS):
        return name
    word = DIGITS[int(name)]
    return word if count == 1 else f"{word}es" if word.endswith("x") else f"{word}s"
