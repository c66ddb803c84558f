"""A pipeline from a U-Net that was trained as DDPM or DDIM, which becomes a score at any sigma: `DDPMScoreModel`."""

import os
from typing import Any

import torch
from diffusers import DDPMScheduler, DiffusionPipeline, UNet2DModel
from diffusers.utils import logging

from ncsn_pipeline.networks.modeling_ddpm_score import DDPMScoreModel
from ncsn_pipeline.pipelines.folders import NCSNPipeline
from ncsn_pipeline.sampling.scheduling_annealed import ConsistentAnnealedScheduler

logger = logging.get_logger(__name__)

DEFAULT_EVALUATIONS = 50  # benchmarks/ddpm.py compares it with the other samplers
_SCHEDULE = (
    "num_train_timesteps",
    "beta_start",
    "beta_end",
    "beta_schedule",
    "trained_betas",
    "rescale_betas_zero_snr",
)


def from_ddpm(
    source: str | os.PathLike | DiffusionPipeline, *, scheduler: Any = None, null_class: bool = False, **kwargs: Any
) -> NCSNPipeline:
    """A pipeline with the U-Net of a DDPM or DDIM pipeline as its score network.

    Args:
        source: a folder, a repository on the Hub, or a loaded pipeline with a `UNet2DModel` and its scheduler.
        scheduler: what samples; by default consistent annealed sampling from sigma at the last training time to sigma
            at the first, in `DEFAULT_EVALUATIONS` evaluations, or as many as there are times.
        null_class: whether the last class is the null class of classifier-free guidance.
        **kwargs: as in `DiffusionPipeline.from_pretrained`, where `revision` pins a repository.

    Raises:
        ValueError: for a pipeline that does not turn noise into images by one such U-Net.
    """
    if isinstance(source, DiffusionPipeline):
        if kwargs:
            raise ValueError(f"{', '.join(kwargs)} are for loading; a pipeline that is loaded takes none of them.")
        pipeline = source
    else:
        pipeline = DiffusionPipeline.from_pretrained(source, **kwargs)
    parts = pipeline.components
    name = type(pipeline).__name__
    if set(parts) != {"unet", "scheduler"} or not isinstance(parts["unet"], UNet2DModel):
        raise ValueError(
            f"{name} has the parts {', '.join(sorted(parts))}; from_ddpm takes pipelines with a UNet2DModel `unet` and "
            "a `scheduler` alone, as DDPMPipeline and DDIMPipeline have, which work on the images themselves."
        )
    trained = parts["scheduler"]
    if getattr(trained, "alphas_cumprod", None) is None:
        raise ValueError(
            f"{type(trained).__name__} has no alphas_cumprod, the noise that the U-Net was trained on. Load the "
            "pipeline with the scheduler of its training, such as DDPMScheduler or DDIMScheduler."
        )
    unet = parts["unet"]
    network = DDPMScoreModel(
        unet.config,
        _noise_schedule(trained),
        trained.config.get("prediction_type", "epsilon"),
        null_class,
        trained.config.get("clip_sample_range", 1.0) if trained.config.get("clip_sample") else None,
    )
    if trained.config.get("thresholding"):
        logger.warning(
            f"The dynamic thresholding of this {type(trained).__name__} is not taken over: samples are not clipped by "
            "the quantiles of their pixels."
        )
    network.unet = unet
    network.eval()
    if scheduler is None:
        levels = min(DEFAULT_EVALUATIONS, len(trained.alphas_cumprod))
        scheduler = ConsistentAnnealedScheduler(levels, network.config.sigma_min, network.config.sigma_max)
    return NCSNPipeline(network, scheduler, data_min=-1.0, data_max=1.0)


def _noise_schedule(scheduler: Any) -> dict[str, Any]:
    """The betas of the training in few words, or as numbers where those would not give the same."""
    schedule = {key: scheduler.config[key] for key in _SCHEDULE if scheduler.config.get(key) is not None}
    try:
        same = torch.allclose(DDPMScheduler(**schedule).alphas_cumprod, scheduler.alphas_cumprod, rtol=1e-6, atol=0)
    except (NotImplementedError, RuntimeError):  # a schedule that only the other scheduler knows
        same = False
    if not same:
        betas = torch.as_tensor(scheduler.betas, dtype=torch.float32).tolist()
        schedule = {"num_train_timesteps": len(betas), "trained_betas": betas}
    return schedule
