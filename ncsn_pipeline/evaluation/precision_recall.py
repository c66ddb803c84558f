"""Precision and recall: how much of the samples looks real, and how much of what is real the samples reach.

Around each vector of a set lies a ball that reaches to its k-th nearest neighbour in that set; together they are taken
for the set's support (Kynkaanniemi et al. 2019, "Improved Precision and Recall Metric for Assessing Generative Models",
equations 1 and 2, k = 3):

    precision = part of the samples within a ball of the real pictures
    recall    = part of the real pictures within a ball of the samples

A model that draws a few perfect pictures has high precision and low recall, one that draws noise too has the opposite.
Both depend on the number of vectors and on the space, so they mean something beside those of as many real pictures.
"""

import torch
from torch import Tensor

NEIGHBOUR = 3


def precision_and_recall(
    vectors: Tensor, real: Tensor, *, k: int = NEIGHBOUR, batch_size: int = 500
) -> tuple[float, float]:
    """Precision and recall of one set of vectors against another, each in [0, 1].

    Args:
        vectors: of the samples, `(N, F)`: features, or pixels.
        real: of real pictures, `(M, F)`.
        k: the neighbour that a ball reaches to, 1 <= k < N and M.
        batch_size: vectors compared at once; memory is `8 batch_size max(N, M)` bytes.

    Raises:
        ValueError: for vectors of different lengths, or not more than k of them.
    """
    if vectors.ndim != 2 or real.ndim != 2 or vectors.shape[1] != real.shape[1]:
        raise ValueError(
            f"Two sets of vectors of one length are needed, (N, F) and (M, F); got {tuple(vectors.shape)} and "
            f"{tuple(real.shape)}."
        )
    if not 1 <= k < min(len(vectors), len(real)):
        raise ValueError(f"k must be at least 1 and below the numbers of vectors {len(vectors)}, {len(real)}; got {k}.")
    vectors, real = vectors.double(), real.double()
    return (
        part_within(vectors, real, ball_radii(real, k, batch_size), batch_size),
        part_within(real, vectors, ball_radii(vectors, k, batch_size), batch_size),
    )


def ball_radii(centres: Tensor, k: int, batch_size: int) -> Tensor:
    """Distance of each of `centres`, `(M, F)`, to its k-th nearest other one, `(M,)`."""
    parts = [torch.cdist(part, centres).kthvalue(k + 1, dim=1).values for part in centres.split(batch_size)]
    return torch.cat(parts)  # the nearest of all is the centre itself


def part_within(points: Tensor, centres: Tensor, radii: Tensor, batch_size: int) -> float:
    """Part of `points`, `(N, F)`, that lie in at least one of the balls."""
    parts = [(torch.cdist(part, centres) <= radii).any(1) for part in points.split(batch_size)]
    return torch.cat(parts).double().mean().item()
