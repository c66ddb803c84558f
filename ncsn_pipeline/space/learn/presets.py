"""Trainings worth watching, a button each: three noise levels of one density, and a curve without noise and with it."""

from ..widgets.presets import Preset

LEARN_DEFAULTS: dict[str, str | float] = {
    "data": "gaussians",
    "objective": "denoising",
    "sigma": 0.25,
    "num_steps": 1000,
    "seed": 0,
}


def learn_presets() -> list[Preset]:
    """The presets, by the names of `check_learn`'s arguments."""
    dilemma = {"data": "moons", "objective": "denoising", "num_steps": 1000}
    curve = {"data": "ring", "objective": "sliced", "num_steps": 1000}
    return [
        Preset(
            "σ just right",
            "Two moons that the noise does not yet join, wide enough to fill the gap between them with samples: "
            "the network learns where to go from almost everywhere.",
            dilemma | {"sigma": 0.15},
        ),
        Preset(
            "σ too small",
            "The same moons, hardly noised. Off the thin lines there are no samples to learn from, and the arrows "
            "there are wrong: some chains stay between the moons, and too many of the others end at a tip.",
            dilemma | {"sigma": 0.03},
        ),
        Preset(
            "σ too large",
            "Easy to learn: the error is small everywhere. But what is learned is one blob, and the moons are gone.",
            dilemma | {"sigma": 1.0},
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
