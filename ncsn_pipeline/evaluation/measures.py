"""The measures that suit any pictures, together: of samples, and of as many real pictures in their place.

    sliced_wasserstein          mean over the scales of a pyramid, and sliced_wasserstein_28 at that of 28 pixels
    two_sample_accuracy         of a classifier that tells the samples from real pictures; 1/2 is as good as real
    precision, recall           of the samples, in the features that they are compared in, else in pixels

Each compares a set with test images.  None knows what the pictures show.
"""

from dataclasses import dataclass

from torch import Tensor

from .features import as_floats
from .precision_recall import NEIGHBOUR, precision_and_recall
from .pyramid import pyramid_distances
from .two_sample import two_sample_accuracy

# Of fewer, chance alone moves the accuracy by 3.5 % and more, and the 1 % quantile of distances is the smallest one.
FEWEST_IMAGES = 100
MOST_IMAGES = 2000  # of each set: time and memory grow with it, and the noise of the measures is small by then


@dataclass(frozen=True)
class Measured:
    """One measure, of the samples and of as many real pictures; `real` is `None` where there are none to compare."""

    samples: float
    real: float | None


def measure_pictures(
    images: Tensor, test: Tensor, vectors: Tensor | None = None, test_vectors: Tensor | None = None, *, seed: int = 0
) -> dict[str, float]:
    """Every measure of one set of pictures against test images, by the names above.

    Precision and recall, which need more than `NEIGHBOUR` pictures, are left out of fewer, and the accuracy is left out
    of fewer than 100.

    Args:
        images: `(N, C, H, W)`, bytes, at least two; of them, and of the test images, the first 2,000 are compared, and
            as many of the one as of the other.
        test: `(M, C, H, W)`, bytes, in random order.
        vectors: features of `images`, `(N, F)`; `None` for pixels.
        test_vectors: features of `test`, `(M, F)`.
        seed: of patches, directions and the classifier.

    Raises:
        ValueError: for images of different shapes.
    """
    count = min(len(images), len(test), MOST_IMAGES)
    images, test = as_floats(images[:count]), as_floats(test[:count])
    scales = pyramid_distances(images, test, seed=seed)
    found = {"sliced_wasserstein": sum(scales.values()) / len(scales)}
    found |= {f"sliced_wasserstein_{height}": distance for height, distance in scales.items()}
    if count >= FEWEST_IMAGES:
        found["two_sample_accuracy"] = two_sample_accuracy(images, test, seed=seed)
    if count > NEIGHBOUR:
        pair = (images.flatten(1), test.flatten(1)) if vectors is None else (vectors[:count], test_vectors[:count])
        found["precision"], found["recall"] = precision_and_recall(*pair)
    return found
