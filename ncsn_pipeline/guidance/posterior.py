"""A score given a measurement y = A(x) + sigma_y z, by one of four methods.

    annealed    y - A x is noise of variance sigma_y² + sigma² M M'                     one evaluation
    dps         a step of fixed length towards y; any differentiable A                  two
    pigdm       x_0 given x is N(D, r²(sigma) I)                                        two
    mmps        x_0 given x is N(D, sigma² J), J the denoiser's Jacobian                five, by 4 GMRES iterations

Each is a transform of a score, so any sampler follows it; see their files for the law they sample.  How far off that is
on Gaussian data with exact scores, where the posterior is known: 8 dimensions, deviations from 1 to 0.5 or to 0.1,
three random measurements with sigma_y = 0.1, 50 levels from 15 to 0.005, 2,000 samples, the worst of two problems.
First the largest error of a mean, in posterior deviations, then that of a deviation, as a ratio (of exact samples 0.07
and 0.05):

    deviations 1 to                     0.5            0.1
    annealed, Heun                      0.19, 0.07     0.89, 0.60
    annealed, 8 Langevin steps          0.10, 0.19     0.54, 0.50       25 levels
    dps, zeta = 0.1, ancestral          0.09, 0.09     0.83, 0.57
    dps, zeta = 0.5, ancestral          0.07, 0.12     0.82, 0.60
    pigdm, Heun                         0.09, 0.03     0.69, 0.19
    pigdm, ancestral with V noise       0.05, 0.05     0.49, 0.13
    mmps, Heun                          0.05, 0.03     0.05, 0.03
    mmps, ancestral with V noise        0.02, 0.05     0.03, 0.03
    twisted particles, ancestral        0.02, 0.02     0.04, 0.03       `ncsn_pipeline.sampling.particles`
"""

import inspect
import math
from collections.abc import Callable, Sequence
from numbers import Integral, Real
from typing import Any

import torch
from torch import Tensor

from ncsn_pipeline.densities import NoisyScoreFn
from ncsn_pipeline.guidance.annealed import annealed
from ncsn_pipeline.guidance.dps import dps
from ncsn_pipeline.guidance.mmps import mmps
from ncsn_pipeline.guidance.operators import Operator, as_operator, flat
from ncsn_pipeline.guidance.pigdm import pigdm

METHODS: dict[str, Callable[..., Callable[[NoisyScoreFn], NoisyScoreFn]]] = {
    "annealed": annealed,
    "dps": dps,
    "pigdm": pigdm,
    "mmps": mmps,
}


def posterior(
    y: Tensor, operator: Any, noise_std: float, method: str = "mmps", *, shape: Sequence[int], **settings: Any
) -> Callable[[NoisyScoreFn], NoisyScoreFn]:
    """The transform of a score into one given y.

    Args:
        y: one measurement for all samples, shape `(1, *M)`, or one each, `(B, *M)`; what A returns, with its noise.
        operator: A, see :func:`~ncsn_pipeline.guidance.operators.as_operator`; in the units of the score's x.
        noise_std: sigma_y >= 0, the deviation of each real number of y.
        method: `"annealed"`, `"dps"`, `"pigdm"` or `"mmps"`.
        shape: D, of one sample.
        **settings: of the method: `denoiser_error` for pigdm and mmps, `iterations` for mmps, `scale` and `step` for
            dps.

    Raises:
        ValueError: for an operator, a measurement, a noise level or a method that does not fit.
    """
    like = y if isinstance(y, Tensor) else None  # of another kind it is refused below
    operator = as_operator(operator, shape, like.real if like is not None and like.is_complex() else like)
    y = check_measurement(y, operator)
    check_noise_std(noise_std)
    check_method(method, operator, settings)
    return METHODS[method](y, operator, noise_std, **settings)


def check_method(method: str, operator: Operator, settings: dict[str, Any]) -> None:
    """Refuses a method that cannot be used so.

    Raises:
        ValueError: for an unknown name, settings that it does not have or lacks, or a nonlinear operator.
    """
    if not isinstance(method, str) or method not in METHODS:
        raise ValueError(f"method must be one of {', '.join(METHODS)}; got {method!r}.")
    if method != "dps" and not operator.linear:
        raise ValueError(f"The operator is not linear, which {method} needs. Take method='dps'.")
    own = list(inspect.signature(METHODS[method]).parameters)[3:]
    if unknown := sorted(settings.keys() - set(own)):
        raise ValueError(f"{method} has no {', '.join(unknown)}; its settings are {', '.join(own) or 'none'}.")
    if method == "pigdm" and not callable(settings.get("denoiser_error")):
        raise ValueError(
            f"{method} needs denoiser_error, a function from sigma to the denoiser's mean squared error per value: "
            "ncsn_pipeline.sampling.probed_denoiser_error(score, samples, sigmas) measures it."
        )
    iterations = settings.get("iterations", 1)
    if not isinstance(iterations, Integral) or isinstance(iterations, bool) or iterations < 1:
        raise ValueError(f"iterations must be at least 1 and a whole number; got {iterations}.")
    scale = settings.get("scale", 1.0)
    if not isinstance(scale, Real) or isinstance(scale, bool) or not 0 < scale < math.inf:
        raise ValueError(f"scale must be a finite number > 0; got {scale!r}.")
    for name in ("step", "denoiser_error"):
        if settings.get(name) is not None and not callable(settings[name]):
            raise ValueError(f"{name} must be a function; got {settings[name]!r}.")


def check_measurement(y: Tensor, operator: Operator) -> Tensor:
    """Measurements as real numbers `(B, m)`.

    Raises:
        ValueError: for values that are not finite, another shape than the operator returns, or real numbers where it
            returns complex ones.
    """
    if not isinstance(y, Tensor) or tuple(y.shape[1:]) != operator.measurement_shape or not len(y):
        got = f"shape {tuple(y.shape)}" if isinstance(y, Tensor) else type(y).__name__
        expected = ", ".join(map(str, ("B", *operator.measurement_shape)))
        raise ValueError(f"y must be a tensor of what the operator returns, shape ({expected}); got {got}.")
    if not y.isfinite().all():
        raise ValueError("y has values that are not finite (NaN or infinite). Leave those measurements out.")
    numbers = flat(y if y.is_complex() or y.is_floating_point() else y.to(torch.get_default_dtype()))
    dtype = torch.promote_types(numbers.dtype, torch.float32)
    if operator(numbers.new_zeros(1, *operator.shape, dtype=dtype)).shape[1] != numbers.shape[1]:
        returned, given = ("real", "complex") if y.is_complex() else ("complex", "real")
        raise ValueError(f"The operator returns {returned} numbers, and y holds {given} ones.")
    return numbers


def check_noise_std(noise_std: float) -> None:
    """Raises `ValueError` unless sigma_y is a finite number of at least 0."""
    if not isinstance(noise_std, Real) or isinstance(noise_std, bool) or not 0 <= noise_std < math.inf:
        raise ValueError(f"noise_std must be a finite number of at least 0, in units of y; got {noise_std!r}.")
