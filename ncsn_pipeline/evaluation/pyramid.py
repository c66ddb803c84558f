"""Sliced Wasserstein distances between the patches of two sets of pictures, one for each scale.

    G_0 = x,  G_{k+1} = half of G_k,  L_k = G_k - double of G_{k+1},  and at the coarsest scale L_K = G_K

is the Laplacian pyramid of a picture (Burt and Adelson, 1983): L_k holds what is seen at scale k alone.  Patches of 7x7
pixels are taken from each level at random places, and the distributions of those of two sets are compared by the mean
Wasserstein distance of their projections on random directions (Karras et al. 2018, "Progressive Growing of GANs",
section 5).  A wrong texture shows at the fine levels, a wrong layout at the coarse ones.

The paper brings the patches of each set to mean 0 and deviation 1, which hides a wrong brightness or contrast; here
both sets are brought there by the moments of the real one, so that a distance is in deviations of real patches.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

from ..diagnostics import sliced_wasserstein

PATCH = 7
COARSEST = 8  # pixels; the paper, on pictures of 1024, stops at 16


def laplacian_pyramid(images: Tensor) -> list[Tensor]:
    """The levels of a Laplacian pyramid, finest first, until the next would be below `COARSEST` pixels.

    Args:
        images: `(N, C, H, W)`, floats; the levels added up, each enlarged, are the images again.
    """
    levels = []
    while min(images.shape[-2:]) >= 2 * COARSEST:
        height, width = images.shape[-2:]
        half = F.interpolate(images, size=(height // 2, width // 2), mode="bilinear", antialias=True)
        levels.append(images - F.interpolate(half, size=(height, width), mode="bilinear"))
        images = half
    return [*levels, images]


def random_patches(images: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """Square patches at random places, `(N count, C, P, P)`, P = 7 or the shorter side of smaller pictures.

    Args:
        images: `(N, C, H, W)`.
        count: patches of each picture.
        generator: draws the places.
    """
    number, _, height, width = images.shape
    side = min(PATCH, height, width)
    top, left = (
        torch.randint(extent - side + 1, (number, count, 1, 1), generator=generator) for extent in (height, width)
    )
    rows, columns = top + torch.arange(side).reshape(-1, 1), left + torch.arange(side)
    which = torch.arange(number).reshape(-1, 1, 1, 1)
    return images.movedim(1, -1)[which, rows, columns].flatten(0, 1).movedim(-1, 1)


def pyramid_distances(images: Tensor, real: Tensor, *, patches: int = 32, seed: int = 0) -> dict[int, float]:
    """Sliced Wasserstein distance at each scale, in deviations of real patches; 0 for equal sets.

    Args:
        images: `(N, C, H, W)` in [0, 1].
        real: `(M, C, H, W)`, likewise; as many as `images`, if results are to be compared: two finite sets of one
            distribution are not at 0, and the nearer the larger they are.
        patches: of each picture.
        seed: of places and directions.

    Returns:
        Height of the level in pixels -> distance, the finest first.

    Raises:
        ValueError: for images of different shapes.
    """
    if images.shape[1:] != real.shape[1:]:
        raise ValueError(f"Images differ in shape: {tuple(images.shape[1:])} and {tuple(real.shape[1:])}.")
    found = {}
    for level, real_level in zip(laplacian_pyramid(images), laplacian_pyramid(real), strict=True):
        given, true = (random_patches(one, patches, torch.Generator().manual_seed(seed)) for one in (level, real_level))
        mean = true.mean((0, 2, 3), keepdim=True)
        deviation = true.std((0, 2, 3), keepdim=True).clamp_min(1e-4)
        found[level.shape[-2]] = sliced_wasserstein(
            (given - mean) / deviation, (true - mean) / deviation, generator=torch.Generator().manual_seed(seed)
        )
    return found
