"""A DDPM of scikit-learn's digits by diffusers' own objective, and what samplers make of it."""

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
from diffusers import (
    DDIMScheduler,
    DDPMPipeline,
    DDPMScheduler,
    EDMDPMSolverMultistepScheduler,
    EDMEulerScheduler,
    UNet2DModel,
)
from diffusers.training_utils import EMAModel
from torch import Tensor
from torch.nn import functional as F

from ncsn_pipeline import (
    AnnealedLangevinScheduler,
    ConsistentAnnealedScheduler,
    PredictorCorrectorScheduler,
)
from ncsn_pipeline.data import load_images
from ncsn_pipeline.evaluation.features import extract_features, load_feature_network
from ncsn_pipeline.evaluation.quality import frechet_distance
from ncsn_pipeline.noise_levels import num_levels_for_overlap
from ncsn_pipeline.pipelines import from_ddpm

BATCH = 64
REFERENCE = 1000
SHOWN = 16


@dataclass(frozen=True)
class Result:
    """What was measured.

    Args:
        loss: mean squared error of epsilon over the last hundred steps.
        train_seconds: CPU time of the training.
        distances: Frechet distance of every sampler, of real images and of noise; the mean over the draws.
        errors: its standard error over the draws, by sampler; nothing where there is one draw.
        evaluations: network evaluations an image, by sampler.
        seconds: CPU time of the sampling, by sampler.
        images: the first few of every set, `(n, 1, 8, 8)` in [0, 1].
    """

    loss: float
    train_seconds: float
    distances: dict[str, float]
    errors: dict[str, float]
    evaluations: dict[str, int]
    seconds: dict[str, float]
    images: dict[str, Tensor]


def train(images: Tensor, steps: int, generator: torch.Generator) -> tuple[DDPMPipeline, float]:
    """A DDPM of `images`, `(N, 1, 8, 8)` in -1 ... 1, and its last loss."""
    scheduler = DDPMScheduler(1000)
    unet = UNet2DModel(
        sample_size=8, in_channels=1, out_channels=1, block_out_channels=(16, 32), layers_per_block=1,
        norm_num_groups=8, down_block_types=("DownBlock2D", "DownBlock2D"), up_block_types=("UpBlock2D", "UpBlock2D"),
    )  # fmt: skip
    optimizer = torch.optim.AdamW(unet.parameters(), lr=1e-3)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: min(1.0, 2 * (1 - step / steps)))
    average = EMAModel(unet.parameters(), decay=0.995, use_ema_warmup=True, power=3 / 4)
    losses = []
    for _ in range(steps):
        clean = images[torch.randint(len(images), (BATCH,), generator=generator)]
        noise = torch.randn(clean.shape, generator=generator)
        t = torch.randint(1000, (BATCH,), generator=generator)
        loss = F.mse_loss(unet(scheduler.add_noise(clean, noise, t), t).sample, noise)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        average.step(unet.parameters())
        losses.append(loss.detach())
    average.copy_to(unet.parameters())
    return DDPMPipeline(unet.eval(), scheduler), torch.stack(losses[-100:]).mean().item()


@torch.no_grad()
def ddim(pipeline: DDPMPipeline, samples: int, steps: int, generator: torch.Generator) -> Tensor:
    """The U-Net's own sampler, `(samples, 1, 8, 8)` in [0, 1]."""
    scheduler = DDIMScheduler.from_config(pipeline.scheduler.config, timestep_spacing="trailing")
    scheduler.set_timesteps(steps)
    x = torch.randn(samples, 1, 8, 8, generator=generator)
    for t in scheduler.timesteps:
        x = scheduler.step(pipeline.unet(x, t).sample, t, x).prev_sample
    return (x / 2 + 0.5).clamp(0, 1)


def run(
    steps: int, samples: int, ddim_steps: int = 50, seed: int = 0, langevin: int | None = None, draws: int = 1
) -> Result:
    """Trains and samples.

    Args:
        steps: of the training, 64 images each.
        samples: images of a draw.
        ddim_steps: network evaluations of every sampler but annealed Langevin dynamics.
        seed: of everything.
        langevin: network evaluations of annealed Langevin dynamics; by default as NCSNv2's technique 2 lays it out.
        draws: how often every sampler draws.
    """
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    data = load_images("digits")
    start = time.process_time()
    pipeline, loss = train(data.float_images(-1.0, 1.0), steps, generator)
    train_seconds = time.process_time() - start

    ours = from_ddpm(pipeline)
    ours.set_progress_bar_config(disable=True)
    default, config = ours.scheduler, ours.scheduler.config
    ends = {"sigma_min": config.sigma_min, "sigma_max": config.sigma_max}
    levels = num_levels_for_overlap(64, config.sigma_max, config.sigma_min)

    def score(scheduler: object, evaluations: int | None) -> Tensor:
        ours.scheduler, calls = scheduler, []
        hook = ours.unet.register_forward_pre_hook(lambda *_: calls.append(1))  # where nothing adds noise, one more
        images = ours(samples, generator=generator, num_inference_steps=evaluations, output_type="pt").images
        hook.remove()
        counts.append(len(calls))
        return images

    counts: list[int] = [ddim_steps] * draws
    samplers: dict[str, Callable[[], Tensor]] = {
        "DDIM": lambda: ddim(pipeline, samples, ddim_steps, generator),
        "annealed Langevin": lambda: score(AnnealedLangevinScheduler(levels, **ends), langevin),
        "consistent annealed": lambda: score(default, ddim_steps),
        "consistent, ODE": lambda: score(ConsistentAnnealedScheduler(ddim_steps, **ends, eta="ode"), ddim_steps),
        "predictor-corrector": lambda: score(PredictorCorrectorScheduler(ddim_steps // 2, **ends), ddim_steps),
        "EDM Euler": lambda: score(EDMEulerScheduler.from_config(config), ddim_steps),
        "EDM DPM-Solver": lambda: score(EDMDPMSolverMultistepScheduler.from_config(config), ddim_steps),
    }
    order = torch.randperm(len(data), generator=generator)
    real = data.float_images()[order]
    network = load_feature_network("classifier")
    reference = extract_features(real[:REFERENCE], network).vectors

    def distance(images: Tensor) -> float:
        return frechet_distance(extract_features(images, network).vectors, reference)

    shown, drawn, seconds = {"real images": real[REFERENCE:]}, {"real images": [distance(real[REFERENCE:])]}, {}
    for name, sampler in samplers.items():
        start = time.process_time()
        sets = [sampler() for _ in range(draws)]
        seconds[name] = (time.process_time() - start) / draws
        shown[name], drawn[name] = sets[0], [distance(images) for images in sets]
    shown["noise"] = torch.rand(samples, 1, 8, 8, generator=generator)
    drawn["noise"] = [distance(shown["noise"])]
    return Result(
        loss=loss,
        train_seconds=train_seconds,
        distances={name: statistics.mean(each) for name, each in drawn.items()},
        errors={name: statistics.stdev(each) / len(each) ** 0.5 for name, each in drawn.items() if len(each) > 1},
        evaluations=dict(zip(samplers, counts[::draws], strict=True)),
        seconds=seconds,
        images={name: images[:SHOWN] for name, images in shown.items()},
    )
