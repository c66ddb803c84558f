"""A small U-Net that returns the score of noised images.

The network is asked for the score of the data density convolved with N(0, sigma² I),

    s(x, sigma) ~ grad_x log p_sigma(x),

and the raw network F never has to produce a number far from unit size.  With x' = x - data_mean and sd = sigma_data
(the mean and the standard deviation of the data's pixels), EDM's denoiser (Karras et al. 2022, eq. 7 and table 1) is

    D(x, sigma) = c_skip x' + c_out F(c_in x', c_noise) + data_mean
    c_skip = sd² / (sigma² + sd²)        c_out   = sigma sd / sqrt(sigma² + sd²)
    c_in   = 1 / sqrt(sigma² + sd²)      c_noise = ln(sigma) / 4

and by Tweedie's formula the score is (D - x) / sigma².  Putting one into the other, without the cancellation at small
sigma that the difference would have:

    s(x, sigma) = -x' / (sigma² + sd²) + sd / (sigma sqrt(sigma² + sd²)) F(c_in x', c_noise)

The first term is the exact score of a noised Gaussian with the data's mean and deviation: F learns what is not
Gaussian.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from diffusers import ConfigMixin, ModelMixin
from diffusers.configuration_utils import register_to_config
from diffusers.models.attention_processor import Attention
from diffusers.models.embeddings import TimestepEmbedding
from diffusers.models.modeling_utils import get_parameter_dtype
from diffusers.models.resnet import ResnetBlock2D
from diffusers.utils import BaseOutput
from torch import Tensor, nn
from torch.nn import functional as F


@dataclass
class ScoreUNetOutput(BaseOutput):
    """What :class:`ScoreUNet` returns.

    Args:
        sample: the score at the given points, shape `(B, C, H, W)`, in units of 1 / (data unit).
    """

    sample: Tensor


def upsample_2x(h: Tensor) -> Tensor:
    """Each pixel as a square of two by two: `(B, C, H, W)` to `(B, C, 2 H, 2 W)`."""
    if not torch.compiler.is_compiling():
        return F.interpolate(h, scale_factor=2.0, mode="nearest")
    # Compiled for a CPU by torch 2.13, the gradient of `interpolate` can come out as zero beside convolutions.
    return torch.stack([h, h], dim=-1).flatten(-2).unsqueeze(-2).expand(-1, -1, -1, 2, -1).flatten(-3, -2)


class LogSigmaFeatures(nn.Module):
    """Cosines and sines of c_noise = ln(sigma) / 4 at frequencies spaced geometrically from 1/8 to 8 cycles a unit."""

    def __init__(self, num_features: int) -> None:
        super().__init__()
        self.num_frequencies = num_features // 2

    def forward(self, sigma: Tensor) -> Tensor:
        """Sigma of shape `(B,)` to features of shape `(B, num_features)`."""
        # Made anew in sigma's precision: a buffer would lose it when the network is cast to a half type.
        cycles = torch.logspace(-3, 3, self.num_frequencies, base=2, dtype=sigma.dtype, device=sigma.device)
        angles = (sigma.log() / 4)[:, None] * (2 * math.pi * cycles)
        return torch.cat([angles.cos(), angles.sin()], dim=-1)


class ScoreUNet(ModelMixin, ConfigMixin):
    """A full-resolution U-Net `(x, sigma[, class]) -> score` for images of 8 to 256 pixels.

    Args:
        sample_size: height and width of the images, in pixels.
        in_channels: number of colour channels; the score has as many.
        block_out_channels: channels at each resolution, from full size downwards; each level halves the image.  Every
            entry must be divisible by `norm_num_groups`.
        layers_per_block: residual blocks per level, on the way down and on the way up.
        attention_levels: indices of the levels that have self-attention; `None` means the smallest resolution only.
        attention_head_dim: channels of one attention head; must divide the channels of each level with attention.
        norm_num_groups: groups of the group normalisation.
        num_class_embeds: number of classes.  The index `num_class_embeds` is the null class, for classifier-free
            guidance.  `None` for a model without labels.
        sigma_data: standard deviation of the data's pixels, > 0, in data units.
        data_mean: mean of the data's pixels.
        sigma_min: smallest sigma the network was trained on (kept for the pipeline's warnings).
        sigma_max: largest sigma the network was trained on.
        id2label: the name of each class by its number, which `class_labels` of a pipeline takes too.
        trained_sigmas: of a network that was made to draw in few evaluations, the noise levels at which it is
            evaluated in turn, strictly decreasing; `None` for a score at every sigma between the two above.
        denoiser_error: mean squared error per pixel r² of the denoised x + sigma² s, which training measures: pairs
            (sigma, r²), sigma decreasing (kept for pipelines that are given a measurement).
        class_frequencies: the share of each class in the training data, from which a pipeline draws where none is asked
            for and the network draws in few evaluations; `None` for equal ones, and where they are not known.

    Raises:
        ValueError: for sizes, channels or sigmas outside these ranges.
    """

    _supports_gradient_checkpointing = True
    gradient_checkpointing = False

    @register_to_config
    def __init__(
        self,
        sample_size: int = 28,
        in_channels: int = 1,
        block_out_channels: tuple[int, ...] = (16, 32, 64),
        layers_per_block: int = 1,
        attention_levels: tuple[int, ...] | None = None,
        attention_head_dim: int = 32,
        norm_num_groups: int = 8,
        num_class_embeds: int | None = None,
        sigma_data: float = 0.5,
        data_mean: float = 0.0,
        sigma_min: float = 0.01,
        sigma_max: float = 50.0,
        id2label: dict[int, str] | None = None,
        trained_sigmas: Sequence[float] | None = None,
        denoiser_error: list[tuple[float, float]] | None = None,
        class_frequencies: Sequence[float] | None = None,
    ) -> None:
        super().__init__()
        if id2label is not None:
            names = set(id2label.values())
            if {*map(str, id2label)} != {*map(str, range(num_class_embeds or 0))} or len(names) < len(id2label):
                raise ValueError(
                    f"id2label must name each of {num_class_embeds} classes by its number, once; got {id2label}."
                )
            if taken := names & {"random", "none"}:
                raise ValueError(
                    f"A class is called {taken.pop()!r}, which as class_labels means a drawn class or none. Rename it."
                )
        if class_frequencies is not None:
            wrong = len(class_frequencies) != num_class_embeds or not 0 < sum(class_frequencies) < math.inf
            if wrong or min(class_frequencies) < 0:
                raise ValueError(
                    f"class_frequencies must be {num_class_embeds} shares, one for each class: finite, none below 0, "
                    f"not all 0; got {class_frequencies}."
                )
        if not 8 <= sample_size <= 256:
            raise ValueError(f"sample_size is {sample_size}; this network is made for images of 8 to 256 pixels.")
        counts = {
            "in_channels": in_channels,
            "the number of block_out_channels": len(block_out_channels),
            "layers_per_block": layers_per_block,
            "attention_head_dim": attention_head_dim,
            "norm_num_groups": norm_num_groups,
            "num_class_embeds (None for no classes)": 1 if num_class_embeds is None else num_class_embeds,
        }
        for name, count in counts.items():
            if count < 1:
                raise ValueError(f"{name} must be at least 1; got {count}.")
        if any(channels % norm_num_groups for channels in block_out_channels):
            raise ValueError(
                f"block_out_channels {block_out_channels} must be multiples of norm_num_groups={norm_num_groups}."
            )
        if not (math.isfinite(sigma_data) and sigma_data > 0 and math.isfinite(data_mean)):
            raise ValueError(f"sigma_data must be finite and > 0, data_mean finite; got {sigma_data} and {data_mean}.")
        if not 0 < sigma_min <= sigma_max < math.inf:
            raise ValueError(f"0 < sigma_min <= sigma_max must hold; got {sigma_min} and {sigma_max}.")
        shown = [] if trained_sigmas is None else list(trained_sigmas)
        if shown != sorted(set(shown), reverse=True) or not all(0 < sigma < math.inf for sigma in shown):
            raise ValueError(f"trained_sigmas must be finite, > 0 and strictly decreasing; got {shown}.")

        levels = len(block_out_channels)
        with_attention = {levels - 1} if attention_levels is None else set(attention_levels)
        if not with_attention <= set(range(levels)):
            raise ValueError(f"attention_levels {attention_levels} must lie in 0 ... {levels - 1}.")
        for width in (block_out_channels[level] for level in with_attention):
            if width % min(width, attention_head_dim):
                raise ValueError(
                    f"attention_head_dim {attention_head_dim} must divide the {width} channels of its level."
                )
        embedding_dim = 4 * block_out_channels[0]

        self.sigma_features = LogSigmaFeatures(2 * block_out_channels[0])
        self.sigma_embedding = TimestepEmbedding(2 * block_out_channels[0], embedding_dim)
        # The last row is the null class.
        self.class_embedding = nn.Embedding(num_class_embeds + 1, embedding_dim) if num_class_embeds else None

        def block(channels_in: int, channels_out: int) -> ResnetBlock2D:
            return ResnetBlock2D(
                in_channels=channels_in,
                out_channels=channels_out,
                temb_channels=embedding_dim,
                groups=norm_num_groups,
                time_embedding_norm="scale_shift",
            )

        def attention(channels: int) -> Attention:
            return Attention(
                channels,
                heads=max(1, channels // attention_head_dim),
                dim_head=min(channels, attention_head_dim),
                norm_num_groups=norm_num_groups,
                residual_connection=True,
                bias=True,
            )

        self.conv_in = nn.Conv2d(in_channels, block_out_channels[0], 3, padding=1)
        self.down = nn.ModuleList()
        self.down_attention = nn.ModuleList()
        self.merge = nn.ModuleList()
        self.up = nn.ModuleList()
        self.up_attention = nn.ModuleList()
        channels = block_out_channels[0]
        for level, width in enumerate(block_out_channels):
            for _ in range(layers_per_block):
                self.down.append(block(channels, width))
                self.down_attention.append(attention(width) if level in with_attention else nn.Identity())
                channels = width
        self.middle = block(channels, channels)
        for level, width in reversed(list(enumerate(block_out_channels))):
            for _ in range(layers_per_block):
                # A 1x1 convolution joins the skip: a 3x3 block on all its channels would double the cost of full size.
                self.merge.append(nn.Conv2d(channels + width, width, 1))
                self.up.append(block(width, width))
                self.up_attention.append(attention(width) if level in with_attention else nn.Identity())
                channels = width
        self.norm_out = nn.GroupNorm(norm_num_groups, channels)
        self.conv_out = nn.Conv2d(channels, in_channels, 3, padding=1)
        # F starts at zero: an untrained network returns the score of the noised Gaussian with the data's moments.
        nn.init.zeros_(self.conv_out.weight)
        nn.init.zeros_(self.conv_out.bias)
        self.register_to_config(_use_default_values=[])  # from_config skips what is recorded as a default

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
    ) -> ScoreUNetOutput | tuple[Tensor]:
        """The score at `sample` of the data density noised by `timestep`.

        Args:
            sample: noised images, shape `(B, C, H, W)`, in data units.
            timestep: sigma > 0, a number or a tensor of shape `()` or `(B,)`, in data units.
            class_labels: integers of shape `(B,)` in 0 ... num_class_embeds, the last of which is the null class.
                `None` on a model with classes means the null class for every image.
            return_dict: whether to return a :class:`ScoreUNetOutput` or a tuple with the score alone.
        """
        sd = self.config.sigma_data
        # In half precision sigma² overflows and ln(sigma) is coarse: all but F is computed in float32.
        precise = torch.promote_types(sample.dtype, torch.float32)
        sigma = torch.as_tensor(timestep, dtype=precise, device=sample.device)
        if sigma.shape not in ((), (1,), sample.shape[:1]):
            raise ValueError(f"timestep must be one sigma or {len(sample)}, one an image; got {tuple(sigma.shape)}.")
        sigma = sigma.expand(sample.shape[0])
        per_image = sigma.reshape(-1, *[1] * (sample.dim() - 1))
        centred = sample.to(precise) - self.config.data_mean
        variance = per_image**2 + sd**2
        residual = self._residual(centred * variance.rsqrt(), sigma, class_labels).to(precise)
        score = (-centred / variance + sd / (per_image * variance.sqrt()) * residual).to(sample.dtype)
        return ScoreUNetOutput(sample=score) if return_dict else (score,)

    def _run(self, block: Callable[..., Tensor], *inputs: Any) -> Tensor:
        """What a block makes of its inputs; under gradient checkpointing it is made again on the way back."""
        if self.gradient_checkpointing and torch.is_grad_enabled():
            return self._gradient_checkpointing_func(block, *inputs)
        return block(*inputs)

    def _residual(self, x: Tensor, sigma: Tensor, class_labels: Tensor | None) -> Tensor:
        """The raw network F on inputs and outputs of unit size, padded to whole blocks and cropped back."""
        if class_labels is not None and self.class_embedding is None:
            raise ValueError("class_labels were given, but this model has no classes (num_class_embeds is None).")
        dtype = get_parameter_dtype(self.conv_in)
        x = x.to(dtype)
        height, width = x.shape[-2:]
        depth = len(self.config.block_out_channels)
        multiple = 2 ** (depth - 1)
        pad_h, pad_w = -height % multiple, -width % multiple
        if pad_h or pad_w:
            x = F.pad(x, (pad_w // 2, pad_w - pad_w // 2, pad_h // 2, pad_h - pad_h // 2), mode="replicate")

        embedding = self.sigma_embedding(self.sigma_features(sigma).to(dtype))
        if self.class_embedding is not None:
            if class_labels is None:
                class_labels = torch.full(x.shape[:1], self.config.num_class_embeds, device=x.device)
            embedding = embedding + self.class_embedding(class_labels)

        layers = self.config.layers_per_block
        h = self.conv_in(x)
        skips = []
        for i, (block, attention) in enumerate(zip(self.down, self.down_attention, strict=True)):
            if i and i % layers == 0:
                h = F.avg_pool2d(h, 2)
            h = self._run(attention, self._run(block, h, embedding))
            skips.append(h)
        h = self._run(self.middle, h, embedding)
        for i, (merge, block, attention) in enumerate(zip(self.merge, self.up, self.up_attention, strict=True)):
            if i and i % layers == 0:
                h = upsample_2x(h)
            h = merge(torch.cat([h, skips.pop()], dim=1))
            h = self._run(attention, self._run(block, h, embedding))
        h = self.conv_out(F.silu(self.norm_out(h)))
        return h[..., pad_h // 2 : pad_h // 2 + height, pad_w // 2 : pad_w // 2 + width]
