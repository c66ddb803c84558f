"""A classifier two-sample test: can a classifier tell the samples from real pictures?

A classifier is trained to tell two sets of equal size apart, and its accuracy is taken on pictures it has not seen.
Where both come from one distribution it is a coin, whatever the classifier:

    accuracy ~ N(1 / 2, 1 / (4 n)),  n the number of pictures that were judged          (Lopez-Paz and Oquab, 2017)

Above that, the sets differ, the more so the nearer it is to 1.  Each picture is judged once, by the classifier of those
that were trained without it (cross-validation).
"""

import math

import numpy as np
from torch import Tensor
from torch.nn import functional as F

from .pyramid import laplacian_pyramid

MOST_PIXELS = 16  # a side; of larger pictures, what is finer than that goes in as its strength


def descriptors(images: Tensor) -> np.ndarray:
    """What the classifier sees of each picture, `(N, F)`: its pixels, and the strength of each scale of a pyramid.

    Args:
        images: `(N, C, H, W)` in [0, 1].
    """
    strengths = [level.square().mean((2, 3)).sqrt() for level in laplacian_pyramid(images)]
    side = min(MOST_PIXELS, *images.shape[-2:])
    small = F.interpolate(images, size=(side, side), mode="bilinear", antialias=True) if side == MOST_PIXELS else images
    return np.concatenate([small.flatten(1).numpy(), *(strength.numpy() for strength in strengths)], axis=1)


def two_sample_accuracy(images: Tensor, real: Tensor, *, folds: int = 4, seed: int = 0) -> float:
    """Accuracy, in [0, 1], of telling two sets of pictures apart; 1/2 for one distribution.

    Args:
        images: `(N, C, H, W)` in [0, 1].
        real: `(N, C, H, W)`, as many.
        folds: parts of the cross-validation, at most N.
        seed: of the parts and the classifier.

    Raises:
        ValueError: for sets of different shape or size, or fewer than two pictures each.
    """
    from sklearn.ensemble import HistGradientBoostingClassifier
    from sklearn.model_selection import StratifiedKFold, cross_val_predict

    if images.shape != real.shape or len(images) < 2:
        raise ValueError(
            f"Two sets of equally many pictures, at least two, are needed; got {tuple(images.shape)} and "
            f"{tuple(real.shape)}."
        )
    inputs = np.concatenate([descriptors(images), descriptors(real)])
    truth = np.repeat([1, 0], len(images))
    classifier = HistGradientBoostingClassifier(
        max_iter=30,
        max_leaf_nodes=8,
        min_samples_leaf=5,
        learning_rate=0.2,
        max_features=0.1,
        early_stopping=False,
        random_state=seed,
    )
    parts = StratifiedKFold(min(folds, len(images)), shuffle=True, random_state=seed)
    return float((cross_val_predict(classifier, inputs, truth, cv=parts) == truth).mean())


def null_deviation(count: int) -> float:
    """Standard deviation of the accuracy if both sets, of `count` pictures each, come from one distribution."""
    return 1 / math.sqrt(8 * count)
