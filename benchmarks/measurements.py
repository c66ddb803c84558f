"""How good `NCSNPosteriorPipeline`'s methods are on real digits, beside each other and beside deepinv's.

    python -m benchmarks.measurements DATA [--model mnist] [--pictures 50] [--methods pigdm ...] [--output FOLDER]

DATA is MNIST: its name on the Hub, or a folder that holds its Parquet files.  For each task of `posterior_tasks` and
each method K = 8 samples of each picture, 50 noise levels, null class.  Pictures are added to those that are stored, so
a run that was ended goes on where it was, and one can begin with few pictures.  `--scales` measures dps at several
scales on the five pictures that are kept for that, and prints them; it is compared where its scale was so chosen.
Twisted particles are left out: of pictures they promise no spread.  `benchmarks.deepinv_methods` adds deepinv's methods
to the same results.
"""

from typing import Any

import torch
from torch import Tensor

from benchmarks.posterior_records import mean_and_error
from benchmarks.posterior_tasks import NOISE_STD, SAMPLES, TUNED_ON, Comparison, Draw, Task, flags
from ncsn_pipeline import NCSNPipeline, NCSNPosteriorPipeline
from ncsn_pipeline.shipped import folder_or_shipped

LEVELS = 50
SCALES = (1.0, 3.0, 10.0, 30.0)
# Settings by task: for dps those where its scale was chosen, of `SCALES` by the mean's PSNR.
METHODS: dict[str, dict[str, dict[str, Any]]] = {
    "pigdm": {"blur": {}, "4x": {}, "half": {}, "random": {}},
    "mmps": {"blur": {}, "4x": {}, "half": {}, "random": {}},
    "annealed": {"blur": {}, "4x": {}, "half": {}, "random": {}},
    "dps": {"4x": {"scale": 10.0}},
}


def method(pipe: NCSNPosteriorPipeline, name: str, task: Task, samples: int, settings: dict[str, Any]) -> Draw:
    """A method of ours on one task."""

    def draw(y: Tensor, seed: int) -> tuple[Tensor, int]:
        result = pipe(
            y,
            task.operator,
            NOISE_STD,
            num_images_per_measurement=samples,
            method=name,
            num_inference_steps=LEVELS,
            generator=torch.Generator().manual_seed(seed),
            output_type="raw",
            **settings,
        )
        return torch.as_tensor(result.images).unflatten(0, (len(y), samples)), result.evaluations

    return draw


def print_scales(pipe: NCSNPosteriorPipeline, comparison: Comparison, chosen: list[str]) -> None:
    """PSNR of the mean of two samples and share of recognised samples of dps, by task and scale."""
    for name in chosen:
        for scale in SCALES:
            draw = method(pipe, "dps", comparison.tasks[name], 2, {"scale": scale})
            found = comparison.on(name, draw, TUNED_ON)
            psnr, share = (mean_and_error(found["records"][key])[0] for key in ("psnr", "recognised"))
            print(f"{name} dps {scale}: {psnr:.2f} dB, {share:.2f} recognised", flush=True)


def main() -> None:
    """Measures, and saves after every five pictures."""
    parser = flags(__doc__, METHODS)
    parser.add_argument("--scales", action="store_true")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    folder = folder_or_shipped(arguments.model)
    pipe = NCSNPosteriorPipeline.from_pipe(NCSNPipeline.from_pretrained(folder))
    pipe.set_progress_bar_config(disable=True)
    comparison = Comparison(arguments.data, folder, arguments.output, arguments.rows)
    chosen = arguments.tasks or list(comparison.tasks)
    if arguments.scales:
        print_scales(pipe, comparison, chosen)
        return
    for name in arguments.methods:
        for task in [each for each in chosen if each in METHODS[name]]:
            settings = METHODS[name][task]
            draw = method(pipe, name, comparison.tasks[task], SAMPLES, settings)
            comparison.extend(task, name, {"samples": SAMPLES, **settings}, draw, arguments.pictures)
            print(f"{task} {name}: stored", flush=True)
    comparison.draw_figure()


if __name__ == "__main__":
    main()
