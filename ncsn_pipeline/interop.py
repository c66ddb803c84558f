"""Score networks as denoisers of other libraries, and theirs as score networks: one formula, three ways to call it.

    D(x, sigma) = x + sigma² s(x, sigma) = E[x_0 | x]        (Tweedie; Robbins 1956, Miyasawa 1961)

    here       network(x, sigma) -> (s,)              x = x_0 + sigma z, in the network's units
    deepinv    denoiser(x, sigma) -> D                the same for images in [0, 1], sigma in their units
    azula      denoiser(x_t, t).mean -> D             x_t = alpha x_0 + sigma z, by denoiser.schedule(t)

With x = x_t / alpha_t the last is the first at sigma = sigma_t / alpha_t.  Neither library is imported: what they call
is what counts.  As a prior of deepinv, of any of its algorithms that takes a denoiser; as a denoiser of azula, for its
samplers and guidance; and a denoiser of azula for every pipeline here:

    from ncsn_pipeline import NCSNPipeline
    from ncsn_pipeline.interop import AzulaDenoiser, AzulaNetwork, DeepinvDenoiser

    pipe = NCSNPipeline.from_pretrained("mnist")
    denoiser = DeepinvDenoiser(pipe)
    clean = denoiser(torch.rand(2, 1, 28, 28), 0.2)
    theirs = AzulaDenoiser(pipe.unet)
    mean = theirs(torch.randn(2, 1, 28, 28), torch.tensor(0.5)).mean
    again = NCSNPipeline(AzulaNetwork(theirs, sample_size=28, in_channels=1), pipe.scheduler)
    images = again(batch_size=2, num_inference_steps=10).images
"""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from diffusers import ConfigMixin, ModelMixin
from torch import Tensor, nn

from ncsn_pipeline.pipelines.pipeline_ncsn import NCSNPipeline

Schedule = Callable[[Tensor], tuple[Tensor, Tensor]]  # t in [0, 1] -> (alpha_t, sigma_t), sigma_t / alpha_t increasing
HALVINGS = 60  # of [0, 1], to find a time
TOLERANCE = 1e-3  # relative, of the ends of a schedule: noise levels are rounded


class DeepinvDenoiser(nn.Module):
    """A pipeline's network as deepinv calls a denoiser.

    Args:
        pipe: whose network it is, with `data_min` and `data_max`, which `[0, 1]` is mapped to.

    Raises:
        ValueError: for a network that was made to draw in few evaluations.
    """

    def __init__(self, pipe: NCSNPipeline) -> None:
        super().__init__()
        _check_is_score(pipe.unet)
        self.network, self.units = pipe.unet, pipe.units

    def forward(self, x: Tensor, sigma: float | Tensor, **conditions: Any) -> Tensor:
        """D, shape `(B, C, H, W)`, in the units of images in [0, 1], not clamped.

        Args:
            x: noisy images in [0, 1], shape `(B, C, H, W)`.
            sigma: > 0, the deviation of their noise; one for all, or one each, `(B,)` or `(B, 1, 1, 1)`.
            **conditions: of the network, such as `class_labels`; by default the null class.

        Raises:
            ValueError: for a noise level that is not > 0, or another number of them.
        """
        sigma = torch.as_tensor(sigma, dtype=x.dtype, device=x.device).flatten() * self.units.scale
        if len(sigma) not in (1, len(x)) or not (sigma > 0).all() or not sigma.isfinite().all():
            raise ValueError(
                f"sigma must be finite and > 0, one for all or one for each of {len(x)} images; got {sigma.tolist()}."
            )
        sigma = sigma[0] if len(sigma) == 1 else sigma
        return self.units.to_given(_denoised(self.network, self.units.to_model(x), sigma, conditions))


class Mean(NamedTuple):
    """What a denoiser of azula returns: E[x_0 | x_t], the samples' shape."""

    mean: Tensor


class AzulaDenoiser(nn.Module):
    """A network as azula calls a denoiser, in the network's own units.

    Args:
        network: `(x, sigma, return_dict=False) -> (score,)`; without a schedule its config names `sigma_min` and
            `sigma_max`.
        schedule: t -> (alpha_t, sigma_t), such as azula's; by default alpha_t = 1 and sigma_t geometric between the
            ends of what the network was trained on.

    Raises:
        ValueError: for a network that was made to draw in few evaluations, or whose noise levels are not known.
    """

    def __init__(self, network: nn.Module, schedule: Schedule | None = None) -> None:
        super().__init__()
        _check_is_score(network)
        self.network = network
        self.schedule = _geometric(network) if schedule is None else schedule

    def forward(self, x_t: Tensor, t: Tensor, **conditions: Any) -> Mean:
        """E[x_0 | x_t].

        Args:
            x_t: noisy samples, shape `(B, *D)`.
            t: in [0, 1], shape `()` or `(B,)`.
            **conditions: of the network, such as `class_labels`; by default the null class.
        """
        alpha, sigma = (part.to(x_t) for part in self.schedule(t))
        return Mean(_denoised(self.network, x_t / _over(alpha, x_t), sigma / alpha, conditions))


class AzulaNetwork(ModelMixin, ConfigMixin):
    """A denoiser of azula as a score network, for `NCSNPipeline` and its relatives, and for `follow`.

    Its time is found by halving, as sigma_t / alpha_t increases with t.  It is written nowhere: a folder would need
    azula to be read.

    Args:
        denoiser: `(x_t, t).mean`, with `schedule(t) -> (alpha_t, sigma_t)`; both for t in [0, 1].
        sample_size: H and W of its images.
        in_channels: C of its images.
        sigma_min: the least sigma_t / alpha_t, by default that of t = 0.
        sigma_max: the largest, by default that of t = 1.

    Raises:
        ValueError: for ends that are not finite and > 0.
    """

    def __init__(
        self,
        denoiser: Any,
        sample_size: int | tuple[int, int],
        in_channels: int = 3,
        sigma_min: float | None = None,
        sigma_max: float | None = None,
    ) -> None:
        super().__init__()
        self.denoiser = denoiser
        self.register_buffer("zero", torch.zeros(()), persistent=False)  # denoisers without weights have no type
        alpha, noise = denoiser.schedule(torch.tensor([0.0, 1.0], dtype=torch.float64))
        low, high = (noise / alpha).tolist()
        sigma_min, sigma_max = low if sigma_min is None else sigma_min, high if sigma_max is None else sigma_max
        if not 0 < sigma_min < sigma_max < math.inf:
            raise ValueError(
                f"The schedule's noise levels sigma_t / alpha_t go from {sigma_min:g} to {sigma_max:g}; they must be "
                "finite and > 0. Give sigma_min and sigma_max, which sampling stays between."
            )
        self.register_to_config(
            sample_size=sample_size, in_channels=in_channels, sigma_min=sigma_min, sigma_max=sigma_max
        )

    def forward(self, sample: Tensor, sigma: Tensor, return_dict: bool = False, **conditions: Any) -> tuple[Tensor]:
        """The score, (D - x) / sigma².

        Args:
            sample: x, shape `(B, *D)`.
            sigma: shape `()` or `(B,)`, between the schedule's ends.
            return_dict: not used; the result is a tuple.
            **conditions: of the denoiser.

        Raises:
            ValueError: for noise levels that the schedule does not have.
        """
        sigma = sigma.to(sample.device, torch.float64)
        low, high = self.config.sigma_min, self.config.sigma_max
        if not ((sigma > (1 - TOLERANCE) * low) & (sigma < (1 + TOLERANCE) * high)).all():
            raise ValueError(f"sigma must lie between {low:g} and {high:g}, the denoiser's own; got {sigma.tolist()}.")
        t = _time(self.denoiser.schedule, sigma).to(sample.dtype)
        alpha = _over(self.denoiser.schedule(t)[0], sample)
        denoised = self.denoiser((alpha * sample).to(sample), t, **conditions).mean
        wide = sample.to(_wide(sample))
        return (((denoised - wide) / _over(sigma, wide) ** 2).to(sample.dtype),)

    def save_pretrained(self, save_directory: Any, **kwargs: Any) -> None:
        """Refuses: the denoiser's class and weights are azula's.

        Raises:
            ValueError: always.
        """
        raise ValueError("A denoiser of azula cannot be written as a folder of this package. Save it with azula.")


def _denoised(network: nn.Module, x: Tensor, sigma: Tensor, conditions: dict[str, Any]) -> Tensor:
    wide = x.to(_wide(x))
    score = network(x, sigma, return_dict=False, **conditions)[0].to(wide)
    return (wide + _over(sigma, wide) ** 2 * score).to(x.dtype)


def _wide(x: Tensor) -> torch.dtype:
    """At least float32: sigma² beyond 65,504 is infinite in float16."""
    return torch.promote_types(x.dtype, torch.float32)


def _over(values: Tensor, x: Tensor) -> Tensor:
    """One number, or one for each sample, shaped and typed to multiply x."""
    return values.to(x).reshape(-1, *[1] * (x.dim() - 1)) if values.dim() else values.to(x)


def _geometric(network: nn.Module) -> Schedule:
    ends = [getattr(network.config, name, None) for name in ("sigma_min", "sigma_max")]
    if None in ends:
        raise ValueError("The network's config names no sigma_min and sigma_max. Give a schedule.")
    low, high = ends
    return lambda t: (torch.ones_like(t), low * (high / low) ** t)


def _time(schedule: Schedule, sigma: Tensor) -> Tensor:
    """t in [0, 1] where sigma_t / alpha_t is sigma, float64, by halving."""
    low, high = torch.zeros_like(sigma), torch.ones_like(sigma)
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        alpha, noise = schedule(middle)
        beyond = noise > sigma * alpha
        low, high = torch.where(beyond, low, middle), torch.where(beyond, middle, high)
    return (low + high) / 2


def _check_is_score(network: nn.Module) -> None:
    levels = getattr(network.config, "trained_sigmas", None)
    if levels is not None:
        raise ValueError(
            f"This network draws in few evaluations, at sigma = {', '.join(f'{level:g}' for level in levels)}, and is "
            "no denoiser elsewhere. Take the network that it was made from."
        )
