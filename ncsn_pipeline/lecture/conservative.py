"""L16.  A free-form network is not conservative; an energy parameterisation is, and does not help much.

A score is a gradient, so log p must come back to its value around a closed loop, and the Jacobian must be symmetric:

    integral around the loop of s . dx = 0,        ds/dx = (ds/dx)^T.

A free-form network promises neither.  The gradient of a scalar that a network computes does, whatever its weights are:

    E(x, sigma) = -1/2 <x - mean, f(x, sigma)>,        s(x, sigma) = -grad_x E(x, sigma).

Both learn the same scores here, from the same losses, with the same network f, and both are sampled.  Around a loop the
fields are integrated in float64, as what is measured of the energy's is rounding; so is that of the exact score, the
null of the free-form one's.  What an energy helps is the error of its score after as many updates, the mean over the
levels, and it is worth something only where both models are good: where the samples of both are nearly as near to the
data as exact samples.

Source: Salimans & Ho 2021 (energy or score); Du et al. 2023, section 4 (this energy).
"""

from copy import deepcopy
from dataclasses import dataclass
from statistics import geometric_mean, mean

import torch
from matplotlib.figure import Figure
from torch import Tensor

from ..densities import ScoreFn, two_moons
from ..diagnostics import (
    circle,
    jacobian_asymmetry,
    plots,
    relative_circulation,
    relative_fisher_divergence,
    sliced_wasserstein,
)
from ..networks import EnergyModel, as_score_function
from ..noise_levels import LogUniformSigmas, geometric_noise_levels
from .all_levels import draw_samples, learn_scores, new_network
from .cost import timed
from .experiment import Check, Claim, Params, Result, flag
from .sentences import stated
from .single_level import at_level

CLAIM = Claim(
    number=16,
    name="conservative",
    at="28:55",
    sentence="A free-form network is not conservative: around a loop the log probability changes. An energy "
    "parameterisation mends it, and does not help much.",
    equation="loop integral of s . dx = 0  where  s = -grad E",
)
# Circles through and around the two moons: centre and radius, in data units; the first is drawn.
LOOPS = (((0.5, 0.25), 1.0), ((0.5, 0.25), 0.5), ((0.0, 0.5), 0.7), ((1.0, 0.0), 0.7))


@dataclass(frozen=True)
class ConservativeParams(Params):
    """Loops, training and sampling."""

    sigmas: tuple[float, ...] = flag((0.1, 0.3, 1.0), "noise levels of the loops, in data units; the first is drawn")
    sigma_max: float = flag(3.0, "largest noise level of training and sampling, in data units")
    sigma_min: float = flag(0.05, "smallest noise level of training and sampling, in data units")
    hidden_features: int = flag(64, "width of the three hidden layers")
    train_steps: int = flag(1500, "updates of each network")
    batch_size: int = flag(512, "samples an update")
    learning_rate: float = flag(2e-3, "of Adam at the start")
    num_test: int = flag(2000, "samples per level at which scores are compared")
    num_particles: int = flag(2000, "samples drawn with each model")
    num_levels: int = flag(30, "levels of annealed Langevin dynamics")
    steps_per_level: int = flag(5, "Langevin steps per level")
    relative_step: float = flag(0.2, "alpha_i / sigma_i² of the Langevin steps, below 2", below=2)


Params = ConservativeParams
QUICK = {
    "sigma_min": 0.08,
    "train_steps": 800,
    "batch_size": 256,
    "num_test": 500,
    "num_particles": 500,
    "num_levels": 20,
}


@dataclass(kw_only=True)
class ConservativeResult(Result):
    """Of the models "free" and "energy".

    Args:
        circulations: relative to the score's norm times the loop's length, shape `(sigmas, loops)`, by model.
        exact_circulation: the largest of the exact score's.
        asymmetry: mean of || J - J^T || / || J || at samples of the first sigma, by model.
        errors: relative error of the score at each sigma, by model and "untrained".
        distances: sliced Wasserstein distance of samples to exact ones, in data units, by model.
        untrained_distance: of samples by the free-form network before its training.
        chance: mean distance of exact samples, as many: as near as a perfect sampler comes.
        training_seconds: CPU seconds, by model.
        sampling_seconds: CPU seconds of one run, by model.
        turn: where on the drawn loop, in turns from 0 to 1, shape `(n,)`.
        excess: log density gained since the start of the loop beyond the true one, in nats, shape `(n,)`, by model.
        free_score: of the first sigma, by the free-form network, for the picture.
    """

    circulations: dict[str, list[list[float]]]
    exact_circulation: float
    asymmetry: dict[str, float]
    errors: dict[str, list[float]]
    distances: dict[str, float]
    untrained_distance: float
    chance: float
    training_seconds: dict[str, float]
    sampling_seconds: dict[str, float]
    turn: Tensor
    excess: dict[str, Tensor]
    free_score: ScoreFn


def run(params: ConservativeParams) -> ConservativeResult:
    """The same network, free and as an energy: around loops, at samples, and as a sampler."""
    generator = torch.Generator().manual_seed(params.seed)
    density = two_moons()
    free = new_network(density, hidden_features=params.hidden_features, generator=generator)
    models = {"free": free, "energy": EnergyModel(deepcopy(free))}
    noised = [density.noised(sigma) for sigma in params.sigmas]
    points = [level.sample(params.num_test, generator=generator) for level in noised]
    reference = density.sample(10 * params.num_particles, generator=generator)
    others = (density.sample(params.num_particles, generator=generator) for _ in range(8))
    chance = mean(sliced_wasserstein(x, reference, generator=generator) for x in others)
    loops = [circle(torch.tensor(centre, dtype=torch.float64), radius) for centre, radius in LOOPS]
    drawn = circle(torch.tensor(LOOPS[0][0], dtype=torch.float64), LOOPS[0][1], 1000)
    truth = gain(noised[0].score, drawn)
    exact_circulation = max(relative_circulation(level.score, loop) for level in noised for loop in loops)

    levels = geometric_noise_levels(params.sigma_max, params.sigma_min, params.num_levels)
    untrained_samples = draw_samples(as_score_function(free), levels, params, generator)
    untrained_distance = sliced_wasserstein(untrained_samples, reference, generator=generator)
    circulations, asymmetry, errors, distances, excess, fields = ({} for _ in range(6))
    errors["untrained"] = [
        relative_fisher_divergence(at_level(as_score_function(free), sigma)(x).detach(), level.score(x))
        for sigma, x, level in zip(params.sigmas, points, noised, strict=True)
    ]
    training_seconds, sampling_seconds = {}, {}
    for kind, model in models.items():
        score, training_seconds[kind] = timed(
            learn_scores,
            model,
            density,
            LogUniformSigmas(params.sigma_min, params.sigma_max),
            num_steps=params.train_steps,
            batch_size=params.batch_size,
            learning_rate=params.learning_rate,
            generator=generator,
        )
        samples, sampling_seconds[kind] = timed(draw_samples, score, levels, params, generator)
        distances[kind] = sliced_wasserstein(samples, reference, generator=generator)
        errors[kind] = [
            relative_fisher_divergence(at_level(score, sigma)(x).detach(), level.score(x))
            for sigma, x, level in zip(params.sigmas, points, noised, strict=True)
        ]
        precise = as_score_function(deepcopy(model).double())
        circulations[kind] = [
            [relative_circulation(at_level(precise, sigma), loop) for loop in loops] for sigma in params.sigmas
        ]
        fields[kind] = at_level(precise, params.sigmas[0])
        asymmetry[kind] = jacobian_asymmetry(fields[kind], points[0].double()).mean().item()
        excess[kind] = gain(fields[kind], drawn) - truth

    of_free, of_energy = ([value for level in circulations[kind] for value in level] for kind in ("free", "energy"))
    better, untrained = (
        geometric_mean(a / b for a, b in zip(errors[kind], errors["energy"], strict=True))
        for kind in ("free", "untrained")
    )
    return ConservativeResult(
        params=params,
        checks=[
            Check(
                "energy: largest relative circulation of all loops",
                max(of_energy),
                "<=",
                1e-5,
                null=mean(of_free),
                null_name="free-form network, mean",
            ),
            Check(
                "free-form: mean relative circulation of all loops",
                mean(of_free),
                ">=",
                0.01,
                null=exact_circulation,
                null_name="exact score, largest",
            ),
            *(
                Check(
                    f"distance of samples, {name} (data units)",
                    distances[kind],
                    "<=",
                    3 * chance,
                    null=untrained_distance,
                    null_name="untrained network",
                )
                for kind, name in (("free", "free-form"), ("energy", "energy"))
            ),
            Check(
                "error of the score, free-form over energy: not helping much",
                better,
                "<=",
                1.5,
                null=untrained,
                null_name="untrained over energy",
            ),
        ],
        findings=[
            ("Confirmed" if better <= 1.5 else "Not confirmed")
            + f" that an energy does not help much: the error of the free-form score is {better:.1f} times the "
            "energy's, a mean over the levels, after as many updates of the same network. Training took "
            f"{training_seconds['energy']:.1f} s instead of {training_seconds['free']:.1f} s, sampling "
            f"{sampling_seconds['energy']:.1f} s instead of {sampling_seconds['free']:.1f} s.",
            f"Around a loop of radius {LOOPS[0][1]:g} at sigma {params.sigmas[0]:g} log p changes by "
            f"{excess['free'][-1] + truth[-1]:.2f} nats by the free-form network and by "
            f"{abs(excess['energy'][-1] + truth[-1]):.0e} by the energy. At samples the free-form Jacobian's asymmetry "
            f"is {asymmetry['free']:.1%} of its norm on average.",
            f"Samples lie {distances['free']:.3f} (free-form) and {distances['energy']:.3f} (energy) from the data, "
            f"which are 3 wide, and exact ones {chance:.3f}.",
        ],
        circulations=circulations,
        exact_circulation=exact_circulation,
        asymmetry=asymmetry,
        errors=errors,
        distances=distances,
        untrained_distance=untrained_distance,
        chance=chance,
        training_seconds=training_seconds,
        sampling_seconds=sampling_seconds,
        turn=torch.linspace(0, 1, len(truth)),
        excess=excess,
        free_score=fields["free"],
    )


def gain(score_fn: ScoreFn, loop: Tensor) -> Tensor:
    """What log p gains from the start of a loop to each of its points, if the field is its gradient.

    The line integral of s . dx by the trapezoidal rule, whose error falls with the square of the segments' length.

    Args:
        score_fn: `(B, d) -> (B, d)`.
        loop: vertices, shape `(M, d)`; the last joins the first.

    Returns:
        Shape `(M + 1,)`, in nats: first 0, last the circulation.
    """
    closed = torch.cat([loop, loop[:1]])
    score = score_fn(closed).detach()
    steps = ((score[1:] + score[:-1]) / 2 * closed.diff(dim=0)).sum(1)
    return torch.cat([steps.new_zeros(1), steps.cumsum(0)])


def figure(result: ConservativeResult) -> Figure:
    """The free-form field and a loop; what log p gains around it; the error of both."""
    sigma, (centre, radius) = result.params.sigmas[0], LOOPS[0]
    extent, around = (-1.2, 2.2, -1.2, 1.7), result.checks[:2]
    of_free, of_energy = (
        [value for level in result.circulations[kind] for value in level] for kind in ("free", "energy")
    )
    fig, (left, middle, right) = plots.new_figure(
        stated("Around a loop a free-form score does not return to where it started; an energy's does", around),
        f"Circulation over the score's norm times the length: {mean(of_free):.1%} free-form, "
        f"{plots.plain_number(float(f'{max(of_energy):.0e}'))} energy. Samples are {result.distances['free']:.3f} "
        f"(free-form) and {result.distances['energy']:.3f} (energy) from the data, exact ones {result.chance:.3f}, "
        f"by an untrained network {result.untrained_distance:.2f}",
        ncols=3,
        size=(10, 4.2),
    )
    plots.density_background(left, two_moons(sigma=sigma), extent)
    plots.arrow_field(left, lambda x: result.free_score(x.double()), extent, n=15, colour="learned")
    plots.closed_loop(left, circle(centre, radius))
    plots.panel_title(left, f"free-form score, sigma {sigma:g}")

    plots.line(middle, result.turn, torch.zeros_like(result.turn), "true", dashed=True)
    for kind, name, colour in (("free", "free-form", "learned"), ("energy", "energy", "second")):
        plots.line(middle, result.turn, result.excess[kind], colour, label=name)
        middle.plot(1, result.excess[kind][-1], "o", color=plots.COLOURS[colour], markersize=7, clip_on=False)
        error = plots.line(right, result.params.sigmas, result.errors[kind], colour, label=name, markers=True)
        error.set_clip_on(False)
    plots.null_line(middle, 0, "the exact score")
    plots.panel_title(middle, "log p gained, less the true gain")
    middle.set(xlabel="turns around the loop")
    plots.log_axis(right, "xy")
    plots.panel_title(right, "relative error of the score")
    right.set(xlabel="sigma (data units)")
    for panel in (middle, right):
        plots.label_ends(panel)
    return fig
