"""What may be asked of the Learn tab: its inputs are checked here, once, on the server."""

from dataclasses import dataclass
from typing import Any

from ..runs.limits import SEED, SettingsError, check_choice, check_number, check_whole
from .data import DATA, LearnData

OBJECTIVES = ("exact", "sliced", "denoising")
LEVELS = ("one", "all")
LEARN_SIGMA = (0.0, 2.0)
LEAST_SIGMA = 0.01
ALL_SIGMAS = (0.01, 3.0)  # between which all levels lie, in data units
TRAIN_STEPS = (50, 4000)

TRAIN_SECONDS = 60.0
SWEEP_SECONDS = 120.0


@dataclass(frozen=True)
class LearnSettings:
    """Checked settings of one training.

    Args:
        data: a key of `DATA`.
        levels: `"one"`, the score at sigma alone, or `"all"`, one network that is told which level it is asked about.
        objective: `"exact"`, implicit score matching with its exact trace, `"sliced"` or `"denoising"`.
        sigma: the noise level, in data units, 0 for clean data; of all levels the one that is shown.
        num_steps: updates of the network.
        seed: of weights, samples, noise and projections.
    """

    data: str
    levels: str
    objective: str
    sigma: float
    num_steps: int
    seed: int

    @property
    def learned(self) -> LearnData:
        """The data themselves."""
        return DATA[self.data]

    @property
    def all_levels(self) -> bool:
        """Whether the network learns every noise level."""
        return self.levels == "all"

    @property
    def in_words(self) -> str:
        """The data, and how the score is learned."""
        levels = "all levels" if self.all_levels else f"σ = {self.sigma:g}"
        return f"{self.learned.label}, {self.objective}, {levels}"

    @property
    def judged_in_words(self) -> str:
        """The same, and at which noise level what was learned is judged."""
        return f"{self.in_words}, judged at σ = {self.sigma:g}" if self.all_levels else self.in_words

    @property
    def has_score(self) -> bool:
        """Whether the density that the network sees has a score to be held against."""
        return self.sigma > 0 or self.learned.has_clean_score


def check_each(data: Any, levels: Any, objective: Any, sigma: Any, num_steps: Any, seed: Any) -> LearnSettings:
    """Checks the inputs of the Learn tab, each by itself.

    Raises:
        SettingsError: for the first that is not valid.
    """
    data = check_choice("Data", data, tuple(DATA))
    levels = check_choice("Noise levels", levels, LEVELS)
    objective = check_choice("Objective", objective, OBJECTIVES)
    sigma = check_number("σ", sigma, *LEARN_SIGMA)
    num_steps = check_whole("Training steps", num_steps, *TRAIN_STEPS)
    seed = check_whole("Seed", seed, *SEED)
    if 0 < sigma < LEAST_SIGMA:
        raise SettingsError(f"σ must be 0, for clean data, or at least {LEAST_SIGMA:g}; got {sigma:g}.")
    return LearnSettings(data, levels, objective, sigma, num_steps, seed)


def check_learn(data: Any, levels: Any, objective: Any, sigma: Any, num_steps: Any, seed: Any) -> LearnSettings:
    """Checks the inputs of a training, as :func:`check_each`, and whether they go together.

    Raises:
        SettingsError: for the first input that is not valid, for denoising without noise, and for all levels
            without denoising.
    """
    settings = check_each(data, levels, objective, sigma, num_steps, seed)
    if settings.sigma == 0 and settings.objective == "denoising":
        raise SettingsError(
            "Denoising score matching learns from the noise that is added, and at σ = 0 there is none. "
            f"Raise σ to at least {LEAST_SIGMA:g}, or choose the exact or the sliced objective."
        )
    if settings.all_levels and settings.objective != "denoising":
        raise SettingsError(
            "All noise levels are learned by denoising, which costs the same at each. Choose the denoising objective, "
            "or one noise level."
        )
    return settings
