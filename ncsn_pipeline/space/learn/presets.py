"""Trainings worth watching, a button each: one density at three noise levels and at all; a curve, clean and noised."""

from ..widgets.presets import Preset

JUST_RIGHT, TOO_SMALL, TOO_LARGE = 0.1, 0.03, 2.0  # of the noise levels that are swept, in data units

LEARN_DEFAULTS: dict[str, str | float] = {
    "data": "eight",
    "levels": "one",
    "objective": "denoising",
    "sigma": JUST_RIGHT,
    "num_steps": 1000,
    "seed": 0,
}


def learn_presets() -> list[Preset]:
    """The presets, by the names of `check_learn`'s arguments."""
    dilemma = {"data": "eight", "levels": "one", "objective": "denoising", "num_steps": 1000}
    curve = {"data": "ring", "levels": "one", "objective": "sliced", "num_steps": 1000}
    return [
        Preset(
            "σ just right",
            "Eight narrow Gaussians. Of the six noise levels of “Train at six σ, then all” this one draws the samples "
            "nearest to the data. For other data it is another level, and only trying finds it.",
            dilemma | {"sigma": JUST_RIGHT},
        ),
        Preset(
            "σ too small",
            "Hardly any noise. Between the Gaussians there are no samples to learn from, the arrows there are wrong, "
            "and many samples are left there.",
            dilemma | {"sigma": TOO_SMALL},
        ),
        Preset(
            "σ too large",
            "Easy to learn: the error is small everywhere. But what is learned is one blob: the eight Gaussians "
            "are gone.",
            dilemma | {"sigma": TOO_LARGE},
        ),
        Preset(
            "All levels",
            "One network that is told σ learns every level at once, and annealed Langevin dynamics goes from the "
            "largest to the smallest. No σ had to be found.",
            dilemma | {"levels": "all", "sigma": JUST_RIGHT},
        ),
        Preset(
            "On a curve, clean",
            "Sliced score matching on points that lie exactly on a circle. Across the circle a steeper field always "
            "has a lower loss: it falls without end, in bumps.",
            curve | {"sigma": 0},
        ),
        Preset(
            "On a curve, noised",
            "The same circle, the same loss, with a little noise. Now there is a density, and the loss a floor to "
            "settle on. Run it after the clean one: both curves are drawn.",
            curve | {"sigma": 0.1},
        ),
    ]
