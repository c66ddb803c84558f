"""What every run can be told, whatever it trains: optimiser, average, what is written and when, the Hub."""

import dataclasses
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

from .settings import check_types, flags_of, option, read_command_line

RECIPES = Path(__file__).with_name("configs")


@dataclass(frozen=True)
class RunConfig:
    """The settings that all runs share; the description of each is what `--help` prints.

    Attributes:
        script: the launcher of such runs in a checkout.
        module: the same as a module of the package.
        command: the same as words of the command line, in one process.
        about: what the program does.
        recipes: the folder of its configurations.
        either: settings that replace each other.
        paths: settings that may be paths: a shell leaves the `~` of `--output_dir=~/runs`.

    Raises:
        ValueError: for a value of another type or outside its range.
    """

    script: ClassVar[str]
    module: ClassVar[str]
    command: ClassVar[tuple[str, ...]]
    about: ClassVar[str]
    recipes: ClassVar[Path] = RECIPES
    either: ClassVar[tuple[str, ...]] = ()
    paths: ClassVar[tuple[str, ...]] = ("output_dir", "resume_from_checkpoint")

    # Optimisation
    max_train_steps: int = option(20_000, "updates of the weights", ge=1)
    train_batch_size: int = option(64, "images per process and micro-batch", ge=1)
    gradient_accumulation_steps: int = option(1, "batches whose gradients are added up for one update", ge=1)
    learning_rate: float = option(1.5e-3, "peak learning rate of AdamW", gt=0)
    lr_warmup_steps: int = option(500, "updates over which the learning rate rises from 0", ge=0)
    lr_decay_steps: int = option(0, "last updates, over which the learning rate falls linearly to 0; 0 for none", ge=0)
    adam_beta1: float = option(0.9, "AdamW's beta 1", ge=0, lt=1)
    adam_beta2: float = option(0.99, "AdamW's beta 2", ge=0, lt=1)
    adam_weight_decay: float = option(0.0, "AdamW's weight decay", ge=0)
    adam_epsilon: float = option(1e-8, "AdamW's epsilon; the loss is a mean over dimensions", gt=0)
    max_grad_norm: float = option(1.0, "gradients are clipped to this norm; 0 for no clipping", ge=0)
    use_ema: bool = option(True, "save an exponential moving average of the weights")
    ema_decay: float = option(0.999, "decay of the average, reached after a warm-up", ge=0, le=1)
    mixed_precision: Literal["no", "fp16", "bf16"] = option(
        "no", "precision of the network; noise and loss stay float32"
    )
    torch_compile: bool = option(False, "compile what is trained; its gradients are compared with the eager ones first")
    channels_last: bool = option(False, "keep channels last in memory: faster for RefineNets and for wide U-Nets")
    seed: int = option(0, "seed of the weights, the order of the images, and all noise", ge=0)

    # What is written, and when
    output_dir: str = option("runs/train", "becomes a loadable pipeline folder", min_length=1)
    logging_steps: int = option(50, "steps between two logged training losses", ge=1)
    validation_steps: int = option(1000, "steps between two held-out losses and sample grids", ge=1)
    num_sample_images: int = option(40, "images of the grid", ge=1)
    checkpointing_steps: int = option(1000, "steps between two checkpoints", ge=1)
    checkpoints_total_limit: int | None = option(2, "older checkpoints are deleted; `none` keeps all", ge=1)
    resume_from_checkpoint: str | None = option(
        None, "a checkpoint folder, or `latest` in output_dir; checkpoints beyond an earlier one are given up"
    )
    report_to: str | tuple[str, ...] | None = option(
        "tensorboard", "experiment trackers, with commas between: tensorboard, wandb, trackio; or `none`"
    )

    # The Hub
    push_to_hub: bool = option(False, "push the pipeline folder with its card to the Hub")
    hub_model_id: str | None = option(None, "repository to push to; by default output_dir's name under your account")
    hub_private_repo: bool = option(False, "make a repository that is new a private one")
    hub_token: str | None = option(
        None, "a token with write access; by default the one of HF_TOKEN or `hf auth login`", secret=True
    )
    hub_strategy: Literal["end", "checkpoint"] = option("end", "push once, at the end, or at every checkpoint too")

    def __post_init__(self) -> None:
        check_types(self)
        for name in self.paths:
            if (value := getattr(self, name)) is not None:
                object.__setattr__(self, name, os.path.expanduser(value))

    @property
    def unchanging(self) -> tuple[str, ...]:
        """The settings that stay for the whole of a run."""
        return ("seed",)

    def measured_before(self, settings: dict[str, Any]) -> dict[str, Any]:
        """What was measured, of the settings of the run that is gone on with; by default nothing is measured."""
        return {}

    @classmethod
    def secrets(cls) -> set[str]:
        """The settings that are never written down or shown."""
        return {field.name for field in dataclasses.fields(cls) if field.metadata["secret"]}

    def public(self) -> dict[str, Any]:
        """All settings but the secrets."""
        return {name: value for name, value in dataclasses.asdict(self).items() if name not in self.secrets()}

    def flags(self) -> list[str]:
        """The command line flags of the settings that are not the default ones, without the secrets."""
        return flags_of(self)

    @classmethod
    def from_command_line(cls, arguments: Sequence[str] | None = None, prog: str | None = None) -> Self:
        """Reads `--config NAME` and the flags that replace its values; `None` reads `sys.argv`.

        Raises:
            SystemExit: for an unknown flag, setting or value, with one sentence that names it.
        """
        # Of two settings of which one is given, a flag replaces the file's.
        return read_command_line(cls, arguments, prog, cls.about, recipes=cls.recipes, either=cls.either)
