"""The networks of the NCSN papers: a RefineNet with dilations, instance normalisation that keeps the means, and ELU.

NCSN (Song & Ermon 2019, appendix A.1) knows the levels that it was trained on; NCSNv2 (Song & Ermon 2020, appendix
B.1) sees the image alone, and its technique 3 divides what comes out by sigma:

    NCSN      s(x, sigma) = f(2x - 1, i)         i: the level whose ln(sigma_i) is nearest to ln(sigma)
    NCSNv2    s(x, sigma) = f(2x - 1) / sigma

for data in [0, 1].  f is a stack of residual stages, the second at half the size (in NCSNv2's deeper kinds the third
and fourth halve it again) and the last two dilated, and a refinement block for each stage, from the last to the first:

    h_1 = res1(begin_conv(x)), h_k = res_k(h_(k-1))      stages
    r_n = refine(h_n), r_k = refine(h_k, r_(k+1))        refinements
    f   = end_conv(elu(normalizer(r_1)))

A refinement block adapts each input (two residual convolution units), brings them to one size and sums them
(multi-resolution fusion), pools twice with chained residuals, and ends with residual convolution units (Lin et al.
2017).  InstanceNorm++ adds back what instance normalisation takes away: with mu_c and s_c² the mean and variance of
channel c in one image, m and v² the mean and variance of the mu_c over channels,

    out_c = gamma_c ((x_c - mu_c) / s_c + alpha_c (mu_c - m) / v) + beta_c

NCSN has its own alpha, beta, gamma for every level, normalises in every unit and pools by the mean; NCSNv2 normalises
in the residual stages only and pools by the maximum.

The names of the parameters are those of the authors' checkpoints.  What is computed is what they compute, rearranged:
channels last in memory; a 5x5 maximum as 5x1 and 1x5; a convolution followed by the mean of 2x2 pixels as one
convolution with stride 2 and a 4x4 kernel; in-place activations and sums where nothing else reads the tensor.
"""

import math
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from numbers import Integral
from typing import Any, NamedTuple

import numpy as np
import torch
from diffusers import ConfigMixin, ModelMixin
from diffusers.configuration_utils import register_to_config
from diffusers.models.modeling_utils import get_parameter_dtype
from diffusers.utils import BaseOutput, logging
from torch import Tensor, nn
from torch.nn import functional as F

logger = logging.get_logger(__name__)

Norm = Callable[[int], nn.Module]


class Stage(NamedTuple):
    """A residual stage and its refinement: their names, width in units of `base_channels`, dilation, and halving."""

    residual: str
    refinement: str
    width: int
    dilation: int = 1
    halves: bool = False


ARCHITECTURES = {
    "ncsnv2": (
        Stage("res1", "refine4", 1),
        Stage("res2", "refine3", 2, halves=True),
        Stage("res3", "refine2", 2, dilation=2),
        Stage("res4", "refine1", 2, dilation=4),
    ),
    "ncsnv2_deeper": (
        Stage("res1", "refine5", 1),
        Stage("res2", "refine4", 2, halves=True),
        Stage("res3", "refine3", 2, halves=True),
        Stage("res4", "refine2", 4, dilation=2),
        Stage("res5", "refine1", 4, dilation=4),
    ),
    "ncsnv2_deepest": (
        Stage("res1", "refine5", 1),
        Stage("res2", "refine4", 2, halves=True),
        Stage("res3", "refine3", 2, halves=True),
        Stage("res31", "refine31", 2, halves=True),
        Stage("res4", "refine2", 4, dilation=2),
        Stage("res5", "refine1", 4, dilation=4),
    ),
}


@dataclass
class NCSNOutput(BaseOutput):
    """What :class:`NCSNModel` and :class:`NCSNv2Model` return.

    Args:
        sample: the score at the given points, shape `(B, C, H, W)`, in units of 1 / (data unit).
    """

    sample: Tensor


def normalise(x: Tensor, alpha: Tensor, beta: Tensor, gamma: Tensor) -> Tensor:
    """InstanceNorm++ of x, shape `(B, C, H, W)`; alpha, beta and gamma have shape `(C,)` or `(B, C)`.

    Half precision is left for it: squares of values beyond 256, which sigma = 90 has, are infinite in float16.
    """
    dtype = x.dtype
    x, alpha, beta, gamma = (each.to(torch.promote_types(dtype, torch.float32)) for each in (x, alpha, beta, gamma))
    means = x.mean((2, 3), keepdim=True)
    centred = x - means
    scale = gamma[..., None, None] * (centred.square().mean((2, 3), keepdim=True) + 1e-5).rsqrt()
    relative = means - means.mean(1, keepdim=True)
    relative = relative * (relative.square().sum(1, keepdim=True) / (x.shape[1] - 1) + 1e-5).rsqrt()
    shift = torch.addcmul(beta[..., None, None], (gamma * alpha)[..., None, None], relative)
    return torch.addcmul(shift, centred, scale).to(dtype)


class InstanceNormPlus(nn.Module):
    """InstanceNorm++ of NCSNv2."""

    def __init__(self, features: int) -> None:
        super().__init__()
        self.alpha = nn.Parameter(torch.randn(features) * 0.02 + 1)
        self.gamma = nn.Parameter(torch.randn(features) * 0.02 + 1)
        self.beta = nn.Parameter(torch.zeros(features))

    def forward(self, x: Tensor, levels: Tensor | None) -> Tensor:
        """Normalises x, shape `(B, C, H, W)`."""
        return normalise(x, self.alpha, self.beta, self.gamma)


# Weights are read by the module that owns them: offloading and layerwise casting bring them for its `forward` alone.
class LevelTable(nn.Embedding):
    """A row per level, and what lies between them."""

    def forward(self, levels: Tensor) -> Tensor:
        """Rows `(B, F)` by each image's share of every level, `(B, L)`."""
        return levels @ self.weight


class ConditionalInstanceNormPlus(nn.Module):
    """InstanceNorm++ of NCSN: gamma, alpha and beta of every level are a row of a table."""

    def __init__(self, features: int, num_levels: int) -> None:
        super().__init__()
        self.embed = LevelTable(num_levels, 3 * features)
        with torch.no_grad():
            self.embed.weight[:, : 2 * features].normal_(1, 0.02)
            self.embed.weight[:, 2 * features :].zero_()

    def forward(self, x: Tensor, levels: Tensor) -> Tensor:
        """Normalises x, shape `(B, C, H, W)`; `levels` has each image's share of every level, shape `(B, L)`."""
        gamma, alpha, beta = self.embed(levels).chunk(3, dim=1)
        return normalise(x, alpha, beta, gamma)


def conv3x3(channels_in: int, channels_out: int, dilation: int = 1, bias: bool = True) -> nn.Conv2d:
    """A convolution that keeps the size."""
    return nn.Conv2d(channels_in, channels_out, 3, padding=dilation, dilation=dilation, bias=bias)


class ConvMeanPool(nn.Conv2d):
    """A convolution followed by the mean of 2x2 pixels, as one convolution with stride 2."""

    def forward(self, x: Tensor) -> Tensor:
        """`(B, C, H, W)` to `(B, C', H / 2, W / 2)`."""
        if self.kernel_size == (1, 1):
            return super().forward(F.avg_pool2d(x, 2))
        # The mean of the kernel moved by 0 and 1 pixels, down and right; of a copy where gradients are taken, since
        # layerwise casting changes the weight's type before the way back, which reads what went in.
        weight = self.weight.clone() if torch.is_grad_enabled() else self.weight
        kernel = F.avg_pool2d(weight, 2, stride=1, padding=1)
        return F.conv2d(x, kernel, self.bias, stride=2, padding=1)


class ResidualBlock(nn.Module):
    """Norm, ELU, convolution, twice, beside a shortcut; the first block of a stage changes width or size."""

    def __init__(self, channels_in: int, channels_out: int, stage: Stage, first: bool, norm: Norm) -> None:
        super().__init__()
        self.normalize1 = norm(channels_in)
        self.conv1 = conv3x3(channels_in, channels_in, stage.dilation)
        self.normalize2 = norm(channels_in)
        if first and stage.halves:
            self.conv2 = nn.Sequential(OrderedDict(conv=ConvMeanPool(channels_in, channels_out, 3, padding=1)))
            self.shortcut = nn.Sequential(OrderedDict(conv=ConvMeanPool(channels_in, channels_out, 1)))
        else:
            self.conv2 = conv3x3(channels_in, channels_out, stage.dilation)
            self.shortcut = conv3x3(channels_in, channels_out, stage.dilation) if first else nn.Identity()

    def forward(self, x: Tensor, levels: Tensor | None) -> Tensor:
        """`(B, C, H, W)` to the stage's width and size."""
        h = self.conv1(F.elu(self.normalize1(x, levels), inplace=True))
        h = self.conv2(F.elu(self.normalize2(h, levels), inplace=True))
        return h.add_(self.shortcut(x))


class ResidualConvUnits(nn.Module):
    """Units of (norm of NCSN,) ELU, convolution, twice, beside the identity."""

    def __init__(self, features: int, num_units: int, norm: Norm | None) -> None:
        super().__init__()
        self.num_units = num_units
        for name in (f"{i}_{j}" for i in range(1, num_units + 1) for j in (1, 2)):
            self.add_module(f"{name}_norm", norm(features) if norm else None)
            self.add_module(f"{name}_conv", conv3x3(features, features, bias=False))

    def forward(self, x: Tensor, levels: Tensor | None) -> Tensor:
        """`(B, C, H, W)` to the same shape."""
        for i in range(1, self.num_units + 1):
            h = x
            for j in (1, 2):
                norm = getattr(self, f"{i}_{j}_norm")
                if norm is not None:
                    h = norm(h, levels)
                # Only the first activation without a norm still finds x, which the sum reads.
                h = F.elu(h, inplace=norm is not None or j == 2)
                h = getattr(self, f"{i}_{j}_conv")(h)
            x = h.add_(x)
        return x


def interpolate(x: Tensor, height: int, width: int) -> Tensor:
    """Bilinear interpolation that keeps the corners, `(B, C, H, W)` to `(B, C, height, width)`."""
    if not (torch.compiler.is_compiling() and torch.is_grad_enabled()):
        return F.interpolate(x, (height, width), mode="bilinear", align_corners=True)
    # Compiled for a CPU by torch 2.13, the gradient of `F.interpolate` can come out as zero: products instead.
    h = _hat_functions(x.shape[3], width, x) @ x.permute(0, 2, 3, 1)
    h = _hat_functions(x.shape[2], height, x) @ h.flatten(2)
    return h.unflatten(2, (width, -1)).permute(0, 3, 1, 2)


def _hat_functions(old: int, new: int, like: Tensor) -> Tensor:
    """The share of each of `old` points in each of `new` points on the same line, shape `(new, old)`."""
    place = torch.arange(new, device=like.device)[:, None] * ((old - 1) / (new - 1))
    return (1 - (place - torch.arange(old, device=like.device)).abs()).clamp(min=0).to(like.dtype)


class MultiResolutionFusion(nn.Module):
    """A convolution of every input, brought to one size and summed."""

    def __init__(self, channels_in: Sequence[int], features: int, norm: Norm | None) -> None:
        super().__init__()
        self.norms = nn.ModuleList(norm(channels) for channels in channels_in) if norm else None
        self.convs = nn.ModuleList(conv3x3(channels, features) for channels in channels_in)

    def forward(self, inputs: Sequence[Tensor], levels: Tensor | None) -> Tensor:
        """Inputs of shape `(B, C_i, H_i, W_i)` to the first one's size."""
        total = None
        for i, (conv, x) in enumerate(zip(self.convs, inputs, strict=True)):
            h = conv(x if self.norms is None else self.norms[i](x, levels))
            if h.shape[2:] != inputs[0].shape[2:]:
                h = interpolate(h, *inputs[0].shape[2:])
            total = h if total is None else total.add_(h)
        return total


def max_pool_5x5(x: Tensor) -> Tensor:
    """The maximum of 5x5 pixels, by columns and then by rows; `(B, C, H, W)` to the same shape."""
    return F.max_pool2d(F.max_pool2d(x, (5, 1), 1, (2, 0)), (1, 5), 1, (0, 2))


def mean_pool_5x5(x: Tensor) -> Tensor:
    """The mean of 5x5 pixels, zeros outside, by columns and then by rows; `(B, C, H, W)` to the same shape."""
    return F.avg_pool2d(F.avg_pool2d(x, (5, 1), 1, (2, 0)), (1, 5), 1, (0, 2))


class ChainedResidualPooling(nn.Module):
    """x + p_1 + p_2 after an ELU, where p_k = conv(pool(p_(k-1))) and p_0 = x."""

    def __init__(self, features: int, norm: Norm | None) -> None:
        super().__init__()
        self.norms = nn.ModuleList(norm(features) for _ in range(2)) if norm else None
        self.convs = nn.ModuleList(conv3x3(features, features, bias=False) for _ in range(2))

    def forward(self, x: Tensor, levels: Tensor | None) -> Tensor:
        """`(B, C, H, W)` to the same shape; x is overwritten."""
        x = F.elu(x, inplace=True)
        if self.norms is None:
            first = self.convs[0](max_pool_5x5(x))
            second = self.convs[1](max_pool_5x5(first))
        else:
            first = self.convs[0](mean_pool_5x5(self.norms[0](x, levels)))
            second = self.convs[1](mean_pool_5x5(self.norms[1](first, levels)))
        return second.add_(first).add_(x)


class RefineBlock(nn.Module):
    """Adapts each input, fuses them, pools, and adapts the result."""

    def __init__(self, channels_in: Sequence[int], features: int, last: bool, norm: Norm | None) -> None:
        super().__init__()
        self.adapt_convs = nn.ModuleList(ResidualConvUnits(channels, 2, norm) for channels in channels_in)
        self.msf = MultiResolutionFusion(channels_in, features, norm) if len(channels_in) > 1 else None
        self.crp = ChainedResidualPooling(features, norm)
        self.output_convs = ResidualConvUnits(features, 3 if last else 1, norm)

    def forward(self, inputs: Sequence[Tensor], levels: Tensor | None) -> Tensor:
        """Inputs of shape `(B, C_i, H_i, W_i)` to the first one's size."""
        adapted = [adapt(x, levels) for adapt, x in zip(self.adapt_convs, inputs, strict=True)]
        h = adapted[0] if self.msf is None else self.msf(adapted, levels)
        return self.output_convs(self.crp(h, levels), levels)


class RefineNet(ModelMixin, ConfigMixin):
    """What the two models share: the raw network f, made of stages and their refinements."""

    _supports_gradient_checkpointing = True
    gradient_checkpointing = False

    def _build(self, stages: Sequence[Stage], norm: Norm, norm_of_refinements: Norm | None) -> None:
        """Makes the layers, by the configuration's `sample_size`, `in_channels` and `base_channels`."""
        config = self.config
        self._stages = stages
        self._multiple = 2 ** sum(stage.halves for stage in stages)
        if config.in_channels < 1 or config.base_channels < 2:
            raise ValueError(
                f"in_channels must be at least 1 and base_channels at least 2; got {config.in_channels} and "
                f"{config.base_channels}."
            )
        if not 8 <= config.sample_size <= 256 or config.sample_size % self._multiple:
            raise ValueError(
                f"sample_size is {config.sample_size}; this network takes images of 8 to 256 pixels, a multiple of "
                f"{self._multiple}."
            )
        widths = [stage.width * config.base_channels for stage in stages]
        self.begin_conv = conv3x3(config.in_channels, widths[0])
        self.normalizer = norm(widths[0])
        self.end_conv = conv3x3(widths[0], config.in_channels)
        for k, (stage, width) in enumerate(zip(stages, widths, strict=True)):
            before, after = widths[max(k - 1, 0)], widths[k + 1 : k + 2]
            first = ResidualBlock(before, width, stage, k > 0, norm)
            self.add_module(stage.residual, nn.ModuleList([first, ResidualBlock(width, width, stage, False, norm)]))
            # Every refinement but the last stage's has the next one's result, which is as wide as this stage.
            inputs = [width, width] if after else [width]
            self.add_module(stage.refinement, RefineBlock(inputs, before, k == 0, norm_of_refinements))
        self.to(memory_format=torch.channels_last)
        self.register_to_config(_use_default_values=[])  # from_config skips what is recorded as a default

    @classmethod
    def from_pretrained(cls, *args: Any, **kwargs: Any) -> Any:
        """Loads the network; arguments as in `ModelMixin.from_pretrained`."""
        loaded = super().from_pretrained(*args, **kwargs)
        network = loaded[0] if isinstance(loaded, tuple) else loaded
        network.to(memory_format=torch.channels_last)  # loading puts contiguous weights in place of the network's own
        return loaded

    @classmethod
    def extract_init_dict(cls, config_dict: dict[str, Any], **kwargs: Any) -> tuple:
        """Reads a configuration; its `auto_map`, which tells `AutoModel` where the code is, is no setting."""
        return super().extract_init_dict({k: v for k, v in config_dict.items() if k != "auto_map"}, **kwargs)

    def enable_group_offload(self, *args: Any, **kwargs: Any) -> None:
        """Offloads groups of layers; arguments as in `ModelMixin.enable_group_offload`."""
        if kwargs.get("offload_to_disk_path") is not None:
            self.to(memory_format=torch.contiguous_format)  # safetensors files hold no other
        super().enable_group_offload(*args, **kwargs)

    def forward(
        self,
        sample: Tensor,
        timestep: Tensor | float,
        class_labels: Tensor | None = None,
        return_dict: bool = True,
    ) -> NCSNOutput | tuple[Tensor]:
        """The score at `sample` of the data density noised by `timestep`.

        Args:
            sample: noised images, shape `(B, C, H, W)`, data in [0, 1].
            timestep: sigma > 0, a number or a tensor of shape `()` or `(B,)`, in data units.  :class:`NCSNModel` warns
                of one that is more than 1 % off its levels (with `interpolate_levels`, off its ends), except where it
                is compiled.
            class_labels: `None`; these networks have no classes.
            return_dict: whether to return an :class:`NCSNOutput` or a tuple with the score alone.

        Raises:
            ValueError: for samples or sigmas of another shape, or given labels.
        """
        precise = torch.promote_types(sample.dtype, torch.float32)
        sigma = torch.as_tensor(timestep, dtype=precise, device=sample.device)
        self._check(sample, sigma, class_labels)
        score = self._score(sample.to(precise), sigma.reshape(-1)).to(sample.dtype)
        return NCSNOutput(sample=score) if return_dict else (score,)

    def _score(self, x: Tensor, sigma: Tensor) -> Tensor:
        """The score at x, shape `(B, C, H, W)`, of the noise levels `sigma`, shape `(1,)` or `(B,)`."""
        raise NotImplementedError

    def _check(self, sample: Tensor, sigma: Tensor, class_labels: Tensor | None) -> None:
        if class_labels is not None:
            raise ValueError("class_labels were given, but this network has no classes. Leave them out.")
        channels, multiple = self.config.in_channels, self._multiple
        if sample.dim() != 4 or sample.shape[1] != channels or sample.shape[2] % multiple or sample.shape[3] % multiple:
            raise ValueError(
                f"sample must have shape (B, {channels}, H, W) with H and W multiples of {multiple}; got "
                f"{tuple(sample.shape)}."
            )
        if sigma.shape not in ((), (1,), sample.shape[:1]):
            raise ValueError(f"timestep must be one sigma or {len(sample)}, one an image; got {tuple(sigma.shape)}.")

    def _run(self, block: Callable[..., Tensor], *inputs: Any) -> Tensor:
        """What a block makes of its inputs; under gradient checkpointing it is made again on the way back."""
        if self.gradient_checkpointing and torch.is_grad_enabled():
            return self._gradient_checkpointing_func(block, *inputs)
        return block(*inputs)

    def _raw(self, x: Tensor, levels: Tensor | None) -> Tensor:
        """The raw network f at 2x - 1, in the weights' precision; shape `(B, C, H, W)`."""
        h = (2 * x - 1).to(get_parameter_dtype(self.begin_conv), memory_format=torch.channels_last)
        h = self.begin_conv(h)
        outputs = []
        for stage in self._stages:
            for block in getattr(self, stage.residual):
                h = self._run(block, h, levels)
            outputs.append(h)
        for k, stage in reversed(list(enumerate(self._stages))):
            inputs = [outputs[k], h] if k + 1 < len(outputs) else [h]
            h = self._run(getattr(self, stage.refinement), inputs, levels)
        h = self.end_conv(F.elu(self.normalizer(h, levels), inplace=True))
        return h.contiguous()


class NCSNModel(RefineNet):
    """NCSN's network `(x, sigma) -> score`, conditioned on a level of its noise schedule.

    Source: Song & Ermon 2019, appendix A.1 (the authors' `CondRefineNetDilated`).

    Args:
        sample_size: height and width of the images, 8 to 256 pixels, even.
        in_channels: number of colour channels, >= 1; the score has as many.
        base_channels: channels of the first stage, >= 2; the others have twice as many.
        num_levels: number of levels L of the noise schedule, >= 1.
        sigma_min: smallest level sigma_L, > 0, in data units.
        sigma_max: largest level sigma_1, finite; equal to `sigma_min` only where L is 1.
        sigmas: the levels as numbers, strictly decreasing, in place of the geometric one that the three arguments
            before describe; they are then taken from it.
        interpolate_levels: whether a sigma between two levels gets a mean of their parameters, linear in ln(sigma);
            otherwise the nearest level's.
        denoiser_error: mean squared error per pixel r² of the denoised x + sigma² s, which training measures: pairs
            (sigma, r²), sigma decreasing (kept for pipelines that are given a measurement).

    Raises:
        ValueError: for sizes, channels or a noise schedule outside these ranges.
    """

    @register_to_config
    def __init__(
        self,
        sample_size: int = 32,
        in_channels: int = 3,
        base_channels: int = 128,
        num_levels: int = 10,
        sigma_min: float = 0.01,
        sigma_max: float = 1.0,
        sigmas: Sequence[float] | None = None,
        interpolate_levels: bool = False,
        denoiser_error: list[tuple[float, float]] | None = None,
    ) -> None:
        super().__init__()
        if sigmas is None:
            levels = geometric(sigma_max, sigma_min, num_levels).tolist()
        else:
            levels = check_noise_levels(sigmas).tolist()
            self.register_to_config(sigmas=levels, num_levels=len(levels), sigma_min=levels[-1], sigma_max=levels[0])
        self._log_levels = [math.log(sigma) for sigma in levels]
        norm = partial(ConditionalInstanceNormPlus, num_levels=len(levels))
        self._build(ARCHITECTURES["ncsnv2"], norm, norm)

    def _score(self, x: Tensor, sigma: Tensor) -> Tensor:
        """f at the levels that each sigma names."""
        return self._raw(x, self._levels(sigma.expand(x.shape[0])).to(get_parameter_dtype(self.begin_conv)))

    def _levels(self, sigma: Tensor) -> Tensor:
        """The share of every level in each sigma's parameters, `(B,)` to `(B, L)`; every row sums to 1."""
        log_levels = torch.tensor(self._log_levels, dtype=sigma.dtype, device=sigma.device)
        log_sigma = sigma.log()[:, None]
        # How far down each sigma is from level i to level i + 1, 0 to 1.
        descent = ((log_levels[:-1] - log_sigma) / (log_levels[:-1] - log_levels[1:])).clamp(0, 1)
        if not self.config.interpolate_levels:
            descent = descent.round()
        levels = F.pad(descent, (1, 0), value=1.0) - F.pad(descent, (0, 1))
        if not torch.compiler.is_compiling():
            self._warn_off_levels(log_sigma, levels @ log_levels[:, None])
        return levels

    @staticmethod
    def _warn_off_levels(log_sigma: Tensor, log_level: Tensor) -> None:
        """A warning for sigmas whose level is more than 1 % away, all of shape `(B, 1)`."""
        distance = (log_sigma - log_level).abs()
        if (distance > math.log(1.01)).any():
            worst = distance.argmax()
            logger.warning(
                f"sigma = {log_sigma[worst].exp().item():.4g} is not a level of the network: the score is that of the "
                f"level {log_level[worst].exp().item():.4g}. Take the levels of its configuration, or "
                "interpolate_levels=True for what lies between its levels."
            )


class NCSNv2Model(RefineNet):
    """NCSNv2's networks `(x, sigma) -> score`: one function of the image for every level, divided by sigma.

    Source: Song & Ermon 2020, appendix B.1 (the authors' `NCSNv2`, `NCSNv2Deeper` and `NCSNv2Deepest`).

    Args:
        sample_size: height and width of the images, 8 to 256 pixels; a multiple of 2, 4 or 8, as often as they are
            halved.
        in_channels: number of colour channels, >= 1; the score has as many.
        base_channels: channels of the first stage, >= 2; later ones have 2 and 4 times as many.
        architecture: `"ncsnv2"` with 4 stages, halved once (up to 32 pixels in the paper), `"ncsnv2_deeper"` with 5,
            halved twice (64 to 128), or `"ncsnv2_deepest"` with 6, halved three times (256).
        sigma_min: smallest sigma the network was trained on (kept for the pipeline's warnings).
        sigma_max: largest sigma the network was trained on.
        trained_sigmas: of a network that was made to draw in few evaluations, the noise levels at which it is
            evaluated in turn, strictly decreasing; `None` for a score at every sigma between the two above.
        denoiser_error: mean squared error per pixel r² of the denoised x + sigma² s, which training measures: pairs
            (sigma, r²), sigma decreasing (kept for pipelines that are given a measurement).

    Raises:
        ValueError: for sizes, channels, sigmas or an architecture outside these ranges.
    """

    @register_to_config
    def __init__(
        self,
        sample_size: int = 32,
        in_channels: int = 3,
        base_channels: int = 128,
        architecture: str = "ncsnv2",
        sigma_min: float = 0.01,
        sigma_max: float = 50.0,
        trained_sigmas: Sequence[float] | None = None,
        denoiser_error: list[tuple[float, float]] | None = None,
    ) -> None:
        super().__init__()
        if architecture not in ARCHITECTURES:
            raise ValueError(f"architecture must be one of {', '.join(ARCHITECTURES)}; got {architecture!r}.")
        if not 0 < sigma_min <= sigma_max < math.inf:
            raise ValueError(f"0 < sigma_min <= sigma_max must hold; got {sigma_min} and {sigma_max}.")
        if trained_sigmas is not None:
            check_noise_levels(trained_sigmas)
        self._build(ARCHITECTURES[architecture], InstanceNormPlus, None)

    def _score(self, x: Tensor, sigma: Tensor) -> Tensor:
        """f / sigma."""
        return self._raw(x, None).to(x.dtype) / sigma.reshape(-1, 1, 1, 1)


# Copied from ncsn_pipeline.noise_levels.spacing
def geometric(sigma_max: float, sigma_min: float, num_levels: int) -> np.ndarray:
    """Levels a constant ratio apart as float64, shape `(L,)`."""
    check_ends(sigma_max, sigma_min, num_levels)
    return np.geomspace(sigma_max, sigma_min, num_levels)


# Copied from ncsn_pipeline.noise_levels.spacing
def check_ends(sigma_max: float, sigma_min: float, num_levels: int) -> None:
    """Raises `ValueError` unless L >= 1 levels can go down from sigma_1 to sigma_L > 0."""
    check_counts(num_levels=num_levels)
    if not 0 < sigma_min <= sigma_max < math.inf or (num_levels > 1 and sigma_min == sigma_max):
        raise ValueError(
            "0 < sigma_min <= sigma_max must hold, both be finite, and be equal for one level alone; got "
            f"{sigma_min} and {sigma_max} for {num_levels} level(s)."
        )


# Copied from ncsn_pipeline.noise_levels.spacing
def check_noise_levels(sigmas: Sequence[float] | Tensor) -> np.ndarray:
    """Noise levels as float64, shape `(L,)`, refused unless finite, positive and strictly decreasing."""
    levels = np.asarray(sigmas.detach().cpu().double() if isinstance(sigmas, Tensor) else sigmas, dtype=np.float64)
    if levels.ndim != 1 or len(levels) < 1:
        raise ValueError(f"Noise levels are a list of at least one number; got shape {levels.shape}.")
    if not (np.isfinite(levels).all() and (levels > 0).all() and (np.diff(levels) < 0).all()):
        short = np.array2string(levels, precision=4, threshold=8, separator=", ")
        raise ValueError(f"Noise levels must be finite and positive, and strictly decreasing; got {short}.")
    return levels


# Copied from ncsn_pipeline.noise_levels.spacing
def check_counts(*, least: int = 1, **counts: object) -> None:
    """Raises `ValueError` unless each count is a whole number of at least `least`."""
    for name, value in counts.items():
        if isinstance(value, bool) or not isinstance(value, Integral) or value < least:
            raise ValueError(f"{name} must be at least {least} and a whole number; got {value}.")
