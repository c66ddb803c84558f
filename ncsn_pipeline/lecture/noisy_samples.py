"""L19.  Sampling at one noise level gives noisy samples.

The score learned at sigma is that of p_sigma, so Langevin dynamics with it draws from p_sigma, not from the data's
density.  The data are two Gaussians of deviation std that stand apart; about one of them the noised score is
-(x - mu) / v with v = std² + sigma², and a chain of step alpha = a v settles at the variance

    2 alpha / (1 - (1 - a)²) = v / (1 - a / 2),

which is v but for the step.  One denoising step at the end, x + sigma² s(x, sigma), maps v to

    std^4 / v = std² / (1 + sigma² / std²),

near the data's own std² only where sigma is small: it takes away noise and width alike.  The chains start at the data,
as whether they get there is another matter (L10, L11).

Source: Song & Ermon 2019, section 4.3; Jolicoeur-Martineau et al. 2021 for the denoising step.
"""

from dataclasses import dataclass

import torch
from matplotlib.figure import Figure
from torch import Tensor

from ..densities import GaussianMixture, ScoreFn
from ..diagnostics import mode_variances, plots
from ..noise_levels import DiscreteSigmas
from ..sampling import langevin_dynamics, last_sample
from .all_levels import learn_scores, new_network
from .experiment import Check, Claim, Params, Result, flag
from .sentences import stated
from .single_level import at_level
from .toy import corner_mixture

CLAIM = Claim(
    number=19,
    name="noisy-samples",
    at="12:31",
    sentence="Sampling at one noise level gives noisy samples.",
    equation="x <- x + alpha s(x, sigma) + sqrt(2 alpha) z  has the modes' variance  std² + sigma², not std²",
)


@dataclass(frozen=True)
class NoisySamplesParams(Params):
    """See the flags."""

    sigmas: tuple[float, ...] = flag((0.25, 0.5, 1.0, 1.5), "noise levels, increasing, in data units", fewest=2)
    std: float = flag(1.0, "deviation of both modes of the data, in data units")
    hidden_features: int = flag(64, "width of each network's three hidden layers")
    train_steps: int = flag(800, "updates of each network")
    batch_size: int = flag(512, "samples an update")
    learning_rate: float = flag(5e-3, "of Adam at the start")
    num_particles: int = flag(10_000, "particles, at samples of the data at the start")
    num_steps: int = flag(100, "Langevin steps")
    step_share: float = flag(0.05, "a = alpha / (std² + sigma²), without unit", below=2)

    def __post_init__(self) -> None:
        super().__post_init__()
        if list(self.sigmas) != sorted(set(self.sigmas)):
            raise ValueError(f"sigmas must be strictly increasing; got {self.sigmas}.")


Params = NoisySamplesParams
QUICK = {"sigmas": (0.25, 1.5), "train_steps": 400}


@dataclass(kw_only=True)
class NoisySamplesResult(Result):
    """Variances of a dimension within a mode, mean of both, one a noise level; in squared data units.

    Args:
        expected: v / (1 - a / 2), where a chain settles.
        exact: of the chain with the exact noised score.
        exact_errors: standard errors of it.
        learned: of the chain with the score learned at that level.
        denoised: of the exact chain after a denoising step.
        expected_denoised: std^4 / v / (1 - a / 2).
        own: of samples of the data, as many.
        samples: of the learned chain at each level, before the denoising, shape `(levels, num_particles, 2)`.
        denoised_samples: of the same chain after it.
    """

    expected: list[float]
    exact: list[float]
    exact_errors: list[float]
    learned: list[float]
    denoised: list[float]
    expected_denoised: list[float]
    own: float
    samples: Tensor
    denoised_samples: Tensor


def run(params: NoisySamplesParams) -> NoisySamplesResult:
    """Langevin dynamics at each level, with the exact and with a learned score, and what denoising makes of it."""
    generator = torch.Generator().manual_seed(params.seed)
    density = corner_mixture(params.std)
    data = density.sample(params.num_particles, generator=generator)
    own, _ = within_modes(data, density)
    expected, expected_denoised, chains, denoised_chains = [], [], [], []
    exact, errors, learned, denoised = [], [], [], []
    for sigma in params.sigmas:
        network = learn_scores(
            new_network(density, hidden_features=params.hidden_features, generator=generator, sigma_conditioned=False),
            density,
            DiscreteSigmas([sigma]),
            num_steps=params.train_steps,
            batch_size=params.batch_size,
            learning_rate=params.learning_rate,
            generator=generator,
        )
        v = params.std**2 + sigma**2
        expected.append(v / (1 - params.step_share / 2))
        expected_denoised.append(params.std**4 / v / (1 - params.step_share / 2))
        score_fn, learned_fn = density.noised(sigma).score, at_level(network, sigma)
        x, by_learned = (
            settled(fn, data, params.step_share * v, params.num_steps, generator) for fn in (score_fn, learned_fn)
        )
        variance, error = within_modes(x, density)
        exact.append(variance)
        errors.append(error)
        learned.append(within_modes(by_learned, density)[0])
        denoised.append(within_modes(x + sigma**2 * score_fn(x), density)[0])
        chains.append(by_learned)
        denoised_chains.append(by_learned + sigma**2 * learned_fn(by_learned))
    own_distance = min(abs(own - v) / error for v, error in zip(expected, errors, strict=True))
    wider = list(zip(learned, expected, strict=True))[1:]
    smallest, largest = params.sigmas[0], params.sigmas[-1]
    own_variance = params.std**2
    return NoisySamplesResult(
        params=params,
        checks=[
            Check(
                "exact score: variance from v / (1 - a / 2), in standard errors, worst level",
                max(abs(found - v) / error for found, v, error in zip(exact, expected, errors, strict=True)),
                "<=",
                4.0,
                null=own_distance,
                null_name="samples of the data, nearest level",
            ),
            Check(
                f"learned score: variance from v / (1 - a / 2), relative, worst level from sigma {params.sigmas[1]:g}",
                max(abs(found / v - 1) for found, v in wider),
                "<=",
                0.1,
                null=min(abs(own / v - 1) for _, v in wider),
                null_name="samples of the data, nearest level",
            ),
            Check(
                f"denoised: variance at sigma {smallest:g} from the data's own, relative",
                abs(denoised[0] / own_variance - 1),
                "<=",
                0.1,
                null=abs(denoised[-1] / own_variance - 1),
                null_name=f"denoised at sigma {largest:g}",
            ),
        ],
        findings=[
            f"The data's modes have variance {own:.3f}; a chain at sigma {smallest:g} ends at {exact[0]:.3f} with the "
            f"exact score and {learned[0]:.3f} with a learned one, at sigma {largest:g} at {exact[-1]:.3f} and "
            f"{learned[-1]:.3f}, where v / (1 - a / 2) is {expected[0]:.3f} and {expected[-1]:.3f}.",
            f"A denoising step leaves {denoised[0]:.3f} at sigma {smallest:g} and {denoised[-1]:.3f} at {largest:g} "
            f"({expected_denoised[0]:.3f} and {expected_denoised[-1]:.3f} expected)"
            + (": it takes away noise and width alike." if denoised[-1] <= 0.9 * own_variance else "."),
        ],
        expected=expected,
        exact=exact,
        exact_errors=errors,
        learned=learned,
        denoised=denoised,
        expected_denoised=expected_denoised,
        own=own,
        samples=torch.stack(chains),
        denoised_samples=torch.stack(denoised_chains),
    )


def settled(score_fn: ScoreFn, start: Tensor, step_size: float, num_steps: int, generator: torch.Generator) -> Tensor:
    """Where Langevin dynamics ends, the same shape as `start`."""
    return last_sample(
        langevin_dynamics(score_fn, start, step_size=step_size, num_steps=num_steps, generator=generator)
    )


def within_modes(x: Tensor, density: GaussianMixture) -> tuple[float, float]:
    """The variance of a dimension within a mode, by all samples `x (B, d)`, and its standard error.

    The modes' variances are weighted by their samples, and so are the squares of their standard errors.
    """
    found = mode_variances(x, density.means)
    share = found.counts.double() / found.counts.sum()
    return float(share @ found.variances), float((share * found.standard_errors).square().sum().sqrt())


def figure(result: NoisySamplesResult) -> Figure:
    """The variance over sigma, before and after denoising; samples at the largest level, before and after."""
    params, largest = result.params, result.params.sigmas[-1]
    extent = (0.0, 10.0, 0.0, 10.0)
    fig, (left, *planes) = plots.new_figure(
        stated("Sampling at one noise level gives noisy samples", result.checks),
        f"Variance of a mode, {result.own:.2f} in the data: {result.learned[0]:.2f} at sigma {params.sigmas[0]:g} and "
        f"{result.learned[-1]:.2f} at {largest:g} by learned scores; a denoising step leaves {result.denoised[0]:.2f} "
        f"and {result.denoised[-1]:.2f}",
        ncols=3,
        size=(10, 4.2),
        width_ratios=(1.3, 1, 1),
    )
    plots.line(left, params.sigmas, result.expected, "true", dashed=True)
    plots.line(left, params.sigmas, result.expected_denoised, "true", dashed=True)
    plots.line(left, params.sigmas, result.exact, "plain", label="exact score", error=result.exact_errors)
    plots.line(left, params.sigmas, result.learned, "learned", label="learned", markers=True)
    plots.line(left, params.sigmas, result.denoised, "annealed", label="denoised", markers=True)
    plots.null_line(left, result.own, "the data's own")
    left.set(xlabel="noise level sigma", ylim=(0, None))
    plots.panel_title(left, "variance of a mode")
    plots.label_ends(left)
    clean = corner_mixture(params.std)
    for axes, x, title, colour in (
        (planes[0], result.samples[-1], f"samples at sigma {largest:g}", "learned"),
        (planes[1], result.denoised_samples[-1], "the same, denoised", "annealed"),
    ):
        plots.density_background(axes, clean, extent)
        plots.samples(axes, x[:1500], colour)
        plots.panel_title(axes, title, colour)
        axes.set_xlabel("shade: the data's density")
    return fig
