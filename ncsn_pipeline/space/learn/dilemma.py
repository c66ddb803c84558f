"""What one noise level costs: three numbers over sigma, one that falls, one that rises, and both together.

    falls    E || s - s* ||² / E || s* ||² of the learned score
    rises    SW(p_sigma, p), from the noised density to the clean data
    both     SW(samples, p), least between; a line where all levels were learned at once

SW is the sliced Wasserstein distance.  Marks are the session's own runs.
"""

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import torch

from ...diagnostics import sliced_wasserstein
from ...diagnostics.plots import inline_svg
from .data import DATA
from .limits import LearnSettings
from .plots import dilemma_figure
from .report import PastRun, number
from .run import DRAWN_SAMPLES

CURVE_SIGMAS = tuple(np.geomspace(0.01, 2, 14).tolist())
CURVE_SAMPLES = 1000
CHANCE_DRAWS = 4


def dilemma(settings: LearnSettings, runs: Sequence[PastRun]) -> str:
    """The three figures with a sentence each, as HTML; only what finished counts."""
    same = [run for run in runs if run.finished and run.settings.data == settings.data and run.settings.sigma > 0]
    single = [run for run in same if not run.settings.all_levels]
    errors = [(run.settings.sigma, run.errors.relative) for run in single if run.errors is not None]
    distances = [(run.settings.sigma, run.distance) for run in single if run.distance is not None]
    annealed = [run.distance for run in same if run.settings.all_levels and run.distance is not None]
    curve, chance, sigma = noised_distances(settings.data), chance_distance(settings.data), settings.sigma
    highest = 1.5 * max(curve[1])
    words = (
        f"Dots: {len(distances)} drawn at one σ; dashed: as in the middle. A perfect sampler comes to "
        f"{number(chance)}, by chance."
    )
    if distances:
        best_sigma, best = min(distances, key=lambda pair: pair[1])
        words += f" The nearest dot, at σ = {best_sigma:g}: {number(best)}."
    words += f" All levels, the line: {number(annealed[-1])}." if annealed else " Learn all levels to see their line."
    marks = f"{len(errors)} run{'s' * (len(errors) != 1)} of this session at one σ"
    figures = (
        (
            "Falls: error of the learned score",
            dilemma_figure(None, errors, sigma, (1e-3, 3)),
            f"Relative Fisher divergence. Dots: {marks}. Less noise, harder to learn.",
        ),
        (
            "Rises: noised density to clean data",
            dilemma_figure(curve, [], sigma, (min(curve[1]) / 2, highest)),
            "Sliced Wasserstein distance. More noise, further from the data, however well it is learned.",
        ),
        (
            "Both: what is drawn to clean data",
            dilemma_figure(curve, distances, sigma, (chance / 2, highest), chance, annealed[-1] if annealed else None),
            words,
        ),
    )
    return (
        '<div class="ladder">'
        + "".join(
            f"<figure><figcaption>{title}</figcaption>{inline_svg(figure, title)}<p>{words}</p></figure>"
            for title, figure, words in figures
        )
        + "</div>"
    )


def distance_to_data(settings: LearnSettings, drawn: torch.Tensor) -> float:
    """The sliced Wasserstein distance of samples to the clean data, in data units."""
    return _distance(drawn, DATA[settings.data].density.sample(len(drawn), generator=_seeded(0)))


@lru_cache(len(DATA))
def noised_distances(data: str) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Values of sigma, and the sliced Wasserstein distance of the density noised by it to the clean data."""
    return CURVE_SIGMAS, tuple(noised_distance(data, sigma) for sigma in CURVE_SIGMAS)


def noised_distance(data: str, sigma: float) -> float:
    """The sliced Wasserstein distance of the density noised by sigma to the clean data, in data units."""
    density = DATA[data].density
    # The same clean samples and noise at every level: what rises is the level's doing alone.
    noised, clean = (each.sample(CURVE_SAMPLES, generator=_seeded(0)) for each in (density.noised(sigma), density))
    return _distance(noised, clean)


@lru_cache(len(DATA))
def chance_distance(data: str) -> float:
    """The mean distance of as many new clean samples: as near as a perfect sampler comes, in data units."""
    density = DATA[data].density
    clean = density.sample(DRAWN_SAMPLES, generator=_seeded(0))
    others = (density.sample(DRAWN_SAMPLES, generator=_seeded(1 + draw)) for draw in range(CHANCE_DRAWS))
    return sum(_distance(other, clean) for other in others) / CHANCE_DRAWS


def _distance(x: torch.Tensor, clean: torch.Tensor) -> float:
    return sliced_wasserstein(x, clean, generator=_seeded(0))


def _seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)
