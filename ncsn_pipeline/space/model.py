"""The model that the page shows, loaded once, and how fast it is on this machine."""

import time
from dataclasses import dataclass
from pathlib import Path

import torch

from ncsn_pipeline import NCSNPipeline


@dataclass(frozen=True)
class SpaceModel:
    """A loaded pipeline and what the page needs to know about it.

    Args:
        pipeline: shared by all visitors and never changed: a run builds its own around the same network.
        name: what a visitor may load the same model by.
        seconds_at_all: measured seconds of one evaluation, whatever the number of images.
        seconds_an_image: measured seconds that each image adds to it.
    """

    pipeline: NCSNPipeline
    name: str
    seconds_at_all: float
    seconds_an_image: float

    @classmethod
    def load(cls, source: str) -> "SpaceModel":
        """Loads a model folder or, where there is no such folder, a model of the Hub by its id.

        Raises:
            FileNotFoundError: for something that looks like a path and is not a model folder.
            OSError: for a model that the Hub does not give.
        """
        folder = Path(source)
        is_folder = (folder / "model_index.json").is_file()
        if not is_folder and (folder.exists() or folder.is_absolute() or source.count("/") != 1):
            raise FileNotFoundError(
                f"{source} holds no model (no model_index.json). Set NCSN_MODEL to a folder that "
                "`NCSNPipeline.save_pretrained` wrote, or to the id of a model on the Hub."
            )
        pipeline = NCSNPipeline.from_pretrained(source, local_files_only=is_folder)
        pipeline.set_progress_bar_config(disable=True)
        one, sixteen = _seconds(pipeline, 1), _seconds(pipeline, 16)
        slope = max((sixteen - one) / 15, 0.0)
        return cls(pipeline, name_of(source), max(one - slope, 0.0), slope)

    @property
    def num_classes(self) -> int | None:
        """Number of classes; `None` for a model without."""
        return getattr(self.pipeline.unet.config, "num_class_embeds", None)

    @property
    def trained_range(self) -> tuple[float, float]:
        """The smallest and the largest sigma that the network was trained on, in data units."""
        parts = (self.pipeline.unet.config, self.pipeline.scheduler.config)
        return tuple(next(part[name] for part in parts if name in part) for name in ("sigma_min", "sigma_max"))

    @property
    def dimension(self) -> int:
        """D, the number of values of one image."""
        config = self.pipeline.unet.config
        return config.in_channels * config.sample_size**2

    def seconds(self, evaluations: int, images: int) -> float:
        """Estimated duration of that many evaluations of that many images each."""
        return evaluations * (self.seconds_at_all + images * self.seconds_an_image)


def name_of(source: str) -> str:
    """What a visitor may load a model by: its Hub id, or the last part of its folder, `pretrained/` before it."""
    folder = Path(source)
    if not folder.is_dir():
        return source
    return "/".join(folder.parts[-2:] if folder.parent.name == "pretrained" else folder.parts[-1:])


@torch.no_grad()
def _seconds(pipeline: NCSNPipeline, images: int) -> float:
    """The best of a few timed evaluations, the first of which warms up."""
    config = pipeline.unet.config
    x = torch.zeros(images, config.in_channels, config.sample_size, config.sample_size)
    timed = []
    for _ in range(4):
        start = time.perf_counter()
        pipeline.unet(x, torch.tensor(1.0))
        timed.append(time.perf_counter() - start)
    return min(timed[1:])
