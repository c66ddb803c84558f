"""What a Langevin chain does at one noise level: how strong its signal is, how wide it lies, how fast it mixes.

A step x + alpha s + sqrt(2 alpha) z moves by a signal and by noise, whose ratio NCSN keeps equal at all levels by
alpha_i proportional to sigma_i² (Song & Ermon 2019, section 4.3, there with alpha / 2 for alpha),

    SNR = || alpha s || / || sqrt(2 alpha) z || = sqrt(alpha / 2) E || s || / E || z ||,

the norms averaged over the batch as in the authors' code.  Where the data are one point s = -x / sigma², || s || is
about sqrt(d) / sigma and the ratio about sqrt(alpha / 2) / sigma.

A chain's neighbours resemble each other.  With rho(t) the autocorrelation at lag t, a mean over n of its samples is as
uncertain as one over n / tau independent ones,

    tau = 1 + 2 sum_{t >= 1} rho(t),

summed up to the first M with M >= 5 tau(M), since beyond it only noise is added (Sokal 1997, section 3).
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

SOKAL_WINDOW = 5.0


@dataclass(frozen=True)
class LevelStatistics:
    """Numbers of the T states at one noise level; the tensors have shape `(T,)` and float64, one value a state.

    Attributes:
        sigma: the noise level, in data units.
        alpha: the step size, in squared data units.
        score_norm: mean of `|| s ||` over the batch, in 1 / data units.
        signal_to_noise: `|| alpha s || / || sqrt(2 alpha) z ||`, no unit.
        variance_ratio: the batch's variance over the one to be expected, data variance + sigma²; no unit.
        autocorrelation_time: tau of the slowest dimension, in steps; infinite where T is too small to tell.
        effective_sample_size: T B / tau, 0 where tau is infinite.
    """

    sigma: float
    alpha: float
    score_norm: Tensor
    signal_to_noise: Tensor
    variance_ratio: Tensor
    autocorrelation_time: float
    effective_sample_size: float


def score_norm(score: Tensor) -> float:
    """The mean of `|| s ||` over the batch, in 1 / data units, for a score of shape `(B, *D)`."""
    return score.detach().double().reshape(len(score), -1).norm(dim=1).mean().item()


def signal_to_noise(score: Tensor, alpha: float, noise: Tensor | None = None) -> float:
    """`sqrt(alpha / 2) E || s || / E || z ||`, how much of a Langevin step is signal.

    Source: Song & Ermon 2019 (NCSN), section 4.3, in this project's convention for alpha.

    Args:
        score: s, shape `(B, *D)`, in 1 / data units.
        alpha: the step size, > 0 and finite, in squared data units.
        noise: the step's z, shape `(B, *D)`; without it the expectation of `|| z ||` is taken, which is
            `sqrt(2) Gamma((D + 1) / 2) / Gamma(D / 2)`.

    Raises:
        ValueError: for an alpha that is not positive and finite.
    """
    if not (math.isfinite(alpha) and alpha > 0):
        raise ValueError(f"alpha must be a finite positive step size; got {alpha}.")
    if noise is None:
        dimension = score[0].numel()
        noise_norm = math.sqrt(2) * math.exp(math.lgamma((dimension + 1) / 2) - math.lgamma(dimension / 2))
    else:
        noise_norm = score_norm(noise)
    return math.sqrt(alpha / 2) * score_norm(score) / noise_norm


def empirical_variance_ratio(x: Tensor, sigma: float, data_variance: float = 0.0) -> float:
    """The batch's variance over `data_variance + sigma²`: 1 where the chain lies as wide as the noised density.

    Args:
        x: states, shape `(B, *D)` with B at least 2, in data units.  The variance is the mean over dimensions.
        sigma: the noise level, >= 0, in data units.
        data_variance: of the data, a mean over dimensions, >= 0, in squared data units.  0 is NCSNv2's technique 4,
            in which all data are one point.

    Raises:
        ValueError: for fewer than two states or an expected variance that is not positive and finite.
    """
    expected = data_variance + sigma**2
    if not (min(data_variance, sigma) >= 0 and 0 < expected < math.inf):
        raise ValueError(
            f"sigma and data_variance must be finite, not negative and not both 0; got {sigma} and {data_variance}."
        )
    if len(x) < 2:
        raise ValueError(f"x must hold at least two states, shape (B, *D); got shape {tuple(x.shape)}.")
    return x.detach().double().reshape(len(x), -1).var(0).mean().item() / expected


def autocorrelation_time(series: Tensor) -> float:
    """The integrated autocorrelation time `tau = 1 + 2 sum rho(t)` of B chains of one density, in steps.

    The autocorrelation is taken about the mean of all chains together and averaged over them, so chains that each
    stay where they started count as correlated, as they should.

    Args:
        series: one number a step and chain, shape `(T, B)`, finite and not constant.

    Returns:
        tau: 1 for independent values, `(1 + phi) / (1 - phi)` for an AR(1) chain; infinity where the series is too
        short, that is, where no lag up to T / 2 reaches Sokal's window.  That window is 5 times tau, or, for chains
        that turn back at every step (phi < 0), of the tau that they have once every other value is negated.

    Raises:
        ValueError: for another shape, or a series that is constant or not finite.
    """
    if series.ndim != 2 or series.numel() == 0 or not series.isfinite().all():
        raise ValueError(f"series must be finite and of shape (T, B), not empty; got shape {tuple(series.shape)}.")
    deviation = series.detach().double()
    deviation = deviation - deviation.mean()
    if not deviation.any() or deviation.abs().max() <= 1e-14 * series.abs().max():
        raise ValueError(f"series is constant, {series.flatten()[0].item()}, so it has no autocorrelation.")
    length = len(series)
    # Padded with zeros to twice the length, or the end of a chain would be correlated with its start.
    power = torch.fft.rfft(deviation, n=2 * length, dim=0).abs().square().sum(1)
    lags = torch.arange(length // 2 + 1, device=series.device)
    covariance = torch.fft.irfft(power, n=2 * length)[: len(lags)] / (length - lags)
    rho = covariance / covariance[0]
    tau, turned = (2 * terms.cumsum(0) - 1 for terms in (rho, rho * (1 - 2 * (lags % 2))))
    reached = (lags >= SOKAL_WINDOW * torch.maximum(tau, turned)) & (lags > 0) & (tau > 0)
    return tau[reached][0].item() if reached.any() else math.inf


def effective_sample_size(series: Tensor) -> float:
    """`T B / tau`: how many independent samples the T B of a series `(T, B)` are worth; 0 where it is too short."""
    return series.numel() / autocorrelation_time(series)


def level_statistics(
    samples: Tensor, scores: Tensor, sigma: float, alpha: float, data_variance: float = 0.0
) -> LevelStatistics:
    """Everything above, for the states of one level.

    Args:
        samples: the states of B chains after each of T steps, shape `(T, B, *D)`, in data units; B at least 2.
        scores: at the same states, the same shape.
        sigma: the noise level, in data units.
        alpha: the step size, in squared data units.
        data_variance: of the data, a mean over dimensions, in squared data units.

    Raises:
        ValueError: for shapes that differ, or values out of range; see the functions above.
    """
    if samples.shape != scores.shape or samples.ndim < 3 or samples.numel() == 0:
        raise ValueError(
            "samples and scores must have one shape (T, B, *D), not empty; "
            f"got {tuple(samples.shape)} and {tuple(scores.shape)}."
        )

    def per_state(values: list[float]) -> Tensor:
        return torch.tensor(values, dtype=torch.float64)

    tau = max(autocorrelation_time(dimension) for dimension in samples.flatten(2).unbind(2))
    return LevelStatistics(
        sigma=sigma,
        alpha=alpha,
        score_norm=per_state([score_norm(score) for score in scores]),
        signal_to_noise=per_state([signal_to_noise(score, alpha) for score in scores]),
        variance_ratio=per_state([empirical_variance_ratio(x, sigma, data_variance) for x in samples]),
        autocorrelation_time=tau,
        effective_sample_size=samples.shape[0] * samples.shape[1] / tau,
    )
