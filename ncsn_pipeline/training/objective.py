"""What a training step minimises, and what is measured on images kept aside.

    denoising       the network against the score of the noise that it was shown, over all levels
    sliced          the same levels without the noise: the network's own divergence, along random directions
    single_sigma    denoising at one level: the baseline that many levels are compared with

Whatever is minimised, the denoising loss is measured: its numbers can be compared.

Noise level, noise and dropped labels of a batch come from its :class:`~draws.BatchDraws`: an image gets the numbers
that belong to its place in the step, whatever the number of processes.
"""

import math

import torch
from accelerate import Accelerator
from torch import Tensor, nn

from ..data import ImageData, to_range
from ..noise_levels import (
    DiscreteSigmas,
    LogNormalSigmas,
    LogUniformSigmas,
    MixtureSigmas,
    NoisyScoreFn,
    SigmaDistribution,
    edm_weight,
    geometric_noise_levels,
    multi_level_denoising_score_matching,
    multi_level_sliced_score_matching,
    sigma_squared_weight,
)
from .config import TrainConfig
from .draws import BatchDraws, Purpose, Stream, generator_for
from .network import num_classes
from .tracking import NUM_BANDS, band_names, even_bands


def build_sigma_distribution(config: TrainConfig) -> SigmaDistribution:
    """How the noise level of each image is drawn."""
    if trains_on_levels(config):
        return DiscreteSigmas(training_levels(config).tolist())
    loguniform = LogUniformSigmas(config.sigma_min, config.sigma_max)
    lognormal = LogNormalSigmas(config.sigma_log_mean, config.sigma_log_std, config.sigma_min, config.sigma_max)
    mixture = MixtureSigmas(lognormal, loguniform, config.sigma_lognormal_fraction)
    return {"loguniform": loguniform, "lognormal": lognormal, "mixture": mixture}[config.sigma_distribution]


def trains_on_levels(config: TrainConfig) -> bool:
    """Whether the network is shown the levels of a noise schedule alone."""
    return config.sigma_distribution == "levels" or config.objective == "single_sigma"


def training_levels(config: TrainConfig) -> Tensor:
    """The noise levels, decreasing; of a single sigma, that one."""
    return geometric_noise_levels(config.sigma_max, config.sigma_min, config.schedule_length)


def prepare_images(images: Tensor, config: TrainConfig, draws: BatchDraws, *, flip: bool) -> Tensor:
    """Bytes `(B, C, H, W)` as the network is to see them without noise, float32 in [data_min, data_max]."""
    if flip:
        chance = draws.whole(lambda n, generator: torch.rand(n, generator=generator), Stream.FLIPS)
        flipped = (chance < 0.5).to(images.device).reshape(-1, 1, 1, 1)
        images = torch.where(flipped, images.flip(3), images)
    if not config.uniform_dequantization:
        return to_range(images, config.data_min, config.data_max)
    u = draws.uniform(images.shape[1:], images.device, Stream.DEQUANTIZATION)
    return (images + u) * ((config.data_max - config.data_min) / 256) + config.data_min


class Objective:
    """The loss of a batch; its noise levels, noise, projections and dropped labels are its `draws`."""

    def __init__(self, config: TrainConfig) -> None:
        self.config = config
        self.draw_sigma = build_sigma_distribution(config)
        self.weight = edm_weight(config.sigma_data) if config.loss_weight == "edm" else sigma_squared_weight

    def levels(self, draws: BatchDraws) -> Tensor:
        """The noise level of each image of a training batch, `(B,)`, on the CPU."""
        return draws.whole(self.draw_sigma, Stream.LEVELS)

    def __call__(
        self,
        network: nn.Module,
        batch: dict[str, Tensor],
        draws: BatchDraws,
        sigma: Tensor,
        *,
        training: bool = True,
    ) -> Tensor:
        """One value an image, shape `(B,)`: its loss per dimension at the noise levels `sigma`, `(B,)`.

        Without `training` it is the measure on images kept aside: the denoising loss, no image flipped and no label
        dropped.
        """
        x = prepare_images(batch["image"], self.config, draws, flip=training and self.config.random_flip)
        labels = batch.get("label")
        if training and labels is not None:
            chance = draws.whole(lambda n, generator: torch.rand(n, generator=generator), Stream.LABELS)
            dropped = chance < self.config.class_dropout
            labels = labels.masked_fill(dropped.to(labels.device), num_classes(network))
        loss = self.sliced if training and self.config.objective == "sliced" else self.denoising

        def score(noised: Tensor, level: Tensor) -> Tensor:
            return network(noised, level, class_labels=labels).sample.float()

        return loss(score, x, sigma.to(x.device), draws) / x[0].numel()

    def denoising(self, score: NoisyScoreFn, x: Tensor, sigma: Tensor, draws: BatchDraws) -> Tensor:
        """Denoising score matching, summed over dimensions, `(B,)`."""
        noise = draws.normal(x.shape[1:], x.device)
        return multi_level_denoising_score_matching(score, x, sigma, weight=self.weight, noise=noise)

    def sliced(self, score: NoisyScoreFn, x: Tensor, sigma: Tensor, draws: BatchDraws) -> Tensor:
        """Sliced score matching, summed over dimensions, `(B,)`: D lambda / (2 sigma²) below denoising, in the mean."""
        noise = draws.normal(x.shape[1:], x.device)
        projections = draws.rademacher((self.config.num_projections, *x.shape[1:]), x.device).transpose(0, 1)
        return multi_level_sliced_score_matching(
            score, x, sigma, weight=self.weight, noise=noise, projections=projections
        )


def noise_bands(config: TrainConfig) -> tuple[Tensor, Tensor]:
    """The lowest and the highest noise level of each band that losses are told apart by, increasing, `(bands,)` each.

    Bands are equally wide in ln sigma; where only single levels are trained on, they are made of them, as many each as
    can be.
    """
    if trains_on_levels(config):
        levels = training_levels(config).flip(0)
        bands = min(NUM_BANDS, len(levels))
        starts = torch.arange(bands + 1) * len(levels) // bands
        return levels[starts[:-1]], levels[starts[1:] - 1]
    return even_bands(config.sigma_min, config.sigma_max)


def held_out_levels(config: TrainConfig) -> tuple[Tensor, Tensor]:
    """The noise level of each held-out image, drawn within its band, and the number of that band, `(N,)` each."""
    count = config.num_validation_images
    place = torch.rand(count, generator=generator_for(config.seed, Purpose.HELD_OUT_LEVELS))
    low, high = noise_bands(config)
    band = torch.arange(count) % len(low)
    if trains_on_levels(config):
        levels = training_levels(config).flip(0)
        first, last = torch.searchsorted(levels, low), torch.searchsorted(levels, high)
        return levels[first[band] + (place.double() * (last - first + 1)[band]).long()], band
    start = low[0].float().log()
    return (start + (band + place) * math.log(high[0] / low[0])).exp(), band


@torch.no_grad()
def held_out_loss(
    objective: Objective,
    network: nn.Module,
    data: ImageData,
    with_labels: bool,
    accelerator: Accelerator | None = None,
) -> dict[str, float]:
    """The denoising loss on images that were not trained on: overall, and in each of eight bands of ln sigma.

    Images, noise and noise levels are the same at every call.  With `accelerator`, to be called in every process: each
    measures a share of the images and gets the numbers of all.
    """
    config = objective.config
    count = config.num_validation_images
    sigma, band = held_out_levels(config)
    loss = torch.zeros(count, device=network.device)
    size = config.train_batch_size  # which fits in memory
    process, processes = (accelerator.process_index, accelerator.num_processes) if accelerator else (0, 1)
    for start in range(process * size, count, processes * size):
        part = torch.arange(start, min(start + size, count))
        chosen = data.subset(part % len(data))
        batch = {"image": chosen.images.to(network.device)}
        if with_labels and chosen.labels is not None:
            batch["label"] = chosen.labels.to(network.device)
        draws = BatchDraws(config.seed, 0, start, len(part), count, Purpose.HELD_OUT)
        loss[part] = objective(network, batch, draws, sigma[part], training=False)
    loss = (accelerator.reduce(loss, reduction="sum") if accelerator else loss).cpu()
    result = {"held_out/loss": loss.mean().item()}
    for i, name in enumerate(band_names(*noise_bands(config))):
        result[f"held_out/{name}"] = loss[band == i].mean().item()
    return result
