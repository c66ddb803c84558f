"""What a training step minimises, and the same on images kept aside.

Noise level, noise and dropped labels of a batch come from one generator, which is made from the numbers of the run, the
step and the process: a resumed run draws what it would have drawn.
"""

import math

import numpy as np
import torch
from config import TrainConfig
from torch import Tensor

from ncsn_pipeline import (
    LadderSigmas,
    LogNormalSigmas,
    LogUniformSigmas,
    MixtureSigmas,
    ScoreUNet,
    edm_weight,
    geometric_ladder,
    multi_level_denoising_score_matching,
    sigma_squared_weight,
)
from ncsn_pipeline.data import ImageData, to_range
from ncsn_pipeline.noise_levels import SigmaDistribution

NUM_BANDS = 8


def build_sigma_distribution(config: TrainConfig) -> SigmaDistribution:
    """How the noise level of each image is drawn."""
    if config.sigma_distribution == "ladder":
        return LadderSigmas(geometric_ladder(config.sigma_max, config.sigma_min, config.num_levels).tolist())
    loguniform = LogUniformSigmas(config.sigma_min, config.sigma_max)
    lognormal = LogNormalSigmas(config.sigma_log_mean, config.sigma_log_std, config.sigma_min, config.sigma_max)
    mixture = MixtureSigmas(lognormal, loguniform, config.sigma_lognormal_fraction)
    return {"loguniform": loguniform, "lognormal": lognormal, "mixture": mixture}[config.sigma_distribution]


def generator_for(*numbers: int) -> torch.Generator:
    """A generator that depends on these numbers alone, so that a resumed run draws the noise it would have drawn."""
    return torch.Generator().manual_seed(int(np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0]))


class Objective:
    """The loss of a batch; noise levels, noise and dropped labels are drawn with one generator."""

    def __init__(self, config: TrainConfig) -> None:
        self.config = config
        self.draw_sigma = build_sigma_distribution(config)
        self.weight = edm_weight(config.sigma_data) if config.loss_weight == "edm" else sigma_squared_weight

    def __call__(
        self,
        network: torch.nn.Module,
        batch: dict[str, Tensor],
        generator: torch.Generator,
        sigma: Tensor | None = None,
    ) -> Tensor:
        """One value an image, shape `(B,)`: its loss per dimension.  A given `sigma` is used, and no label dropped."""
        x = to_range(batch["image"], self.config.data_min, self.config.data_max)
        labels = batch.get("label")
        if sigma is None:
            sigma = self.draw_sigma(len(x), generator, x.device)
            if labels is not None:
                dropped = torch.rand(len(x), generator=generator) < self.config.class_dropout
                labels = labels.masked_fill(dropped.to(labels.device), self.null_class(network))
        loss = multi_level_denoising_score_matching(
            lambda noised, level: network(noised, level, class_labels=labels).sample.float(),
            x,
            sigma,
            weight=self.weight,
            generator=generator,
        )
        return loss / x[0].numel()

    @staticmethod
    def null_class(network: torch.nn.Module) -> int:
        """The index of the null class."""
        return getattr(network, "module", network).config.num_class_embeds


@torch.no_grad()
def held_out_loss(objective: Objective, network: ScoreUNet, data: ImageData, with_labels: bool) -> dict[str, float]:
    """The loss on images that were not trained on: overall, and in each of eight bands of ln sigma.

    Images, noise and noise levels are the same at every call.
    """
    config = objective.config
    count = config.num_validation_images
    edges = np.geomspace(config.sigma_min, config.sigma_max, NUM_BANDS + 1)
    band = torch.arange(count) % NUM_BANDS
    place = torch.rand(count, generator=generator_for(config.seed, 1))
    sigma = (torch.tensor(edges, dtype=torch.float32).log()[0] + (band + place) * math.log(edges[1] / edges[0])).exp()
    losses = []
    for start in range(0, count, 256):
        part = torch.arange(start, min(start + 256, count))
        chosen = data.subset(part % len(data))
        batch = {"image": chosen.images.to(network.device)}
        if with_labels and chosen.labels is not None:
            batch["label"] = chosen.labels.to(network.device)
        generator = generator_for(config.seed, 2, start)
        losses.append(objective(network, batch, generator, sigma[part].to(network.device)).cpu())
    loss = torch.cat(losses)
    result = {"held_out/loss": loss.mean().item()}
    for i in range(NUM_BANDS):
        result[f"held_out/sigma {edges[i]:.2g} to {edges[i + 1]:.2g}"] = loss[band == i].mean().item()
    return result
