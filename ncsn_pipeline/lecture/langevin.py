"""L6.  Follow the arrows with noise: Langevin dynamics gives samples of the density.

    x <- x + alpha s(x) + sqrt(2 alpha) z,        z ~ N(0, I)

settles in p as alpha -> 0.  At a finite step it settles a little beside: for N(0, 1), s(x) = -x, and a step maps the
variance v to (1 - alpha)² v + 2 alpha, whose fixed point is

    v = 2 alpha / (1 - (1 - alpha)²) = 1 / (1 - alpha / 2),        0 < alpha < 2.

Without the noise the same steps only climb: particles gather at the tops of the hills.

Source: Song & Ermon 2019, section 2.2; Roberts & Tweedie 1996 on the step's bias.
"""

import math
from dataclasses import dataclass

import torch
from matplotlib.figure import Figure
from torch import Tensor

from ..densities import GaussianMixture
from ..diagnostics import plots
from ..sampling import langevin_dynamics, langevin_step, last_sample
from .experiment import Check, Claim, Params, Result, flag
from .sentences import stated

CLAIM = Claim(
    number=6,
    name="langevin",
    at="07:14",
    sentence="Following the score with a little noise, Langevin dynamics draws samples from the density.",
    equation="x <- x + alpha s(x) + sqrt(2 alpha) z",
)


@dataclass(frozen=True)
class LangevinParams(Params):
    """See the flags."""

    num_particles: int = flag(200_000, "particles, uniform on [-4, 4] at the start")
    num_steps: int = flag(1000, "Langevin steps")
    step_size: float = flag(0.01, "alpha, in squared data units")
    num_bins: int = flag(40, "bins of the histogram on [-5, 5]")
    variance_step_sizes: tuple[float, ...] = flag(
        (0.1, 0.5, 1.0, 1.5), "alphas whose variance is propagated", below=2, least=1e-3
    )


Params = LangevinParams
HILL_STD = 0.7  # deviation of both hills, in data units
NOISELESS = 10_000  # particles that climb without noise, for the null
GATHERED = 0.5  # total variation from which on they are at the tops
QUICK = {"num_particles": 100_000, "num_steps": 600, "num_bins": 20, "step_size": 0.015}


@dataclass(kw_only=True)
class LangevinResult(Result):
    """Variances by propagation, and a histogram.

    Args:
        stationary_variances: where the variance of each of `variance_step_sizes` settles.
        total_variation: half the sum of |histogram - density| over the bins.
        sampling_noise: what it would be, on average, for as many independent samples of the density itself.
        variances: of each step size over 60 steps from 0, shape `(len(variance_step_sizes), 61)`.
        edges: of the bins, shape `(num_bins + 1,)`.
        histogram: share of the particles in each bin.
        probabilities: of each bin.
    """

    stationary_variances: list[float]
    total_variation: float
    sampling_noise: float
    variances: Tensor
    edges: Tensor
    histogram: Tensor
    probabilities: Tensor


def two_hills() -> GaussianMixture:
    """A density on the line: 0.4 at -1.2 and 0.6 at 1.2, both of deviation 0.7, with a passable valley between."""
    means = torch.tensor([[-1.2], [1.2]], dtype=torch.float32)
    return GaussianMixture(means, HILL_STD, torch.tensor([0.4, 0.6]))


def propagate_variance(step_size: float, num_steps: int) -> Tensor:
    """The variance after each step for N(0, 1)'s score, from 0, without sampling; shape `(num_steps + 1,)`, float64.

    The step is linear, x <- a x + b z; a and b are read off the sampler's own step.
    """
    one, zero = torch.ones(1, dtype=torch.float64), torch.zeros(1, dtype=torch.float64)
    a = langevin_step(one, -one, step_size, zero)
    b = langevin_step(zero, zero, step_size, one)
    variances = [zero]
    for _ in range(num_steps):
        variances.append(a**2 * variances[-1] + b**2)
    return torch.cat(variances)


def run(params: LangevinParams) -> LangevinResult:
    """Propagates the variance, then fills a histogram."""
    generator = torch.Generator().manual_seed(params.seed)
    variances = [
        propagate_variance(alpha, max(60, math.ceil(20 / min(alpha, 2 - alpha))))
        for alpha in params.variance_step_sizes
    ]
    stationary = [float(variance[-1]) for variance in variances]
    expected = [1 / (1 - alpha / 2) for alpha in params.variance_step_sizes]
    without_bias = max(abs(1 / truth - 1) for truth in expected)
    worst = max(abs(v / truth - 1) for v, truth in zip(stationary, expected, strict=True))

    density = two_hills()
    start = 8 * torch.rand(params.num_particles, 1, generator=generator) - 4
    x = last_sample(
        langevin_dynamics(
            density.score, start, step_size=params.step_size, num_steps=params.num_steps, generator=generator
        )
    )
    edges = torch.linspace(-5, 5, params.num_bins + 1, dtype=torch.float64)
    histogram = torch.histogram(x.double().flatten(), edges).hist / len(x)
    means, stds, weights = (
        density.means.double(),
        density.covariances[:, 0, 0].double().sqrt(),
        density.weights.double(),
    )
    cumulative = (torch.special.ndtr((edges[:, None] - means[:, 0]) / stds) * weights).sum(1)
    probabilities = cumulative.diff()
    total_variation = 0.5 * float((histogram - probabilities).abs().sum())
    climbed = start[:NOISELESS]
    for _ in range(params.num_steps):
        climbed = langevin_step(climbed, density.score(climbed), params.step_size, torch.zeros_like(climbed))
    without_noise = torch.histogram(climbed.double().flatten(), edges).hist / len(climbed)
    noiseless_variation = 0.5 * float((without_noise - probabilities).abs().sum())
    # The mean absolute error of a binomial share is sqrt(2 p (1 - p) / (pi n)).
    noise = 0.5 * float((2 * probabilities * (1 - probabilities) / (torch.pi * len(x))).sqrt().sum())
    # A hill that is too wide by a share is off by about a quarter of it in total variation.
    share = params.step_size / (2 * HILL_STD**2)
    rest = total_variation - noise
    widening = share / (1 - share) if share < 1 else math.inf
    too_wide = f"at alpha = {params.step_size:g} each hill is {100 * widening:.1f} % too wide in variance"
    if share >= 1:
        bias = "At this step no hill settles at a variance of its own."
    elif rest > share / 3:
        bias = f"The rest is more than the step's bias explains ({too_wide}): the chain has not settled."
    elif rest > 0:
        bias = f"The rest is the step's bias: {too_wide}."
    else:
        bias = f"The step's bias is not seen beside it: {too_wide}."
    return LangevinResult(
        params=params,
        checks=[
            Check(
                "histogram: total variation from the density",
                total_variation,
                "<=",
                3 * noise,
                null=noiseless_variation,
                null_name="the same steps without noise",
            ),
            Check(
                "stationary variance of N(0, 1): relative distance from 1 / (1 - alpha / 2)",
                worst,
                "<=",
                1e-6,
                null=without_bias,
                null_name="variance 1",
            ),
        ],
        findings=[
            f"Total variation {total_variation:.4f}; as many independent samples would give {noise:.4f} by "
            f"chance alone. {bias} Without noise "
            + ("the particles gather at the tops: " if noiseless_variation >= GATHERED else "it is ")
            + f"{noiseless_variation:.2f}."
        ],
        stationary_variances=stationary,
        total_variation=total_variation,
        sampling_noise=noise,
        variances=torch.stack([variance[:61] for variance in variances]),
        edges=edges,
        histogram=histogram,
        probabilities=probabilities,
    )


def figure(result: LangevinResult) -> Figure:
    """The histogram on the density, and the variance of N(0, 1) over the steps for several step sizes."""
    fig, (left, right) = plots.new_figure(
        stated("Langevin dynamics turns a score into samples, a little too wide at a large step", result.checks),
        f"{result.params.num_particles:,} particles, {result.params.num_steps} steps of {result.params.step_size:g}: "
        f"total variation {result.total_variation:.4f} ({result.sampling_noise:.4f} by chance alone)",
        ncols=2,
        size=(10, 4.2),
    )
    width = float(result.edges.diff()[0])
    left.stairs(result.histogram / width, result.edges, fill=True, color=plots.COLOURS["plain"], alpha=0.45)
    x = torch.linspace(-5, 5, 400)
    plots.line(left, x, two_hills().log_prob(x[:, None]).exp(), "true")
    plots.direct_label(left, 2.6, 0.18, "density", "true")
    plots.direct_label(left, -2.6, 0.10, "histogram", "plain", offset=(-6, 0))
    plots.panel_title(left, "two hills, exact score")
    left.set(xlabel="x", ylabel="density", ylim=(0, None))

    steps = torch.arange(result.variances.shape[1])
    colours = plots.level_colours(len(result.variances))
    for alpha, variances, colour in zip(result.params.variance_step_sizes, result.variances, colours, strict=True):
        plots.line(right, steps, torch.full_like(variances, 1 / (1 - alpha / 2)), colour, dashed=True)
        plots.line(right, steps, variances, colour, label=f"alpha {alpha:g}")
    plots.panel_title(right, "variance for N(0, 1); dashed: 1 / (1 - alpha / 2)")
    right.set(xlabel="step", ylim=(0, None), xlim=(0, 30))
    plots.label_ends(right)
    return fig
