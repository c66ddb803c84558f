"""The measurements that posterior methods are compared on: digits of MNIST's test part, four operators, noise 0.05.

    blur      Gaussian, deviation 1.5 pixels             784 numbers
    4x        means of 4 x 4 pixels                       49
    half      the upper half, as it is                   392
    random    projections on directions of length 1       78

The first 50 pictures are measured, the five after them serve to choose the settings of methods that have some.  Noise
and directions are seeded, so every program sees the same y.  Results are written after every five pictures of a method.
"""

import argparse
import hashlib
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from benchmarks.posterior_records import alike, drawn, extended, measured, read_results, recognised, row, store
from ncsn_pipeline.data import load_images
from ncsn_pipeline.evaluation.features import load_feature_network
from ncsn_pipeline.guidance.measurements import average_pooling, gaussian_blur, mask, random_projections

NOISE_STD = 0.05
SAMPLES = 8  # of each picture
MEASURED, TUNED_ON = range(50), range(50, 55)
AT_ONCE = 5  # pictures
Draw = Callable[[Tensor, int], tuple[Tensor, int]]  # y and a seed to samples (B, K, 1, 28, 28), evaluations of each


def flags(description: str, methods: Iterable[str]) -> argparse.ArgumentParser:
    """What a program that compares some methods is told."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data")
    parser.add_argument("--model", default="mnist")
    parser.add_argument("--pictures", type=int, default=len(MEASURED))
    parser.add_argument("--methods", nargs="+", choices=methods, default=list(methods))
    parser.add_argument("--tasks", nargs="+")
    parser.add_argument("--output", type=Path, default=Path("benchmarks/results"))
    parser.add_argument("--rows", type=Path, default=Path("runs/measurements.safetensors"))
    return parser


class Task(NamedTuple):
    """One operator and its measurements.

    Args:
        operator: A, `(B, 1, 28, 28)` in [0, 1] to `(B, *M)`.
        y: of all pictures, with noise, shape `(55, *M)`.
    """

    operator: Callable[[Tensor], Tensor]
    y: Tensor


def pictures(source: str) -> tuple[Tensor, Tensor]:
    """The pictures, `(55, 1, 28, 28)` in [0, 1], and their classes, `(55,)`.

    Args:
        source: MNIST: its name on the Hub, or a folder that holds its Parquet files.
    """
    data = load_images(source, split="test").subset(torch.arange(TUNED_ON.stop))
    return data.float_images(), data.labels


def tasks(truth: Tensor) -> dict[str, Task]:
    """The four tasks by name, for pictures `(N, 1, 28, 28)`."""
    upper = torch.zeros(28, 28, dtype=torch.bool)
    upper[:14] = True
    operators = {
        "blur": gaussian_blur(1.5),
        "4x": average_pooling(4),
        "half": mask(upper),
        "random": random_projections(78, 784, torch.Generator().manual_seed(0)),
    }
    found = {}
    for seed, (name, operator) in enumerate(operators.items()):
        exact = operator(truth)
        noise = torch.randn(exact.shape, generator=torch.Generator().manual_seed(seed))
        found[name] = Task(operator, exact + NOISE_STD * noise)
    return found


def digest(model: str) -> str:
    """The network of a pipeline folder, by its weights."""
    (weights,) = (Path(model) / "unet").glob("*.safetensors")
    return hashlib.sha256(weights.read_bytes()).hexdigest()[:12]


class Comparison:
    """Methods on the tasks, with results and figure in a folder.

    Args:
        source: of :func:`pictures`.
        model: the folder of the network's pipeline.
        folder: where `measurements.json`, `.md` and `.png` are or will be.
        rows: the figure's pictures, so that it can be drawn anew with those of another program; a file.
    """

    def __init__(self, source: str, model: str, folder: Path, rows: Path) -> None:
        self.truth, self.labels = pictures(source)
        self.tasks = tasks(self.truth)
        self.network, self.folder, self.rows = digest(model), folder, rows
        self.classifier = load_feature_network("classifier").classifier

    def on(self, name: str, draw: Draw, indices: range) -> dict[str, Any]:
        """What the samples of some pictures come to, with the samples themselves.

        Args:
            name: of the task.
            draw: the method.
            indices: of the pictures.
        """
        part, task = slice(indices.start, indices.stop), self.tasks[name]
        samples, evaluations = draw(task.y[part], indices.start)
        records = measured(samples, self.truth[part], task.y[part], task.operator, NOISE_STD)
        records["recognised"] = recognised(samples, self.labels[part], self.classifier)
        return {"samples": samples, "evaluations": evaluations, "records": records}

    def extend(self, name: str, method: str, settings: dict[str, Any], draw: Draw, count: int) -> None:
        """Brings the stored results of a method up to `count` pictures.

        Args:
            name: of the task.
            method: its name in the table.
            settings: as the table tells them, the number of `samples` among them.
            draw: the method.
            count: of pictures, those that are stored among them.
        """
        about = {"network": self.network, "settings": settings}
        while True:
            results = read_results(self.folder)
            stored = results.get(name, {}).get(method)
            start = len(stored["records"]["psnr"]) if alike(stored, about) else 0
            if start >= count:
                return
            found = about | self.on(name, draw, range(start, min(start + AT_ONCE, count)))
            samples = found.pop("samples")
            found["records"] = {key: [float(f"{v:.5g}") for v in values] for key, values in found["records"].items()}
            results.setdefault(name, {})[method] = extended(stored, found)
            store(self.folder, {task: results[task] for task in self.tasks if task in results})
            if start == 0:
                self._keep_row(name, method, samples[0])

    def _keep_row(self, name: str, method: str, samples: Tensor) -> None:
        kept = load_file(self.rows) if self.rows.is_file() else {}
        images = row(self.truth[0], self.tasks[name].y[0], samples)
        kept |= {f"{name}.{method}.{i}": image.contiguous() for i, image in enumerate(images)}
        self.rows.parent.mkdir(parents=True, exist_ok=True)
        save_file(kept, self.rows)

    def draw_figure(self) -> None:
        """`measurements.png`: the first picture by all tasks and methods."""
        kept, found = load_file(self.rows), {}
        for key in sorted(kept):
            name, method, _ = key.rsplit(".", 2)
            found.setdefault(name, {}).setdefault(method, []).append(kept[key])
        drawn({name: found[name] for name in self.tasks if name in found}).savefig(self.folder / "measurements.png")
