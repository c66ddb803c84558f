"""L15.  One network conditioned on sigma estimates the scores of all levels jointly, instead of L networks.

    ensemble       s_i(x) minimises E || s_i(x + sigma_i z) + z / sigma_i ||²,    i = 1 ... L: L sets of weights
    conditional    s(x, sigma) minimises the mean over i of lambda_i times these: one set of weights

The levels are weighted by EDM's lambda_i = sigma_i² (sigma_i² + sd²) / sd² (Karras et al. 2022), sd the deviation of
the data; for a network of one level a weight changes nothing.  The conditional network is taken at the size of one
network of the ensemble, which is 1 / L of the ensemble's parameters, and at the size of all.  All are told sigma by the
same preconditioning and learn from fresh samples.

Who is ahead depends on the training, of which the ensemble gains more: with `--ensemble-steps 800 --small-steps 2000
--large-steps 1000` the mean error was 12 % for the ensemble and 3 % for a conditional network of 1 / L of its
parameters, which had learned once what neighbouring levels have in common.

Source: Song & Ermon 2019, section 4 (noise conditional score networks).
"""

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass

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
    """See the flags."""

    num_levels: int = flag(8, "noise levels L, at least 2")
    sigma_max: float = flag(3.0, "largest noise level, in data units; the data are 3 wide")
    sigma_min: float = flag(0.05, "smallest noise level, in data units")
    hidden_features: int = flag(64, "width of the three hidden layers of each network of the ensemble")
    ensemble_steps: int = flag(3000, "updates of each network of the ensemble")
    ensemble_batch_size: int = flag(256, "samples an update of a network of the ensemble")
    small_steps: int = flag(6000, "updates of the conditional network of the size of one")
    large_steps: int = flag(2500, "updates of the conditional network of the size of all")
    batch_size: int = flag(512, "samples an update of a conditional network")
    learning_rate: float = flag(2e-3, "of Adam at the start")
    exact_error: float = flag(0.005, "relative error up to which a score counts as exact")
    num_test: int = flag(2000, "samples per level at which scores are compared")
    num_particles: int = flag(2000, "samples drawn with each model")
    steps_per_level: int = flag(10, "Langevin steps per level")
    relative_step: float = flag(0.2, "alpha_i / sigma_i² of the Langevin steps, below 2", below=2)


Params = OneNetworkParams
QUICK = {
    "num_levels": 4,
    "sigma_min": 0.2,
    "ensemble_steps": 150,
    "ensemble_batch_size": 128,
    "small_steps": 250,
    "large_steps": 200,
    "batch_size": 256,
    "num_test": 500,
    "num_particles": 500,
}


@dataclass(kw_only=True)
class OneNetworkResult(Result):
    """Of the models "ensemble", "small" (one network of the size of one) and "large" (one of the size of all).

    Args:
        sigmas: the levels, in data units.
        errors: relative error of the score at each level, by model.
        parameters: weights and biases, by model.
        training_seconds: CPU seconds of training, by model.
        training_samples: samples that a model was trained on, by model.
        sampling_seconds: CPU seconds of one run of annealed Langevin dynamics, by model.
        distances: sliced Wasserstein distance of its samples to exact ones, in data units, by model.
        chance: of exact samples, as many: as near as a perfect sampler comes.
    """

    sigmas: list[float]
    errors: dict[str, list[float]]
    parameters: dict[str, int]
    training_seconds: dict[str, float]
    training_samples: dict[str, int]
    sampling_seconds: dict[str, float]
    distances: dict[str, float]
    chance: float


def run(params: OneNetworkParams) -> OneNetworkResult:
    """An ensemble and two conditional networks on the same levels of two moons."""
    if params.num_levels < 2:
        raise ValueError(f"num_levels must be at least 2, or there is nothing to share; got {params.num_levels}.")
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

    def ensemble() -> ScoreEnsemble:
        schedule = params.ensemble_steps, params.ensemble_batch_size
        networks = [trained(params.hidden_features, level, *schedule, conditioned=False) for level in sigmas.split(1)]
        return ScoreEnsemble(networks, sigmas)

    models, training_seconds = {}, {}
    models["ensemble"], training_seconds["ensemble"] = timed(ensemble)
    total = count_parameters(models["ensemble"])
    for kind, most, num_steps in (
        ("small", total // params.num_levels, params.small_steps),
        ("large", total, params.large_steps),
    ):
        models[kind], training_seconds[kind] = timed(trained, width_of(most), sigmas, num_steps, params.batch_size)
    parameters = {kind: count_parameters(model) for kind, model in models.items()}
    training_samples = {
        "ensemble": params.num_levels * params.ensemble_steps * params.ensemble_batch_size,
        "small": params.small_steps * params.batch_size,
        "large": params.large_steps * params.batch_size,
    }

    noised = [density.noised(float(sigma)) for sigma in sigmas]
    points = [level.sample(params.num_test, generator=generator) for level in noised]
    truths = [level.score(x) for level, x in zip(noised, points, strict=True)]
    reference = density.sample(10 * params.num_particles, generator=generator)
    chance = sliced_wasserstein(
        density.sample(params.num_particles, generator=generator), reference, generator=generator
    )
    errors, distances, sampling_seconds = {}, {}, {}
    for kind, model in models.items():
        score = as_score_function(model)
        errors[kind] = [
            relative_fisher_divergence(score(x, sigma), truth)
            for x, sigma, truth in zip(points, sigmas, truths, strict=True)
        ]
        samples, sampling_seconds[kind] = timed(draw_samples, score, sigmas, params, generator)
        distances[kind] = sliced_wasserstein(samples, reference, generator=generator)

    mean = {kind: sum(levels) / len(levels) for kind, levels in errors.items()}
    worst = {kind: worst_ratio(errors[kind], errors["ensemble"], params.exact_error) for kind in ("small", "large")}
    counted = f"with an error above {params.exact_error:.1%}"
    cheaper = training_seconds["ensemble"] / training_seconds["small"]
    return OneNetworkResult(
        params=params,
        checks=[
            Check(f"1/L of the parameters: error over the ensemble's, worst level {counted}", worst["small"], "<=", 2),
            Check(
                "1/L of the parameters: their number times L over the ensemble's",
                parameters["small"] * params.num_levels / total,
                "<=",
                1,
            ),
            Check(f"equal parameters: error over the ensemble's, worst level {counted}", worst["large"], "<=", 2),
            Check("CPU time of training, ensemble over 1/L of the parameters", cheaper, ">=", 1.5, timing=True),
        ],
        findings=[
            f"Mean error over the levels: {mean['ensemble']:.1%} for {params.num_levels} networks, {total:,} "
            f"parameters in all; {mean['small']:.1%} for one of {parameters['small']:,}, with "
            f"{training_samples['small'] / training_samples['ensemble']:.0%} of the samples and {1 / cheaper:.0%} of "
            f"the training time; {mean['large']:.1%} for one of {parameters['large']:,}. "
            + ("One network is a little worse." if mean["small"] > mean["ensemble"] else "One network is no worse."),
            f"At the largest level the ensemble errs by {errors['ensemble'][0]:.1e} and the small network by "
            f"{errors['small'][0]:.1e}, a difference that no sampler notices: levels where both err by at most "
            f"{params.exact_error:.1%} do not count above.",
            f"Sampling takes {sampling_seconds['ensemble']:.2f} s with the ensemble, {sampling_seconds['small']:.2f} s "
            "with the small network, as one network is asked at a time; samples lie "
            f"{distances['ensemble']:.3f} (ensemble), {distances['small']:.3f} (small) and {distances['large']:.3f} "
            f"(large) from the data, exact ones {chance:.3f}.",
        ],
        sigmas=sigmas.tolist(),
        errors=errors,
        parameters=parameters,
        training_seconds=training_seconds,
        training_samples=training_samples,
        sampling_seconds=sampling_seconds,
        distances=distances,
        chance=chance,
    )


def worst_ratio(errors: Sequence[float], others: Sequence[float], exact_error: float) -> float:
    """The largest of `errors[i] / others[i]`, over the levels where either exceeds `exact_error`; 0 if none does."""
    ratios = [mine / other for mine, other in zip(errors, others, strict=True) if max(mine, other) > exact_error]
    return max(ratios, default=0.0)


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
    fig, (left, right) = plots.new_figure(
        "One network for all levels does the work of many, at a fraction of the cost",
        f"Two moons, {levels} levels: {levels} networks with {parameters['ensemble']:,} parameters in all, one network "
        f"with {parameters['small']:,} (small), one with {parameters['large']:,} (large). Samples are "
        f"{result.distances['ensemble']:.3f}, {result.distances['small']:.3f} and {result.distances['large']:.3f} from "
        f"the data, exact ones {result.chance:.3f}",
        ncols=2,
        width_ratios=(1.3, 1),
    )
    mean = {kind: sum(errors) / levels for kind, errors in result.errors.items()}
    for kind, name, colour, above in (
        ("ensemble", f"{levels} networks", "second", 8),
        ("large", "one, large", "annealed", -8),
        ("small", "one, small", "learned", 8),
    ):
        plots.line(left, result.sigmas[::-1], result.errors[kind][::-1], colour, markers=True)
        right.plot(result.training_seconds[kind], mean[kind], "o", color=plots.COLOURS[colour], markersize=10)
        plots.direct_label(right, result.training_seconds[kind], mean[kind], name, colour, (0, above))
    exact_error = result.params.exact_error
    left.axhline(exact_error, color=plots.COLOURS["muted"], linewidth=1.2, linestyle=":")
    plots.direct_label(left, result.sigmas[-1], exact_error, "exact enough", "muted", (0, -4), ha="left")
    plots.panel_title(left, "relative error of the score")
    left.set(xlabel="sigma (data units)")
    plots.panel_title(right, "mean error over the levels")
    right.set(xlabel="training (CPU seconds)", xscale="log", yscale="log")
    right.margins(x=0.35, y=0.25)
    for panel in (left, right):
        plots.log_axis(panel, "xy")
    return fig
