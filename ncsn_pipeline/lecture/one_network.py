"""L15.  One network conditioned on sigma estimates the scores of all levels jointly, instead of L networks.

    ensemble       s_i(x) minimises E || s_i(x + sigma_i z) + z / sigma_i ||²,    i = 1 ... L: L sets of weights
    conditional    s(x, sigma) minimises the mean over i of lambda_i times these: one set of weights

The levels are weighted by EDM's lambda_i = sigma_i² (sigma_i² + sd²) / sd² (Karras et al. 2022), sd the deviation of
the data; for a network of one level a weight changes nothing.  All networks are told sigma by the same preconditioning
and learn from fresh samples.  The conditional network has the size of one network of the ensemble, which is 1 / L of
the ensemble's parameters:

    worse       its error after as many samples as the whole ensemble was trained on, over the ensemble's: above 1 to be
                worse, at most 2 to be a little worse
    cheaper     its error after half of them, over the ensemble's after all; the null is the ensemble after half, which
                shares nothing between levels

A ratio of errors is the geometric mean of the levels' ratios, so that every level counts alike: an arithmetic mean of
errors would be that of the smallest levels, where the errors are largest.  A conditional network of the ensemble's size
is trained beside them.  Who is ahead depends on the length of the training, of which the ensemble gains more.

Source: Song & Ermon 2019, section 4 (noise conditional score networks).
"""

from bisect import bisect_right
from dataclasses import dataclass
from statistics import geometric_mean, mean
from typing import Any

import torch
from matplotlib.figure import Figure
from torch import Tensor, nn

from ..densities import two_moons
from ..diagnostics import plots, relative_fisher_divergence, sliced_wasserstein
from ..networks import ScoreEnsemble, ScoreMLP, as_score_function
from ..noise_levels import DiscreteSigmas, geometric_noise_levels
from .all_levels import draw_samples, learn_scores, new_network
from .cost import timed
from .experiment import Check, Claim, Params, Result, flag
from .sentences import stated

CLAIM = Claim(
    number=15,
    name="one-network",
    at="25:52",
    sentence="One network conditioned on sigma estimates all levels jointly, instead of one network each: a little "
    "worse, far cheaper.",
    equation="s(x, sigma) = argmin mean_i lambda_i E || s(x + sigma_i z, sigma_i) + z / sigma_i ||²,  "
    "lambda_i = sigma_i² (sigma_i² + sd²) / sd²",
)


@dataclass(frozen=True)
class OneNetworkParams(Params):
    """Levels, sizes, training and sampling."""

    num_levels: int = flag(8, "noise levels L, at least 2", least=2)
    sigma_max: float = flag(3.0, "largest noise level, in data units; the data are 3 wide")
    sigma_min: float = flag(0.05, "smallest noise level, in data units")
    hidden_features: int = flag(64, "width of the three hidden layers of each network of the ensemble")
    ensemble_steps: int = flag(1000, "updates of each network of the ensemble, at least 2", least=2)
    ensemble_batch_size: int = flag(256, "samples an update of a network of the ensemble")
    large_steps: int = flag(1500, "updates of the conditional network of the size of all")
    batch_size: int = flag(512, "samples an update of a conditional network")
    learning_rate: float = flag(1e-2, "of Adam at the start")
    num_test: int = flag(2000, "samples per level at which scores are compared")
    num_particles: int = flag(2000, "samples drawn with each model")
    steps_per_level: int = flag(10, "Langevin steps per level")
    relative_step: float = flag(0.2, "alpha_i / sigma_i² of the Langevin steps, below 2", below=2)


Params = OneNetworkParams
QUICK = {
    "num_levels": 6,
    "sigma_min": 0.1,
    "ensemble_steps": 400,
    "large_steps": 250,
    "num_test": 500,
    "num_particles": 500,
}


@dataclass(kw_only=True)
class OneNetworkResult(Result):
    """Of models by name.

    "ensemble" and "small", one network of the size of one, learn from as many samples; "half ensemble" and "half
    small" from half as many; "large" is one network of the size of all.

    Args:
        sigmas: the levels, in data units.
        errors: relative error of the score at each level, by model, and of "untrained".
        mean_errors: the mean over the levels, by model, and of "untrained".
        error_ratios: the geometric mean over the levels of its error over the ensemble's, likewise.
        parameters: weights and biases, by model.
        training_seconds: CPU seconds of training, by model.
        training_samples: samples that a model was trained on, by model.
        sampling_seconds: CPU seconds of one run of annealed Langevin dynamics, by model.
        distances: sliced Wasserstein distance of its samples to exact ones, in data units, by model.
        chance: of exact samples, as many: as near as a perfect sampler comes.
    """

    sigmas: list[float]
    errors: dict[str, list[float]]
    mean_errors: dict[str, float]
    error_ratios: dict[str, float]
    parameters: dict[str, int]
    training_seconds: dict[str, float]
    training_samples: dict[str, int]
    sampling_seconds: dict[str, float]
    distances: dict[str, float]
    chance: float


def run(params: OneNetworkParams) -> OneNetworkResult:
    """An ensemble and two conditional networks on the same levels of two moons."""
    generator = torch.Generator().manual_seed(params.seed)
    density = two_moons()
    sigmas = geometric_noise_levels(params.sigma_max, params.sigma_min, params.num_levels)

    def trained(width: int, sigmas: Tensor, num_steps: int, batch_size: int, conditioned: bool = True) -> ScoreMLP:
        network = new_network(density, hidden_features=width, generator=generator, sigma_conditioned=conditioned)
        learn_scores(
            network,
            density,
            DiscreteSigmas(sigmas.tolist()),
            num_steps=num_steps,
            batch_size=batch_size,
            learning_rate=params.learning_rate,
            generator=generator,
        )
        return network

    def ensemble(num_steps: int) -> ScoreEnsemble:
        schedule = num_steps, params.ensemble_batch_size
        networks = [trained(params.hidden_features, level, *schedule, conditioned=False) for level in sigmas.split(1)]
        return ScoreEnsemble(networks, sigmas)

    models, training_seconds, training_samples = {}, {}, {}

    def add(kind: str, num_samples: int, *timed_call: Any) -> None:
        models[kind], training_seconds[kind] = timed(*timed_call)
        training_samples[kind] = num_samples

    for kind, num_steps in (("ensemble", params.ensemble_steps), ("half ensemble", params.ensemble_steps // 2)):
        add(kind, params.num_levels * num_steps * params.ensemble_batch_size, ensemble, num_steps)
    total = count_parameters(models["ensemble"])
    equal = training_samples["ensemble"] // params.batch_size
    small, large = width_of(total // params.num_levels), width_of(total)
    for kind, width, num_steps in (
        ("small", small, equal),
        ("half small", small, equal // 2),
        ("large", large, params.large_steps),
    ):
        add(kind, num_steps * params.batch_size, trained, width, sigmas, num_steps, params.batch_size)
    parameters = {kind: count_parameters(model) for kind, model in models.items()}

    noised = [density.noised(float(sigma)) for sigma in sigmas]
    points = [level.sample(params.num_test, generator=generator) for level in noised]
    truths = [level.score(x) for level, x in zip(noised, points, strict=True)]
    reference = density.sample(10 * params.num_particles, generator=generator)
    chance = sliced_wasserstein(
        density.sample(params.num_particles, generator=generator), reference, generator=generator
    )
    untrained = new_network(density, hidden_features=small, generator=generator).requires_grad_(False)
    errors, distances, sampling_seconds = {}, {}, {}
    for kind, model in (models | {"untrained": untrained}).items():
        score = as_score_function(model)
        errors[kind] = [
            relative_fisher_divergence(score(x, sigma), truth)
            for x, sigma, truth in zip(points, sigmas, truths, strict=True)
        ]
        samples, sampling_seconds[kind] = timed(draw_samples, score, sigmas, params, generator)
        distances[kind] = sliced_wasserstein(samples, reference, generator=generator)

    mean_errors = {kind: mean(levels) for kind, levels in errors.items()}
    ratio = {
        kind: geometric_mean(own / of_many for own, of_many in zip(levels, errors["ensemble"], strict=True))
        for kind, levels in errors.items()
    }
    cost = {kind: seconds / training_seconds["ensemble"] for kind, seconds in training_seconds.items()}
    num_worse = sum(one > own for one, own in zip(errors["small"], errors["ensemble"], strict=True))
    return OneNetworkResult(
        params=params,
        checks=[
            Check(
                "as many samples: error of one network over the ensemble's",
                ratio["small"],
                "<=",
                min(2, 0.5 * ratio["untrained"]),
                null=ratio["untrained"],
                null_name="untrained network",
            ),
            Check(
                "as many samples: the same, to be worse at all",
                ratio["small"],
                ">",
                1,
                null=ratio["ensemble"],
                null_name="the ensemble itself",
            ),
            Check(
                "half the samples: error of one network over the ensemble's after all",
                ratio["half small"],
                "<=",
                0.8 * ratio["half ensemble"],
                null=ratio["half ensemble"],
                null_name="ensemble after half",
            ),
            Check(
                "half the samples: distance of what it draws from data, in units of chance",
                distances["half small"] / chance,
                "<=",
                0.5 * distances["untrained"] / chance,
                null=distances["untrained"] / chance,
                null_name="untrained network",
            ),
        ],
        findings=[
            ("Confirmed" if ratio["small"] > 1 else "Not confirmed")
            + f" that one network is worse with as many samples: its error is {ratio['small']:.2f} times that of "
            f"{params.num_levels} networks, a geometric mean over the levels, and the larger one at {num_worse} of "
            f"them. The plain means, to which the smallest levels give most, are {mean_errors['small']:.1%} and "
            f"{mean_errors['ensemble']:.1%}.",
            f"With half the samples it is {ratio['half small']:.2f} times the ensemble's error after all (the ensemble "
            f"after half: {ratio['half ensemble']:.2f}) with {parameters['small']:,} parameters instead of {total:,}. "
            f"Its training takes {cost['half small']:.0%} of the ensemble's CPU time, the ensemble's half "
            f"{cost['half ensemble']:.0%}: "
            + "an update of one network has the larger batch, and "
            * (params.batch_size > params.ensemble_batch_size)
            + "per sample both cost as much in operations. One network of the ensemble's size, with "
            f"{training_samples['large'] / training_samples['ensemble']:.0%} of the samples, has "
            f"{ratio['large']:.2f} times the error.",
            f"Sampling takes {sampling_seconds['ensemble']:.2f} s with the ensemble, {sampling_seconds['small']:.2f} s "
            "with the small network, as one network is asked at a time; samples lie "
            f"{distances['ensemble']:.3f} (ensemble), {distances['small']:.3f} (small), "
            f"{distances['half small']:.3f} (small, after half) and {distances['large']:.3f} (large) from the data, "
            f"exact ones {chance:.3f}.",
        ],
        sigmas=sigmas.tolist(),
        errors=errors,
        mean_errors=mean_errors,
        error_ratios=ratio,
        parameters=parameters,
        training_seconds=training_seconds,
        training_samples=training_samples,
        sampling_seconds=sampling_seconds,
        distances=distances,
        chance=chance,
    )


def width_of(most_parameters: int) -> int:
    """The largest width of a conditional network in the plane with at most so many parameters.

    Raises:
        ValueError: for fewer parameters than the smallest network has, or more than one of 1,023 features.
    """
    with torch.device("meta"):
        width = bisect_right(
            range(1, 1024), most_parameters, key=lambda width: count_parameters(ScoreMLP(hidden_features=width))
        )
    if not 0 < width < 1023:
        raise ValueError(
            f"No conditional network has {most_parameters:,} parameters and between 1 and 1,022 features; take "
            "hidden_features between 8 and 256."
        )
    return width


def count_parameters(model: nn.Module) -> int:
    """Weights and biases."""
    return sum(parameter.numel() for parameter in model.parameters())


def figure(result: OneNetworkResult) -> Figure:
    """The error of every level; what it costs."""
    levels, parameters = result.params.num_levels, result.parameters
    enough = [result.checks[0], *result.checks[2:]]  # whether it is worse at all is not in the title
    fig, (left, right) = plots.new_figure(
        stated("One network for all levels does the work of many, with fewer samples and parameters", enough),
        f"Two moons, {levels} levels: {levels} networks with {parameters['ensemble']:,} parameters in all, one network "
        f"with {parameters['small']:,} (small), one with {parameters['large']:,} (large). Samples are "
        f"{result.distances['ensemble']:.3f}, {result.distances['small']:.3f} and {result.distances['large']:.3f} from "
        f"the data, exact ones {result.chance:.3f}",
        ncols=2,
        width_ratios=(1.3, 1),
    )
    for kind, name, colour, offset in (
        ("ensemble", f"{levels} networks", "second", (0, -8)),
        ("half ensemble", f"null: {levels}, after half", "muted", (0, 8)),
        ("large", "one, large", "annealed", (0, 8)),
        ("small", "one, small", "learned", (-8, 0)),
        ("half small", "one, after half", "learned", (0, -8)),
    ):
        plots.line(left, result.sigmas[::-1], result.errors[kind][::-1], colour, dashed="half" in kind, markers=True)
        seconds, error = result.training_seconds[kind], result.error_ratios[kind]
        right.plot(seconds, error, "o", color=plots.COLOURS[colour], markersize=10)
        plots.direct_label(right, seconds, error, name, colour, offset)
    plots.line(left, result.sigmas[::-1], result.errors["untrained"][::-1], "muted", dashed=True)
    plots.direct_label(left, result.sigmas[-1], result.errors["untrained"][-1], "null: untrained", "muted", (8, -10))
    plots.panel_title(left, "relative error of the score")
    left.set(xlabel="sigma (data units)")
    plots.panel_title(right, "error over the ensemble's")
    right.set(xlabel="training (CPU seconds)", xscale="log", yscale="log")
    right.margins(x=0.35, y=0.25)
    for panel in (left, right):
        plots.log_axis(panel, "xy")
    return fig
