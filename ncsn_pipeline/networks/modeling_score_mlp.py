"""A small fully connected network that returns the score of points in D dimensions.

It is asked for the score of the data density convolved with N(0, sigma² I), s(x, sigma) ~ grad_x log p_sigma(x), and
made of a raw network F in one of three ways.  With x' = x - data_mean and sd = sigma_data,

    "edm"             s = -x' / (sigma² + sd²) + sd / (sigma sqrt(sigma² + sd²)) F(x' / sqrt(sigma² + sd²), c_noise)
    "inverse_sigma"   s = F(x' / sd, c_noise) / sigma
    "none"            s = F(x' / sd, c_noise)

"edm" is Karras et al. 2022, eq. 7 and table 1, through Tweedie's formula: its first term is the exact score of a
noised Gaussian with the data's mean and deviation, and F learns what is not Gaussian.  "inverse_sigma" is technique 3
of Song & Ermon 2020 (NCSNv2): where sigma is much larger than the data's spread, the score falls as 1 / sigma, and that
much need not be learned.  Far below it, the score of a density hardly depends on sigma, and F must cancel the factor.
"none" is a free vector field.  The last two standardise x by two constants, which do nothing at sd = 1 and mean 0.

F is a stack of linear layers and activations.  c_noise = ln(sigma) / 4 enters as cosines and sines, from which a linear
map makes a shift of every hidden layer; without `sigma_conditioned` F sees x alone, as NCSNv2's network does.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
from diffusers import ConfigMixin, ModelMixin
from diffusers.configuration_utils import register_to_config
from diffusers.models.modeling_utils import get_parameter_dtype
from diffusers.utils import BaseOutput
from torch import Tensor, nn
from torch.nn import functional as F

ACTIVATIONS = {"silu": F.silu, "softplus": F.softplus}
PRECONDITIONINGS = ("edm", "inverse_sigma", "none")
NUM_FREQUENCIES = 16


@dataclass
class ScoreMLPOutput(BaseOutput):
    """What :class:`ScoreMLP` returns.

    Args:
        sample: the score at the given points, shape `(B, D)`, in units of 1 / (data unit).
    """

    sample: Tensor


class ScoreMLP(ModelMixin, ConfigMixin):
    """A fully connected network `(x, sigma) -> score` for points in D dimensions.

    Args:
        in_features: D, >= 1.
        hidden_features: width of the hidden layers, >= 1.
        num_layers: number of hidden layers, >= 1.
        preconditioning: how the score is made of the raw network, `"edm"`, `"inverse_sigma"` or `"none"`.
        sigma_conditioned: whether the raw network is told sigma; not needed for a single noise level.
        sigma_data: standard deviation sd of the data's coordinates, finite and > 0, in data units.
        data_mean: mean of the data's coordinates, one number for all.
        activation: `"silu"` or `"softplus"`, both smooth, as score matching differentiates them.
        out_features: number of outputs, by default D; `"edm"` allows no other.

    Raises:
        ValueError: for sizes, names or moments outside these ranges.
    """

    _supports_gradient_checkpointing = True
    # The last layer keeps its precision: nothing averages over what it rounds.
    _skip_layerwise_casting_patterns = ("^out$",)
    gradient_checkpointing = False

    @register_to_config
    def __init__(
        self,
        in_features: int = 2,
        hidden_features: int = 128,
        num_layers: int = 3,
        preconditioning: str = "edm",
        sigma_conditioned: bool = True,
        sigma_data: float = 1.0,
        data_mean: float = 0.0,
        activation: str = "silu",
        out_features: int | None = None,
    ) -> None:
        super().__init__()
        out_features = in_features if out_features is None else out_features
        sizes = {"in_features": in_features, "hidden_features": hidden_features, "num_layers": num_layers}
        for name, size in (sizes | {"out_features": out_features}).items():
            if size < 1:
                raise ValueError(f"{name} must be at least 1; got {size}.")
        if preconditioning not in PRECONDITIONINGS:
            raise ValueError(f"preconditioning must be one of {PRECONDITIONINGS}; got {preconditioning!r}.")
        if activation not in ACTIVATIONS:
            raise ValueError(f"activation must be one of {tuple(ACTIVATIONS)}; got {activation!r}.")
        if not (math.isfinite(sigma_data) and sigma_data > 0 and math.isfinite(data_mean)):
            raise ValueError(f"sigma_data must be finite and > 0, data_mean finite; got {sigma_data} and {data_mean}.")
        if preconditioning == "edm" and out_features != in_features:
            raise ValueError(
                f"out_features is {out_features}, but 'edm' returns a score of {in_features} features as its input "
                "has: leave out_features out, or use another preconditioning."
            )
        widths = [in_features] + [hidden_features] * num_layers
        self.hidden = nn.ModuleList(nn.Linear(*pair) for pair in pairwise(widths))
        self.out = nn.Linear(hidden_features, out_features)
        self.shifts = nn.Linear(2 * NUM_FREQUENCIES, num_layers * hidden_features) if sigma_conditioned else None
        if preconditioning == "edm":
            # F starts at zero: an untrained network returns the score of the noised Gaussian with the data's moments.
            nn.init.zeros_(self.out.weight)
            nn.init.zeros_(self.out.bias)
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
    ) -> ScoreMLPOutput | tuple[Tensor]:
        """The score at `sample` of the data density noised by `timestep`.

        Args:
            sample: noised points, shape `(B, D)`, in data units.
            timestep: sigma > 0, a number or a tensor of shape `()` or `(B,)`, in data units.
            class_labels: `None`; this network has no classes.
            return_dict: whether to return a :class:`ScoreMLPOutput` or a tuple with the score alone.

        Raises:
            ValueError: for samples or sigmas of another shape, or given labels.
        """
        if class_labels is not None:
            raise ValueError("class_labels were given, but this network has no classes. Leave them out.")
        if sample.dim() != 2 or sample.shape[1] != self.config.in_features:
            raise ValueError(f"sample must have shape (B, {self.config.in_features}); got {tuple(sample.shape)}.")
        # In half precision sigma² overflows and ln(sigma) is coarse: all but F is computed in float32.
        precise = torch.promote_types(sample.dtype, torch.float32)
        sigma = torch.as_tensor(timestep, dtype=precise, device=sample.device)
        if sigma.shape not in ((), (1,), sample.shape[:1]):
            raise ValueError(f"timestep must be one sigma or {len(sample)}, one a sample; got {tuple(sigma.shape)}.")
        sigma = sigma.reshape(-1, 1)
        sd = self.config.sigma_data
        centred = sample.to(precise) - self.config.data_mean
        if self.config.preconditioning == "edm":
            variance = sigma**2 + sd**2
            residual = self._raw(centred * variance.rsqrt(), sigma).to(precise)
            score = -centred / variance + sd / (sigma * variance.sqrt()) * residual
        else:
            score = self._raw(centred / sd, sigma).to(precise)
            if self.config.preconditioning == "inverse_sigma":
                score = score / sigma
        score = score.to(sample.dtype)
        return ScoreMLPOutput(sample=score) if return_dict else (score,)

    def _run(self, block: Callable[..., Tensor], *inputs: Any) -> Tensor:
        """What a block makes of its inputs; under gradient checkpointing it is made again on the way back."""
        if self.gradient_checkpointing and torch.is_grad_enabled():
            return self._gradient_checkpointing_func(block, *inputs)
        return block(*inputs)

    def _raw(self, x: Tensor, sigma: Tensor) -> Tensor:
        """The raw network F: x of shape `(B, D)`, sigma of shape `(1, 1)` or `(B, 1)`."""
        dtype = get_parameter_dtype(self.hidden)
        activation = ACTIVATIONS[self.config.activation]
        h = x.to(dtype)
        if self.shifts is None:
            for layer in self.hidden:
                h = self._run(lambda h, layer=layer: activation(layer(h)), h)
        else:
            shifts = self.shifts(_log_sigma_features(sigma).to(dtype)).chunk(len(self.hidden), dim=-1)
            for layer, shift in zip(self.hidden, shifts, strict=True):
                h = self._run(lambda h, shift, layer=layer: activation(layer(h) + shift), h, shift)
        return self.out(h.to(get_parameter_dtype(self.out)))


def _log_sigma_features(sigma: Tensor) -> Tensor:
    """Cosines and sines of ln(sigma) / 4 at frequencies from 1/8 to 8 cycles a unit; sigma of shape `(B, 1)`."""
    cycles = torch.logspace(-3, 3, NUM_FREQUENCIES, base=2, dtype=sigma.dtype, device=sigma.device)
    angles = sigma.log() / 4 * (2 * math.pi * cycles)
    return torch.cat([angles.cos(), angles.sin()], dim=-1)
