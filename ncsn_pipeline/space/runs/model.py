"""The model that the page shows, loaded once, and how fast it is on this machine."""

import math
import os
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ncsn_pipeline import NCSNPipeline

from ...evaluation.features import ClassifierFeatures
from ...shipped import examples
from .reading import DIGITS, reader_for, reads_digits

FIRST_FACTOR = 2.0  # seen on two cores: 1.3 to 2.1
KNOWN_SECONDS = 1.0  # a run that takes as long counts as much as all before: short ones are spent on other things
TIMED_ROUNDS, TIMED_EVALUATIONS, TIMED_SECONDS = 8, 3, 2.0


class Pace:
    """How many times as long runs take as the same evaluations do at rest: their frames are drawn beside them."""

    def __init__(self) -> None:
        self.factor = FIRST_FACTOR
        self.is_known = False  # before a run was seen, it is a guess

    def learn(self, estimated: float, taken: float) -> None:
        """Takes a finished run into account, the newest and the longest the most.

        Args:
            estimated: seconds at rest.
            taken: seconds that it took.
        """
        self.is_known = True
        share = taken / (taken + KNOWN_SECONDS)
        self.factor = self.factor ** (1 - share) * (taken / estimated) ** share


@dataclass(frozen=True)
class SpaceModel:
    """A loaded pipeline and what the page needs to know about it.

    Args:
        pipeline: shared by all visitors and never changed: a run builds its own around the same network.
        name: what visitors choose it by.
        address: what `from_pretrained` takes for it: its Hub id, or a folder, which no Hub id can look like.
        seconds_per_evaluation: measured seconds of one evaluation, whatever the number of images.
        seconds_per_image: measured seconds that each image adds to it.
        pace: of the runs so far.
        reader: a classifier of the data that the model was trained on, if there is one.
        examples: pictures to repair: those of the model's folder, or handwritten digits.
    """

    pipeline: NCSNPipeline
    name: str
    address: str
    seconds_per_evaluation: float
    seconds_per_image: float
    pace: Pace = field(default_factory=Pace)
    reader: ClassifierFeatures | None = None
    examples: Sequence[Path] = field(default_factory=examples)

    @classmethod
    def load(cls, source: str, name: str | None = None) -> "SpaceModel":
        """Loads a model folder or, where there is no such folder, a model of the Hub by its id.

        Args:
            source: the folder or the id.
            name: what visitors choose it by, by default :func:`name_of` the source.

        Raises:
            FileNotFoundError: for something that looks like a path and is not a model folder.
            OSError: for a model that the Hub does not give.
        """
        source = os.path.expanduser(source)
        folder = Path(source)
        is_folder = (folder / "model_index.json").is_file()
        if not is_folder and (folder.exists() or folder.is_absolute() or source.count("/") != 1):
            raise FileNotFoundError(
                f"{source} holds no model (no model_index.json). Give a folder that `NCSNPipeline.save_pretrained` "
                "wrote, or the id of a model on the Hub: by `ncsn app --model`, or NCSN_MODEL."
            )
        pipeline = NCSNPipeline.from_pretrained(source, local_files_only=is_folder)
        pipeline.set_progress_bar_config(disable=True)
        one, sixteen = _seconds(pipeline, 1, 16)
        slope = max((sixteen - one) / 15, 0.0)
        name = name_of(source) if name is None else name
        reader = reader_for(source, pipeline.unet.config.in_channels) if is_folder else None
        address = f"./{name}" if is_folder else name
        pictures = examples_for(source)
        return cls(pipeline, name, address, max(one - slope, 0.0), slope, reader=reader, examples=pictures)

    @property
    def num_classes(self) -> int | None:
        """Number of classes; `None` for a model without."""
        return getattr(self.pipeline.unet.config, "num_class_embeds", None)

    @property
    def class_names(self) -> list[str]:
        """What each class is called: its name, or its number; empty for a model without classes."""
        names = getattr(self.pipeline.unet.config, "id2label", None) or {}
        return [names.get(str(number), names.get(number, str(number))) for number in range(self.num_classes or 0)]

    @property
    def trained_range(self) -> tuple[float, float]:
        """The smallest and the largest sigma that the network was trained on, in data units."""
        parts = (self.pipeline.unet.config, self.pipeline.scheduler.config)
        return tuple(next(part[name] for part in parts if name in part) for name in ("sigma_min", "sigma_max"))

    @property
    def few_levels(self) -> tuple[float, ...]:
        """Where a network that draws in few evaluations is evaluated, in data units; empty for a score."""
        return tuple(getattr(self.pipeline.unet.config, "trained_sigmas", None) or ())

    @property
    def data_deviation(self) -> float | None:
        """Standard deviation of the data that the network was trained on, in data units, where it says."""
        return getattr(self.pipeline.unet.config, "sigma_data", None)

    @property
    def reads_digits(self) -> bool:
        """Whether it draws handwritten digits, and a classifier reads them."""
        return reads_digits(self.reader)

    @property
    def names_read(self) -> list[str]:
        """What the classes that its classifier reads are called: digits by their numbers, others as its own."""
        return [str(number) for number in range(len(DIGITS))] if self.reads_digits else self.class_names

    @property
    def sample_shape(self) -> tuple[int, int, int]:
        """`(C, H, W)` of one image."""
        return self.pipeline._image_shape()

    @property
    def dimension(self) -> int:
        """D, the number of values of one image."""
        return math.prod(self.sample_shape)

    def seconds(self, evaluations: int, images: int) -> float:
        """Estimated duration of a run of that many evaluations of that many images each."""
        return self.pace.factor * self._seconds_at_rest(evaluations, images)

    def learn_pace(self, evaluations: int, images: int, seconds: float) -> None:
        """Makes the next estimates better by what a run of that many evaluations took."""
        self.pace.learn(self._seconds_at_rest(evaluations, images), seconds)

    def _seconds_at_rest(self, evaluations: int, images: int) -> float:
        return evaluations * (self.seconds_per_evaluation + images * self.seconds_per_image)


def examples_for(source: str) -> list[Path]:
    """Pictures to repair by the model of that folder or Hub id: those in its folder, or handwritten digits."""
    return examples(source) or examples()


def name_of(source: str, parents: int = 0) -> str:
    """What a visitor may load a model by: its Hub id, or the last part of its folder, `pretrained/` before it.

    Args:
        source: a folder or a Hub id.
        parents: parts of the folder's path more, which tell it from another of that name.
    """
    if not Path(source).expanduser().is_dir():
        return source
    folder = Path(os.path.abspath(Path(source).expanduser()))
    shown = (2 if folder.parent.name == "pretrained" else 1) + parents
    return "/".join(folder.parts[-shown:]) if shown < len(folder.parts) else str(folder)


def names_of(sources: Sequence[str]) -> dict[str, str]:
    """Each source once by a name of its own, in the order given."""
    folders = {source: Path(source).expanduser() for source in sources}
    places = {
        os.path.abspath(folders[source]) if folders[source].is_dir() else source: source for source in reversed(sources)
    }
    sources = [source for source in dict.fromkeys(sources) if source in places.values()]
    parents = dict.fromkeys(sources, 0)
    while True:
        names = {source: name_of(source, parents[source]) for source in sources}
        taken = Counter(names.values())
        alike = [source for source in sources if taken[names[source]] > 1 and folders[source].is_dir()]
        if not alike:
            return {name: source for source, name in names.items()}
        for source in alike:
            parents[source] += 1


def _seconds(pipeline: NCSNPipeline, *counts: int) -> list[float]:
    """Of one evaluation of so many images in a call of the pipeline: the best of a few calls, after one to warm up."""
    few = getattr(pipeline.unet.config, "trained_sigmas", None)
    evaluations = len(few) if few else TIMED_EVALUATIONS

    def timed(images: int) -> float:
        start = time.perf_counter()
        pipeline(batch_size=images, num_inference_steps=evaluations, output_type="pt")
        return (time.perf_counter() - start) / evaluations

    begin, rounds = time.perf_counter(), []
    while len(rounds) < 2 or (len(rounds) < TIMED_ROUNDS and time.perf_counter() - begin < TIMED_SECONDS):
        rounds.append([timed(images) for images in counts])
    return [min(times[1:]) for times in zip(*rounds, strict=True)]
