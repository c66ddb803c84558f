"""Everything a distillation can be told, in one frozen dataclass; :mod:`.settings` reads it from YAML and flags."""

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from .run_config import RECIPES, RunConfig
from .settings import option


@dataclass(frozen=True)
class DistillConfig(RunConfig):
    """The settings of a distillation, those of every run first.

    Raises:
        ValueError: for a value of another type or outside its range, or settings that contradict each other.
    """

    script: ClassVar[str] = "train/distill.py"
    module: ClassVar[str] = "ncsn_pipeline.training.distill"
    command: ClassVar[tuple[str, ...]] = ("ncsn", "distill")
    about: ClassVar[str] = "Makes of a score network one that draws in one evaluation; needs no data."
    recipes: ClassVar[Path] = RECIPES / "distill"
    paths: ClassVar[tuple[str, ...]] = (*RunConfig.paths, "teacher", "init_from")

    # What is distilled, and into what
    teacher: str | None = option(None, "the score network: a pipeline folder, a shipped model or one of the Hub")
    levels: tuple[float, ...] = option(
        (1.5,), "noise levels that are evaluated, one or several, decreasing; the first five deviations of the data"
    )
    init_from: str | None = option(
        None, "a pipeline folder of the same pictures and classes, whose network, of any width, the generator begins as"
    )

    # Matching
    identity_steps: int = option(
        0, "last updates, by score identity distillation: nearer to the teacher, once its modes are found", ge=0
    )
    guidance_scale: float = option(
        1.0, "classifier-free guidance of the teacher, towards the class of each sample; 1 for none", ge=0
    )
    guidance_interval: tuple[float, float] | None = option(
        None, "the smallest and the largest noise level at which it is guided; all of them where none is given"
    )
    fake_steps: int = option(2, "updates of the fake score for each update of the generator", ge=1)
    sigma_min: float = option(0.02, "smallest noise level at which scores are compared, in units of the data", gt=0)
    sigma_max: float | None = option(
        None, "largest of these noise levels; default: 10, or the teacher's largest where that is smaller", gt=0
    )
    sigma_log_mean: float = option(-1.0, "mean of ln sigma, which is drawn normal")
    sigma_log_std: float = option(1.3, "standard deviation of ln sigma", gt=0)

    # Of every run, with other defaults
    max_train_steps: int = option(4500, "updates of the generator", ge=1)
    learning_rate: float = option(2e-4, "peak learning rate of AdamW, for both networks", gt=0)
    lr_warmup_steps: int = option(0, "updates over which the learning rate rises from 0", ge=0)
    lr_decay_steps: int = option(
        1000, "last updates, over which the learning rate falls linearly to 0; 0 for none", ge=0
    )
    adam_beta1: float = option(0.0, "AdamW's beta 1", ge=0, lt=1)
    max_grad_norm: float = option(10.0, "gradients are clipped to this norm; 0 for no clipping", ge=0)
    ema_decay: float = option(0.995, "decay of the generator's average, reached after a warm-up", ge=0, le=1)
    output_dir: str = option("runs/distill", "becomes a loadable pipeline folder")
    logging_steps: int = option(20, "steps between two logged losses", ge=1)
    validation_steps: int = option(250, "steps between two sample grids", ge=1)
    checkpointing_steps: int = option(250, "steps between two checkpoints", ge=1)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.teacher is None:
            raise ValueError("Give teacher, the score network to distil: a pipeline folder, or a name such as mnist.")
        if not self.levels or min(self.levels) <= 0 or list(self.levels) != sorted(set(self.levels), reverse=True):
            raise ValueError(
                f"levels must be noise levels above 0, strictly decreasing; got {list(self.levels)}. One is enough."
            )
        if self.guidance_interval is not None and not 0 <= self.guidance_interval[0] < self.guidance_interval[1]:
            raise ValueError(
                "guidance_interval must be two noise levels, the smaller one first; got "
                f"{list(self.guidance_interval)}."
            )
        if self.guidance_interval is not None and self.guidance_scale == 1:
            raise ValueError(
                f"guidance_interval is {list(self.guidance_interval)}, but nothing is guided with guidance_scale = 1. "
                "Give another, or guidance_interval none."
            )
        if self.sigma_max is not None and not self.sigma_min < self.sigma_max:
            raise ValueError(f"sigma_max must exceed sigma_min = {self.sigma_min}; got {self.sigma_max}.")

    @property
    def unchanging(self) -> tuple[str, ...]:
        """The settings that stay for the whole of a run."""
        return ("teacher", "levels", "init_from", "seed")
