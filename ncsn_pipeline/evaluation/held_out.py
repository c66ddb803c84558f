"""The network itself, without a sampler: its denoising loss on images that it has not seen, noise level by noise level.

    mean over images and noise of  lambda(sigma) |s(x + sigma z, sigma) + z / sigma|² / (2 D),        z ~ N(0, I),

with EDM's weight lambda, in which an untrained network has 0.5 at every level (Karras et al. 2022).  Beside it stands
that of as many training images: where they are lower, the network has learned them by heart.
"""

from itertools import pairwise

import torch
from torch import Tensor

from ..data import to_range
from ..noise_levels import edm_weight, multi_level_denoising_score_matching
from ..pipelines import NCSNPipeline

BANDS = 8
MOST_IMAGES = 500


@torch.no_grad()
def denoising_losses(
    pipe: NCSNPipeline, images: Tensor, labels: Tensor | None, *, batch_size: int = 100, seed: int = 0
) -> dict[str, float]:
    """The loss per dimension in bands of noise levels, equally wide in ln sigma; the same noise at every call.

    Args:
        pipe: its network, the range of its pictures, and the levels it was trained on.
        images: `(N, C, H, W)`, bytes; the first 500 are used, each once in every band.
        labels: their classes, `(N,)`; `None` for the null class.
        batch_size: images at once.
        seed: of noise and noise levels.

    Returns:
        `"sigma 0.01 to 0.024"` -> loss, from the lowest band to the highest.
    """
    config, device = pipe.unet.config, pipe.unet.device
    images = to_range(images[:MOST_IMAGES], pipe.config.data_min, pipe.config.data_max)
    weight = edm_weight(getattr(config, "sigma_data", None) or images.std().item())
    ends = [getattr(config, name, None) or pipe.scheduler.config[name] for name in ("sigma_min", "sigma_max")]
    edges = torch.logspace(*torch.tensor(ends).log10().tolist(), BANDS + 1)
    with_labels = labels is not None and getattr(config, "num_class_embeds", None)
    generator, found = torch.Generator().manual_seed(seed), {}
    for low, high in pairwise(edges):
        sigma = low * (high / low) ** torch.rand(len(images), generator=generator)
        noise = torch.randn(images.shape, generator=generator)
        losses = []
        for part in torch.arange(len(images)).split(batch_size):
            classes = {"class_labels": labels[part].to(device)} if with_labels else {}

            def score(x: Tensor, level: Tensor, classes: dict[str, Tensor] = classes) -> Tensor:
                return pipe.unet(x, level, **classes).sample.float()

            x, level, z = (each[part].to(device) for each in (images, sigma, noise))
            losses.append(multi_level_denoising_score_matching(score, x, level, weight=weight, noise=z).cpu())
        found[f"sigma {low:.2g} to {high:.2g}"] = torch.cat(losses).mean().item() / images[0].numel()
    return found
