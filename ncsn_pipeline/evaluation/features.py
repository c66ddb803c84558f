"""The networks in whose features two sets of images are compared: a classifier of theirs; Inception for photographs."""

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..finding import find_model
from .classifier import ImageClassifier

FEATURE_NETWORKS = ("classifier", "inception")
SHIPPED_CLASSIFIERS = {"ylecun/mnist": "mnist_classifier", "avatars": "avatars_classifier"}  # by their data


@dataclass(frozen=True)
class Features:
    """What a feature network says about N images.

    Args:
        vectors: features, `(N, F)`, float64.
        probabilities: of the classes, `(N, K)`, float64; `None` for a network that does not classify.
    """

    vectors: Tensor
    probabilities: Tensor | None


def framed(images: Tensor, size: int, margin: int = 0) -> Tensor:
    """Pictures of any size as a classifier was shown them, `(B, C, size, size)`.

    Larger ones are taken to have its margin.  Those that fit into it (scikit-learn's 8x8 digits into MNIST's 20x20)
    fill their frame, and get it.

    Args:
        images: `(B, C, H, W)` in [0, 1].
        size: side of the result.
        margin: empty pixels at each side.
    """
    height, width = images.shape[-2:]
    if (height, width) == (size, size):
        return images
    inner = size - 2 * margin
    side = inner if max(height, width) <= inner else size
    resized = F.interpolate(images, size=(side, side), mode="bicubic", antialias=True).clamp(0, 1)
    return F.pad(resized, [(size - side) // 2] * 4)


class ClassifierFeatures(nn.Module):
    """A classifier as a feature network: pictures are brought to its size by :func:`framed`.

    Args:
        classifier: a trained :class:`ImageClassifier`.
    """

    def __init__(self, classifier: ImageClassifier) -> None:
        super().__init__()
        self.classifier = classifier.eval()

    @property
    def name(self) -> str:
        """What these features are called beside numbers: they mean nothing without it."""
        return f"a classifier of {self.classifier.config.dataset or 'unnamed pictures'}"

    def forward(self, images: Tensor) -> Features:
        """Features and class probabilities of `images`, `(B, C, H, W)` in [0, 1].

        Raises:
            ValueError: for images with another number of channels.
        """
        config = self.classifier.config
        if images.ndim != 4 or images.shape[1] != config.in_channels:
            raise ValueError(
                f"These features take images of shape (B, {config.in_channels}, H, W); got {tuple(images.shape)}. "
                "Choose a classifier of such pictures, or for photographs the inception features."
            )
        vectors = self.classifier.features(framed(images, config.sample_size, config.margin))
        return Features(vectors.double(), self.classifier.head(vectors).double().softmax(1))


class InceptionFeatures(nn.Module):
    """The 2,048 features of torchmetrics' Inception-v3, as in published Frechet distances of photographs.

    Raises:
        ModuleNotFoundError: without the optional packages torch-fidelity and torchvision.
    """

    name = "Inception-v3"

    def __init__(self) -> None:
        super().__init__()
        from torchmetrics.image.fid import NoTrainInceptionV3

        try:
            self.network = NoTrainInceptionV3(name="inception-v3-compat", features_list=["2048"])
        except ModuleNotFoundError as error:
            raise ModuleNotFoundError(
                "The inception features need two more packages: pip install torch-fidelity torchvision "
                "(they download weights of 90 MB at first use). Or give the features of a classifier."
            ) from error

    def forward(self, images: Tensor) -> Features:
        """Features of `images`, `(B, 1 or 3, H, W)` in [0, 1]."""
        pixels = (images * 255).round().clamp(0, 255).byte().expand(-1, 3, -1, -1)
        return Features(self.network(pixels).double(), None)


def load_feature_network(name: str, classifier: str | Path = "mnist_classifier") -> nn.Module:
    """The feature network called `name`: `"classifier"` or `"inception"`.

    Args:
        name: one of `FEATURE_NETWORKS`.
        classifier: folder or Hub name of an :class:`ImageClassifier`, or the name of a shipped one.

    Raises:
        ValueError: for an unknown name, or a classifier that cannot be read.
        ModuleNotFoundError: where Inception's optional packages are missing.
    """
    if name == "inception":
        return InceptionFeatures()
    if name != "classifier":
        raise ValueError(f"Unknown features {name!r}; there are: {', '.join(FEATURE_NETWORKS)}.")
    try:
        return ClassifierFeatures(ImageClassifier.from_pretrained(find_model(classifier, ImageClassifier.config_name)))
    except (OSError, ValueError) as error:
        raise ValueError(
            f"Could not read a classifier from {str(classifier)!r}: {error} "
            "Train one by `python -m ncsn_pipeline.evaluation.train_classifier`; "
            f"{' and '.join(SHIPPED_CLASSIFIERS.values())} are shipped."
        ) from error


@torch.no_grad()
def extract_features(images: Tensor, network: nn.Module, batch_size: int = 500) -> Features:
    """Features of many images, a batch at a time.

    Args:
        images: `(N, C, H, W)`, bytes 0 ... 255 or floats in [0, 1].
        network: from :func:`load_feature_network`.
        batch_size: number of images held as floats at once.

    Raises:
        ValueError: for no images, and as the network.
    """
    if len(images) == 0:
        raise ValueError("There are no images to take features of.")
    parts = [network(as_floats(part)) for part in images.split(batch_size)]
    classifies = parts[0].probabilities is not None
    return Features(
        torch.cat([part.vectors for part in parts]),
        torch.cat([part.probabilities for part in parts]) if classifies else None,
    )


def as_floats(images: Tensor) -> Tensor:
    """Bytes 0 ... 255 as float32 in [0, 1]; floats as they are."""
    return images.float() / 255 if images.dtype == torch.uint8 else images
