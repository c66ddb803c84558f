"""How far samples are from the data, cheaply enough for a look during training, for pictures of any kind.

The Frechet distance of normal distributions,

    d² = |m - m'|² + tr(C + C' - 2 (C C')^(1/2)),

fitted to samples and to training images in the leading principal components of the training images' pixels.  It sees
brightness, contrast, coarse shape and missing variety, and no fine detail; published distances are those of
`evaluate.py`.
"""

import torch
from torch import Tensor

from ..data import ImageData
from ..evaluation.quality import frechet_distance
from ..pipelines import NCSNPipeline
from .config import TrainConfig
from .draws import Purpose, generator_for

COMPONENTS = 32
MOST_IMAGES = 2048


class PixelDistance:
    """The distance of samples to `real`; an object keeps the real images' components for many calls.

    Args:
        real: training images `(N, C, H, W)` in [0, 1], N >= 2; the first 2,048 count.
        num_samples: how many samples each call will have, >= 2; half as many components are looked at, 32 at most.

    Raises:
        ValueError: for fewer than two images or samples.
    """

    def __init__(self, real: Tensor, num_samples: int) -> None:
        if len(real) < 2 or num_samples < 2:
            raise ValueError(f"Two images and two samples are needed; got {len(real)} and {num_samples}.")
        pixels = real[:MOST_IMAGES].flatten(1).double().cpu()
        self.mean = pixels.mean(0)
        count = max(1, min(COMPONENTS, num_samples // 2, len(pixels) - 1, pixels.shape[1]))
        self.components = torch.linalg.svd(pixels - self.mean, full_matrices=False).Vh[:count].T
        self.real = self.project(pixels)

    def project(self, images: Tensor) -> Tensor:
        """Coordinates of images `(N, ...)` in the components, shape `(N, K)`, in units of pixel value."""
        return (images.flatten(1).double().cpu() - self.mean) @ self.components

    def __call__(self, samples: Tensor) -> float:
        """The squared distance of `samples`, `(M, C, H, W)` in [0, 1], M >= 2, to the real images."""
        return frechet_distance(self.project(samples), self.real)


class QualityProbe:
    """Draws samples from a pipeline and measures them, with as many real images that were not trained on beside them.

    Args:
        config: settings; `quality_samples` is the number of samples.
        data: training images.
        held_out: images that were not trained on.
    """

    def __init__(self, config: TrainConfig, data: ImageData, held_out: ImageData) -> None:
        self.config = config
        chosen = torch.randperm(len(data), generator=generator_for(config.seed, Purpose.MEASURING))[:MOST_IMAGES]
        self.distance = PixelDistance(data.subset(chosen).float_images(), config.quality_samples)
        some = held_out.subset(torch.arange(min(len(held_out), config.quality_samples)))
        self.real = self.distance(some.float_images()) if len(some) > 1 else None

    def __call__(self, pipeline: NCSNPipeline) -> dict[str, float]:
        """The distance of the samples and of the real images, the samples from the same noise at every call."""
        pipeline.set_progress_bar_config(disable=True)
        generator = generator_for(self.config.seed, Purpose.SAMPLES, 1)
        sizes = [len(part) for part in torch.arange(self.config.quality_samples).split(self.config.train_batch_size)]
        drawn = {"class_labels": "random"} if getattr(pipeline.unet.config, "num_class_embeds", None) else {}
        samples = [pipeline(size, generator=generator, output_type="pt", **drawn).images for size in sizes]
        numbers = {"quality/pixel distance": self.distance(torch.cat(samples))}
        return numbers if self.real is None else numbers | {"quality/pixel distance of real images": self.real}
