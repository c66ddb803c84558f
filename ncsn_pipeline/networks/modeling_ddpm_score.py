"""A DDPM's U-Net as a score network: from variance-preserving noise to any sigma.

DDPM (Ho et al. 2020) trains on x_VP = sqrt(a) x_0 + sqrt(1 - a) z, a = alphas_cumprod[t].  Divided by sqrt(a) that is
the noised image of every network here, so the same picture at the same noise is

    x = x_0 + sigma z,        sigma² = (1 - a) / a,        x_VP = sqrt(a) x,        sqrt(a) = 1 / sqrt(1 + sigma²)

and what the U-Net predicts there gives the score -epsilon / sigma by

    epsilon                                                                            (Ho et al. 2020)
    v = sqrt(a) epsilon - sqrt(1 - a) x_0:   epsilon = sqrt(a) v + sqrt(1 - a) x_VP    (Salimans & Ho 2022)
    x_0:                                     epsilon = (x - x_0) / sigma

A DDPM's sampler may clip the denoised image to the range of the data (`clip_sample`), x_0 = x - sigma epsilon to
-c ... c, and its score is then (x_0 - x) / sigma² where that changed x_0.

The training times are t = 0 ... T - 1; between them ln(sigma) -> t is interpolated linearly, and the U-Net's sinusoidal
embedding takes the fractional t.  Beyond the two ends t stays at the end while the scaling keeps to the true sigma.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from diffusers import ConfigMixin, DDPMScheduler, ModelMixin, UNet2DModel
from diffusers.configuration_utils import register_to_config
from diffusers.utils import BaseOutput, logging
from torch import Tensor

logger = logging.get_logger(__name__)

PREDICTION_TYPES = ("epsilon", "v_prediction", "sample")


@dataclass
class DDPMScoreModelOutput(BaseOutput):
    """What :class:`DDPMScoreModel` returns.

    Args:
        sample: the score at the given points, shape `(B, C, H, W)`, in units of 1 / (data unit).
    """

    sample: Tensor


class DDPMScoreModel(ModelMixin, ConfigMixin):
    """`(x, sigma[, class]) -> score` from a `UNet2DModel` that was trained as DDPM.

    Args:
        unet_config: the configuration of the `UNet2DModel`.  Where it has twice as many output as input channels, the
            second half are learned variances, which a score does not need: they are dropped.
        noise_schedule: how `DDPMScheduler` makes the betas of the training: `num_train_timesteps`, `beta_start`,
            `beta_end`, `beta_schedule`, `trained_betas`, `rescale_betas_zero_snr`; what is missing has its default.
        prediction_type: what the U-Net predicts, `"epsilon"`, `"v_prediction"` or `"sample"`.
        null_class: whether the last of the U-Net's classes is the null class, for classifier-free guidance.
        clip_sample: c of the clipping, > 0, in data units; `None` does not clip.
        sample_size: taken from `unet_config`, as are the next two.
        in_channels: number of colour channels; the score has as many.
        num_class_embeds: number of classes, without the null class; `None` for a model without labels.
        sigma_min: sigma at t = 0, taken from `noise_schedule`, as is the next.
        sigma_max: sigma at the last t at which it is finite.

    Raises:
        ValueError: for a U-Net, a schedule or a type of prediction that this does not cover.
    """

    _supports_gradient_checkpointing = True

    @register_to_config
    def __init__(
        self,
        unet_config: Mapping[str, Any],
        noise_schedule: Mapping[str, Any],
        prediction_type: str = "epsilon",
        null_class: bool = False,
        clip_sample: float | None = None,
        sample_size: int | tuple[int, int] | None = None,
        in_channels: int | None = None,
        num_class_embeds: int | None = None,
        sigma_min: float | None = None,
        sigma_max: float | None = None,
    ) -> None:
        super().__init__()
        if prediction_type not in PREDICTION_TYPES:
            raise ValueError(f"prediction_type must be one of {', '.join(PREDICTION_TYPES)}; got {prediction_type!r}.")
        if clip_sample is not None and not 0 < clip_sample < math.inf:
            raise ValueError(f"clip_sample must be a finite number > 0, or None; got {clip_sample!r}.")
        self.unet = UNet2DModel.from_config(dict(unet_config))
        config = self.unet.config
        self._check_unet(config, null_class)

        with torch.device("cpu"):  # numbers also where the weights are made on the meta device
            abar = DDPMScheduler(**noise_schedule).alphas_cumprod.double()
        # A schedule with zero terminal signal ends at an infinite sigma; float32 makes it a very large one.
        abar = abar[abar > 1e-7]
        # No buffer: it would lose its precision when the network is cast to a half type.
        self._log_sigmas = 0.5 * ((-abar).log1p() - abar.log())
        if len(abar) < 2 or not (self._log_sigmas.isfinite().all() and (self._log_sigmas.diff() > 0).all()):
            raise ValueError("noise_schedule must have at least two betas, all within (0, 1).")
        self._warned = False
        classes = config.num_class_embeds
        self.register_to_config(
            unet_config={key: value for key, value in config.items() if not key.startswith("_")},
            noise_schedule=dict(noise_schedule),
            sample_size=config.sample_size,
            in_channels=config.in_channels,
            num_class_embeds=classes - 1 if null_class else classes,
            sigma_min=math.exp(self._log_sigmas[0]),
            sigma_max=math.exp(self._log_sigmas[-1]),
            _use_default_values=[],  # from_config skips what is recorded as a default
        )

    @staticmethod
    def _check_unet(config: Any, null_class: bool) -> None:
        channels, out = config.in_channels, config.out_channels
        if config.time_embedding_type == "fourier":
            raise ValueError(
                "This U-Net has a Fourier embedding of sigma: it was not trained as DDPM, and may be a score already "
                "(score-SDE). Load a ScoreSdeVePipeline by NCSNPipeline.from_pretrained, or make NCSNPipeline(unet, "
                "scheduler) of it."
            )
        if out not in (channels, 2 * channels):
            raise ValueError(
                f"A U-Net of {channels} input channels has {channels} or {2 * channels} outputs, not {out}."
            )
        if config.class_embed_type is not None:
            raise ValueError(f"class_embed_type must be None, with num_class_embeds; got {config.class_embed_type!r}.")
        if config.sample_size is None:
            raise ValueError("The U-Net's config has no sample_size: write the images' side in pixels into it.")
        if null_class and (config.num_class_embeds or 0) < 2:
            raise ValueError(f"null_class needs at least two classes; num_class_embeds is {config.num_class_embeds}.")

    @classmethod
    def extract_init_dict(cls, config_dict: dict[str, Any], **kwargs: Any) -> tuple:
        """Reads a configuration; its `auto_map`, which tells `AutoModel` where the code is, is no setting."""
        return super().extract_init_dict({k: v for k, v in config_dict.items() if k != "auto_map"}, **kwargs)

    def forward(
        self,
        sample: Tensor,
        timestep: Tensor | float,
        class_labels: Tensor | None = None,
        return_dict: bool = True,
    ) -> DDPMScoreModelOutput | tuple[Tensor]:
        """The score at `sample` of the data density noised by `timestep`.

        Args:
            sample: noised images, shape `(B, C, H, W)`, in data units (-1 ... 1 without noise).
            timestep: sigma > 0, a number or a tensor of shape `()` or `(B,)`, in data units.
            class_labels: integers of shape `(B,)`, for a model with classes.  `None` means the null class, where there
                is one.
            return_dict: whether to return a :class:`DDPMScoreModelOutput` or a tuple with the score alone.
        """
        precise = torch.promote_types(sample.dtype, torch.float32)
        sigma = torch.as_tensor(timestep, dtype=precise, device=sample.device)
        if sigma.shape not in ((), (1,), sample.shape[:1]):
            raise ValueError(f"timestep must be one sigma or {len(sample)}, one an image; got {tuple(sigma.shape)}.")
        sigma = sigma.expand(sample.shape[0])
        if class_labels is None and self.config.null_class:
            class_labels = torch.full(sample.shape[:1], self.config.num_class_embeds, device=sample.device)

        per_image = sigma.reshape(-1, *[1] * (sample.dim() - 1))
        x = sample.to(precise)
        sqrt_abar = (1 + per_image**2).rsqrt()
        x_vp = sqrt_abar * x
        output = self.unet(x_vp.to(self.unet.dtype), self._time(sigma), class_labels, return_dict=False)[0]
        output = output[:, : x.shape[1]].to(precise)

        prediction_type = self.config.prediction_type
        if prediction_type == "epsilon":
            epsilon = output
        elif prediction_type == "v_prediction":
            epsilon = sqrt_abar * output + per_image * sqrt_abar * x_vp
        else:
            epsilon = (x - output) / per_image
        score = -epsilon / per_image
        if (c := self.config.clip_sample) is not None:
            x_0 = x - per_image * epsilon
            score = torch.where(x_0.abs() > c, (x_0.clamp(-c, c) - x) / per_image**2, score)
        score = score.to(sample.dtype)
        return DDPMScoreModelOutput(sample=score) if return_dict else (score,)

    def _time(self, sigma: Tensor) -> Tensor:
        """Continuous t of every sigma, shape `(B,)`, within 0 ... T - 1."""
        # Sigma spans five decades in a thousand steps: float32 would place t to 1e-4 only.
        wide = torch.float32 if sigma.device.type == "mps" else torch.float64
        grid = self._log_sigmas.to(sigma.device, wide)
        log_sigma = sigma.to(wide).log()
        above = torch.searchsorted(grid, log_sigma).clamp(1, len(grid) - 1)
        low, high = grid[above - 1], grid[above]
        t = (above - 1 + (log_sigma - low) / (high - low)).clamp(0, len(grid) - 1)
        self._warn_outside(sigma)
        return t.round().long() if self.unet.config.time_embedding_type == "learned" else t.float()

    def _warn_outside(self, sigma: Tensor) -> None:
        """Says once that sigma left the trained range; not on an accelerator, which the host would have to wait for."""
        if self._warned or torch.compiler.is_compiling() or sigma.device.type != "cpu":
            return
        low, high = self.config.sigma_min, self.config.sigma_max
        if sigma.max() > 1.01 * high or sigma.min() < 0.99 * low:
            self._warned = True
            logger.warning(
                f"Sigma lies in {sigma.min():.4g} ... {sigma.max():.4g}, but this DDPM was trained on {low:.4g} ... "
                f"{high:.4g}: outside of it the U-Net sees the nearest time that it knows."
            )
