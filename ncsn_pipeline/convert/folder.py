"""The pipeline folder and its model card."""

import hashlib
import tempfile
from pathlib import Path

from safetensors import SafetensorError

from ..pipelines import NCSNPipeline

CARD = """\
---
license: unknown
library_name: diffusers
pipeline_tag: unconditional-image-generation
tags:
  - score-based
  - ncsn
  - annealed-langevin-dynamics
---

# {architecture} for images of {size}

A noise-conditional score network, converted from a checkpoint of its authors' code (Song & Ermon,
[2019](https://arxiv.org/abs/1907.05600) and [2020](https://arxiv.org/abs/2006.09011)).

| | |
|---|---|
| converted from | `{source}`, SHA-256 `{digest}` |
| taken | {kind} |
| architecture | `{architecture}`, {width} channels wide, {parameters:,} parameters |
| images | {size} (channels, height, width), values in [0, 1] |
| noise levels | {levels}, from {sigma_max:g} to {sigma_min:g} |
| sampling | {steps} Langevin steps per level, {denoising}: {evaluations:,} network evaluations |
| step size | {step_size:.3g} at the last level, {origin} |

```python
from ncsn_pipeline import NCSNPipeline

pipe = NCSNPipeline.from_pretrained("path/to/this/folder")
images = pipe(batch_size=4).images
```

Without the package, `DiffusionPipeline.from_pretrained("path/to/this/folder", trust_remote_code=True)` runs the code in
this folder.

## Licence

The licence of the original weights, which a checkpoint does not state: ask where it came from. The code in this folder
is under Apache-2.0.
"""


def model_card(pipe: NCSNPipeline, architecture: str, kind: str, source: Path) -> str:
    """The model card: what this is, what it was made from, how to use it.

    Args:
        pipe: the pipeline.
        architecture: its network's.
        kind: which weights of the checkpoint were taken, in words.
        source: the checkpoint; its name and SHA-256 are written.
    """
    with source.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    config, scheduler = pipe.unet.config, pipe.scheduler
    origin = "by technique 4 of NCSNv2" if scheduler.config.step_size is None else "as given"
    return CARD.format(
        architecture=architecture,
        size=f"{config.in_channels}x{config.sample_size}x{config.sample_size}",
        source=source.name,
        digest=digest,
        kind=kind,
        width=config.base_channels,
        parameters=sum(parameter.numel() for parameter in pipe.unet.parameters()),
        levels=len(scheduler.sigmas),
        sigma_max=scheduler.config.sigma_max,
        sigma_min=scheduler.config.sigma_min,
        steps=scheduler.steps_per_level,
        denoising="then denoising" if scheduler.config.denoise else "without denoising",
        evaluations=scheduler.num_inference_steps,
        step_size=scheduler.step_size,
        origin=origin + (" (the NCSN paper: 2e-05)" if architecture == "ncsn" else ""),
    )


def check_free(output: Path) -> None:
    """Raises `OSError` for a place where something is already, or where no folder can be made."""
    if output.exists() and not (output.is_dir() and not any(output.iterdir())):
        raise FileExistsError(f"{output} exists and is not an empty folder; name one that does not exist yet.")
    parent = _first_existing(output.parent)
    if not parent.is_dir():
        raise NotADirectoryError(f"{output} cannot be made: {parent} is a file, not a folder.")


def write_folder(pipe: NCSNPipeline, card: str, output: Path) -> None:
    """Writes the folder beside its place and renames it, so that it appears complete or not at all.

    A folder that is there, which may be the current one, is filled, its index last.

    Raises:
        OSError: for a folder that cannot be written.
    """
    with tempfile.TemporaryDirectory(prefix=f".{output.name}-", dir=_first_existing(output)) as beside:
        folder = Path(beside) / output.name
        try:
            pipe.save_pretrained(folder)
        except SafetensorError as error:
            raise OSError(f"The weights could not be written beside {output}: {error}") from None
        (folder / "README.md").write_text(card, encoding="utf-8")
        if output.exists():
            for entry in sorted(folder.iterdir(), key=lambda entry: entry.name == "model_index.json"):
                entry.rename(output / entry.name)
        else:
            output.parent.mkdir(parents=True, exist_ok=True)
            folder.rename(output)


def _first_existing(path: Path) -> Path:
    return next(place for place in (path, *path.parents) if place.exists())
