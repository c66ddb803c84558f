"""L22.  One network for all noise levels must be told the right sigma.

A network s(x, sigma) is trained at the levels sigma_1 > ... > sigma_L.  Asked about data that were noised by sigma_i
and told that it was sigma_j, its relative error is

    E_ij = E_{p_sigma_i} || s(x, sigma_j) - grad log p_sigma_i(x) ||² / E_{p_sigma_i} || grad log p_sigma_i(x) ||²,

a matrix that should have the least of each row on its diagonal.  The null is a network that is not told: its answer is
the same at every sigma_j, so that nothing in a row is less than the rest.  EDM's scaling knows sigma by itself, so the
two that are compared in what being told is worth, one told and one not, have none, and are alike in everything else.

Source: Song & Ermon 2019, section 4.2.
"""

from dataclasses import dataclass

import torch
from matplotlib.figure import Figure
from torch import Tensor

from ..densities import GaussianMixture, NoisyScoreFn
from ..diagnostics import plots, relative_fisher_divergence
from ..networks import ScoreMLP
from ..noise_levels import DiscreteSigmas, edm_weight, geometric_noise_levels, sigma_squared_weight
from .all_levels import learn_scores, new_network
from .experiment import Check, Claim, Params, Result, flag
from .sentences import at_least, at_most, stated
from .single_level import three_bars
from .training import seeded_layers

CLAIM = Claim(
    number=22,
    name="wrong-sigma",
    at="28:12",
    sentence="One network for all noise levels must be told the right sigma.",
    equation="E_{p_sigma_i} || s_theta(x, sigma_j) - grad log p_sigma_i(x) ||²  is least at  j = i",
)


@dataclass(frozen=True)
class WrongSigmaParams(Params):
    """See the flags."""

    sigma_max: float = flag(3.0, "sigma_1, the largest level, in data units")
    sigma_min: float = flag(0.1, "sigma_L, the smallest level, in data units")
    num_levels: int = flag(7, "L, levels of the geometric schedule, at least 2", least=2)
    hidden_features: int = flag(64, "width of each network's three hidden layers")
    train_steps: int = flag(1000, "updates of each network")
    batch_size: int = flag(512, "samples an update")
    learning_rate: float = flag(1e-2, "of Adam at the start")
    num_samples: int = flag(10_000, "samples at each level that errors are averaged over")


Params = WrongSigmaParams
QUICK = {"num_levels": 5, "train_steps": 600, "num_samples": 4000}


@dataclass(kw_only=True)
class WrongSigmaResult(Result):
    """Relative errors; row i: the data's level, column j: the level that the network is told.

    Args:
        sigmas: the levels, decreasing.
        errors: E_ij, shape `(L, L)`.
        plain: the same of a network without EDM's scaling, shape `(L, L)`.
        not_told: of one that is not told sigma besides, shape `(L, L)`.
        wrong_over_right: of each row, the least error at a wrong level over that at the right one.
    """

    sigmas: list[float]
    errors: Tensor
    plain: Tensor
    not_told: Tensor
    wrong_over_right: list[float]


def run(params: WrongSigmaParams) -> WrongSigmaResult:
    """Networks that are told sigma and one that is not, each asked at every level about data of every level."""
    generator = torch.Generator().manual_seed(params.seed)
    density = three_bars()
    levels = geometric_noise_levels(params.sigma_max, params.sigma_min, params.num_levels)
    told = new_network(density, hidden_features=params.hidden_features, generator=generator)
    with seeded_layers(generator):
        plain, not_told = (
            ScoreMLP(
                hidden_features=params.hidden_features,
                preconditioning="none",
                sigma_conditioned=is_told,
                sigma_data=told.config.sigma_data,
            )
            for is_told in (True, False)
        )
    errors = []
    of_edm = edm_weight(told.config.sigma_data)
    for network, weight in ((told, of_edm), (plain, sigma_squared_weight), (not_told, sigma_squared_weight)):
        score_fn = learn_scores(
            network,
            density,
            DiscreteSigmas(levels.tolist()),
            num_steps=params.train_steps,
            batch_size=params.batch_size,
            learning_rate=params.learning_rate,
            generator=generator,
            weight=weight,
        )
        errors.append(error_matrix(score_fn, density, levels, params.num_samples, generator))
    matrix, unscaled, flat = errors
    ratios, flat_ratios = wrong_over_right(matrix), wrong_over_right(flat)
    right, alike, blind = (each.diagonal() for each in errors)
    worst = int(right.argmax())
    told_smaller, told_larger = float(matrix.triu(1).max()), float(matrix.tril(-1).max())
    return WrongSigmaResult(
        params=params,
        checks=[
            Check(
                "error at the best wrong sigma over that at the right one, worst level",
                min(ratios),
                ">=",
                2.0,
                null=min(flat_ratios),
                null_name="network that is not told sigma",
            ),
            Check(
                "error at the right sigma without EDM's scaling, worst level",
                float(alike.max()),
                "<=",
                0.5 * float(blind.max()),
                null=float(blind.max()),
                null_name="the same network, not told sigma",
            ),
        ],
        findings=[
            f"Told the right sigma the network is off by {at_most(100 * float(right.max()), 1)} % at most (at sigma "
            f"{levels[worst]:.2g}); told the level beside it, by {at_least(100 * float(neighbour(matrix).min()), 1)} % "
            "or more.",
            (
                f"Told a sigma that is too small its arrows are too long, with errors up to {told_smaller:.0f}; "
                f"told one that is too large, too short, with errors of up to {told_larger:.2f} (1 is the "
                "error of no arrows at all)."
                if told_smaller > 1 > told_larger
                else f"Told a sigma that is too small it has errors up to {told_smaller:.2f}; told one that is too "
                f"large, up to {told_larger:.2f} (1 is the error of no arrows at all)."
            ),
            f"Without EDM's scaling, which knows sigma by itself, the network has {float(alike.min()):.3f} at its best "
            f"level and {float(alike.max()):.3f} at its worst; the same that is not told sigma has "
            f"{float(blind.min()):.3f} and {float(blind.max()):.2f}.",
        ],
        sigmas=levels.tolist(),
        errors=matrix,
        plain=unscaled,
        not_told=flat,
        wrong_over_right=ratios,
    )


def error_matrix(
    score_fn: NoisyScoreFn, density: GaussianMixture, levels: Tensor, num_samples: int, generator: torch.Generator
) -> Tensor:
    """E_ij of a score asked at every level about data of every level, shape `(L, L)`, float64.

    Args:
        score_fn: `(x, sigma) -> score`.
        density: the clean density, with exact noised scores.
        levels: shape `(L,)`, in data units.
        num_samples: samples at each level.
        generator: draws them.
    """
    rows = []
    for data_sigma in levels:
        noised = density.noised(float(data_sigma))
        x = noised.sample(num_samples, generator=generator)
        exact = noised.score(x)
        rows.append([relative_fisher_divergence(score_fn(x, told_sigma), exact) for told_sigma in levels])
    return torch.tensor(rows, dtype=torch.float64)


def wrong_over_right(errors: Tensor) -> list[float]:
    """Of each row of a square matrix, its least entry off the diagonal over that on it; above 1 where that is least."""
    off = errors.masked_fill(torch.eye(len(errors), dtype=torch.bool), torch.inf)
    return (off.amin(1) / errors.diagonal()).tolist()


def neighbour(errors: Tensor) -> Tensor:
    """Of each row the lesser of the entries beside the diagonal, shape `(L,)`."""
    return torch.stack([row[[j for j in (i - 1, i + 1) if 0 <= j < len(row)]].min() for i, row in enumerate(errors)])


def figure(result: WrongSigmaResult) -> Figure:
    """The matrix of errors, told and not told, and each row of the first as a curve."""
    sigmas = result.sigmas
    fig, (left, middle, right) = plots.new_figure(
        stated("One network for all noise levels must be told the right sigma", result.checks[:1]),
        f"Relative error; at the best wrong sigma it is {at_least(min(result.wrong_over_right), 1)} times that at the "
        f"right one, or more. Null: a network that is not told, wrong by {float(result.not_told.max()):.2f} at worst",
        ncols=3,
        size=(10, 4.2),
        width_ratios=(1, 1, 1.15),
    )
    ticks = [float(f"{sigma:.2g}") for sigma in sigmas]
    extent = (0.0, float(len(sigmas)), 0.0, float(len(sigmas)))
    for axes, matrix, title, colour in (
        (left, result.errors, "told sigma", "learned"),
        (middle, result.not_told, "null: not told", "muted"),
    ):
        plots.error_map(axes, matrix.flatten(), extent, "", limits=(1e-3, 10))
        where = [i + 0.5 for i in range(len(sigmas))]
        axes.set(xlabel="sigma that it is told", xticks=where, yticks=where)
        axes.set(xticklabels=[f"{tick:g}" for tick in ticks], yticklabels=[f"{tick:g}" for tick in ticks])
        axes.tick_params(axis="x", rotation=60)
        plots.panel_title(axes, title, colour)
    left.images[0].colorbar.remove()
    left.set_ylabel("sigma of the data")
    plots.log_axis(right, "xy")
    for row, sigma, shade in zip(result.errors, sigmas, plots.level_colours(len(sigmas)), strict=True):
        plots.line(right, sigmas[::-1], row.flip(0), shade, label=f"{sigma:.2g}")
    right.set(xlabel="sigma that it is told", ylim=(None, 10))
    plots.panel_title(right, "error, by the data's sigma")
    plots.label_ends(right)
    return fig
