"""A run that distils a score network: what is known of its teacher, and what is saved and told of it."""

import copy
import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from accelerate import Accelerator
from diffusers import ModelMixin
from torch import Tensor

from ..noise_levels import LogNormalSigmas, edm_weight, sigma_squared_weight
from ..pipelines import NCSNPipeline
from ..sampling import ConsistentAnnealedScheduler
from .command_line import shown_path
from .compiling import check_compiled, speed_up
from .distill_config import DistillConfig
from .draws import BatchDraws, Purpose
from .matching import DistributionMatching, Learner
from .network import described, num_classes
from .run import Run
from .tracking import BandLosses, even_bands

SIGMA_MAX = 10.0
OF_THE_PICTURES = ("sample_size", "in_channels", "num_class_embeds", "id2label", "data_min", "data_max")


def load_teacher(config: DistillConfig) -> tuple[DistillConfig, NCSNPipeline]:
    """The settings with their `sigma_max`, and the model that is distilled, its weights fixed.

    Raises:
        OSError: where there is none of that name.
        ValueError: for one that cannot be distilled: of another kind, distilled itself, not trained at these levels, or
            without the null class that guidance needs.
    """
    pipeline = NCSNPipeline.from_pretrained(config.teacher)
    network, name = pipeline.unet, config.teacher
    _check_knows_all_levels(network, name)
    if network.config.trained_sigmas is not None:
        raise ValueError(f"{name} draws in few evaluations already and is no score. Give the model it was made from.")
    known = network.config.sigma_min, network.config.sigma_max
    if config.sigma_max is None:
        config = replace(config, sigma_max=min(SIGMA_MAX, known[1]))
    low, high = min(config.sigma_min, config.levels[-1]), max(config.sigma_max, config.levels[0])
    if low < 0.99 * known[0] or high > 1.01 * known[1]:
        raise ValueError(
            f"{name} was trained on noise levels from {known[0]:g} to {known[1]:g}, and levels, sigma_min and "
            f"sigma_max ask for {low:g} to {high:g}. Set them within its range."
        )
    pipeline.guidance_scale = config.guidance_scale  # which refuses it for one without a null class
    network.eval().requires_grad_(False)
    return config, pipeline


def load_generator(config: DistillConfig, teacher: NCSNPipeline) -> ModelMixin:
    """The network that the generator begins as, a copy of the teacher's or that of `init_from`, of any width.

    Raises:
        OSError: where there is none of that name.
        ValueError: for a model of other pictures, range or classes than the teacher, or that knows only its own levels.
    """
    if config.init_from is None:
        return copy.deepcopy(teacher.unet)
    start = NCSNPipeline.from_pretrained(config.init_from)
    _check_knows_all_levels(start.unet, config.init_from)
    one, other = (described(model.unet) | dict(model.config) for model in (start, teacher))
    differ = [name for name in OF_THE_PICTURES if one.get(name) != other.get(name)]
    if differ:
        raise ValueError(
            f"The models of {config.init_from} and {config.teacher} are for different pictures: they differ in "
            f"{', '.join(differ)}. Give another init_from, or begin as the teacher."
        )
    return start.unet


def _check_knows_all_levels(network: ModelMixin, name: str) -> None:
    if described(network)["network"] == "ncsn":
        raise ValueError(f"{name} holds a network of the kind ncsn, which knows only its own levels. Give another.")


def matching_of(
    config: DistillConfig, teacher: NCSNPipeline, generator: Learner, fake: Learner, accelerator: Accelerator
) -> DistributionMatching:
    """Two learners, and what they learn from a teacher."""
    network = teacher.unet.to(accelerator.device)
    speed_up(network, config)
    size, sigma_data = network.config.sample_size, network.config.get("sigma_data")

    def score(x: Tensor, sigma: Tensor, **classes: Tensor) -> Tensor:
        with accelerator.autocast():
            return network(x, sigma, **classes).sample.float()

    return DistributionMatching(
        score, generator, fake, shape=(network.config.in_channels, size, size), levels=config.levels,
        draw_sigma=LogNormalSigmas(config.sigma_log_mean, config.sigma_log_std, config.sigma_min, config.sigma_max),
        weight=edm_weight(sigma_data) if sigma_data else sigma_squared_weight,
        num_classes=num_classes(network),
        guidance_scale=config.guidance_scale, guidance_interval=config.guidance_interval,
        ends=(teacher.config.data_min, teacher.config.data_max),
    )  # fmt: skip


@dataclass(eq=False, repr=False)
class DistillationRun(Run):
    """The state of such a run.

    Args:
        teacher: the model that is distilled.
        matching: what is learned from it.
    """

    config: DistillConfig
    teacher: NCSNPipeline
    matching: DistributionMatching

    def __post_init__(self) -> None:
        super().__post_init__()
        self.generator_bands = BandLosses(*self.noise_bands(), self.accelerator.device, "generator")
        self.other_bands = (self.generator_bands,)
        levels = list(self.config.levels)
        known = {"denoiser_error": None, "class_frequencies": self.teacher.unet.config.get("class_frequencies")}
        self.ema_network.register_to_config(
            **{name: value for name, value in known.items() if name in self.ema_network.config}
        )
        self.ema_network.register_to_config(trained_sigmas=levels, sigma_min=levels[-1], sigma_max=levels[0])

    def noise_bands(self) -> tuple[Tensor, Tensor]:
        """Of the noise levels at which scores are compared."""
        return even_bands(self.config.sigma_min, self.config.sigma_max)

    def pipeline(self) -> NCSNPipeline:
        """With the sampler that the network is made for, and no other."""
        scheduler = ConsistentAnnealedScheduler(sigmas=list(self.config.levels), eta=1.0)
        ranges = {name: self.teacher.config[name] for name in ("data_min", "data_max")}
        return NCSNPipeline(self.ema_network, scheduler, **ranges)

    def described(self) -> str:
        """The teacher, as the beginning of a sentence."""
        evaluations = len(self.config.levels)
        return f"{shown_path(self.config.teacher)} in {evaluations} evaluation{'s' if evaluations > 1 else ''}"

    def origin(self) -> dict[str, Any]:
        """The teacher, and the data that it was trained on, where its folder tells."""
        facts = Path(str(self.teacher.config.get("_name_or_path")), "training.json")
        told = json.loads(facts.read_text(encoding="utf-8")) if facts.is_file() else {}
        start = shown_path(self.config.init_from) if self.config.init_from else None
        return {"teacher": shown_path(self.config.teacher), "init_from": start, "dataset": told.get("dataset")}

    @property
    def by_identity(self) -> bool:
        """Whether the present step is one of score identity distillation."""
        return self.step >= self.config.max_train_steps - self.config.identity_steps

    def step_draws(self) -> list[list[BatchDraws]]:
        """The random numbers of each update of the present step, and of its micro-batches."""
        return self._of_updates(lambda micro, turn, turns: self.draws(micro, turn, turns))

    def trial(self) -> None:
        """A step that changes no weight."""
        matching, draws = self.matching, self._trial_draws()
        *of_fake, of_generator = self._of_updates(lambda *_: draws)
        for one in (one for turn in of_fake for one in turn):
            matching.fake_loss(one)[0].mean().backward()
        for one in of_generator:
            matching.generator_loss(one, self.by_identity)[0].mean().backward()
        for learner in (matching.generator, matching.fake):
            learner.network.zero_grad(set_to_none=True)

    def check_compiled(self) -> None:
        """Compares both networks' gradients with their eager ones.

        The generator's by the power of what it draws: at the beginning there is nothing for it to learn.

        Raises:
            ValueError: if they differ by more than rounding.
        """
        matching, draws = self.matching, self._trial_draws()
        for learner, loss in (
            (matching.fake, lambda: matching.fake_loss(draws)[0].mean()),
            (matching.generator, lambda: matching.drawn(draws)[0].square().mean()),
        ):
            check_compiled(learner.network, loss, self.config.mixed_precision)

    def _trial_draws(self) -> BatchDraws:
        size = self.config.train_batch_size
        return BatchDraws(self.config.seed, 0, 0, size, size, Purpose.MEASURING)

    def _of_updates(self, draws: Callable[[int, int, int], BatchDraws]) -> list[list[BatchDraws]]:
        turns, micro_batches = self.config.fake_steps + 1, range(self.config.gradient_accumulation_steps)
        return [[draws(micro, turn, turns) for micro in micro_batches] for turn in range(turns)]
