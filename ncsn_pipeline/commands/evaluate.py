"""Samples from a model, and measures them.

ncsn evaluate --model mnist --num_samples 1000 --output_dir runs/evaluation
ncsn evaluate --model mnist --sweep 10,25,50,100,200 --samplers annealed_langevin,consistent,heun
"""

import argparse
import math
import sys
from collections.abc import Sequence

from ..data_flags import add_data_flags
from ..errors import in_one_line
from ..samplers import DEFAULT, SAMPLERS, sampler_name
from . import missing, seed, user_path

PROGRAM = "ncsn evaluate"


def _counts(text: str) -> list[int]:
    """`"10,25"` to `[10, 25]`, each at least 1, in increasing order."""
    try:
        values = sorted({int(part) for part in text.split(",")})
    except ValueError:
        raise argparse.ArgumentTypeError(f"whole numbers are needed, like 10,25; got {text!r}") from None
    if values[0] < 1:
        raise argparse.ArgumentTypeError(f"numbers must be at least 1; got {text!r}")
    return values


def _samplers(text: str) -> list[str]:
    return [sampler_name(name) for name in text.split(",")]


def parse_args(arguments: list[str] | None = None) -> argparse.Namespace:
    """The command line; ends the program with a message for values that make no sense."""
    parser = argparse.ArgumentParser(prog=PROGRAM, description="Samples from a model and measures the samples.")
    parser.add_argument("--model", required=True, help="folder or name on the Hub of a pipeline")
    parser.add_argument(
        "--dataset_name", default=None, help="name on the Hub, a folder, or 'digits'; default: what it was trained on"
    )
    add_data_flags(parser)
    parser.add_argument(
        "--held_out_fraction", type=float, default=None,
        help="what is kept aside where the data set has no test split (default: as in its training, else 0.05)",
    )  # fmt: skip
    parser.add_argument(
        "--held_out_seed",
        type=seed,
        default=None,
        help="draws what is kept aside (default: as in its training, else 0)",
    )
    parser.set_defaults(train_split=None)  # as in its training
    parser.add_argument(
        "--num_samples", type=_counts, default=[1000], help="default: 1000; for a sweep also several: 500,2000"
    )
    parser.add_argument("--batch_size", type=int, default=100, help="samples drawn at once (default: 100)")
    parser.add_argument(
        "--num_inference_steps", type=int, default=None,
        help="steps, one network evaluation each; Heun's take two, other solvers of diffusers one more for the start "
        "(default: the stored noise schedule)",
    )  # fmt: skip
    parser.add_argument(
        "--sampler", type=sampler_name, default=DEFAULT, help=f"default: the stored one; or {', '.join(SAMPLERS)}"
    )
    parser.add_argument("--steps_per_level", type=int, default=None, help="annealed Langevin: T")
    parser.add_argument(
        "--step_size", type=float, default=None, help="annealed Langevin: epsilon, the step at the last level"
    )
    parser.add_argument(
        "--guidance_scale", type=float, default=None, help="classifier-free guidance, for models with classes"
    )
    parser.add_argument(
        "--guidance_interval", type=float, nargs=2, default=None, metavar=("LOW", "HIGH"),
        help="the noise levels between which it guides; default: all",
    )  # fmt: skip
    parser.add_argument("--sigma_max", type=float, default=None, help="start a geometric schedule here, in data units")
    parser.add_argument(
        "--features", choices=("classifier", "inception"), default=None, help="default: those made for these pictures"
    )
    parser.add_argument(
        "--classifier", default=None, help="a folder, of such pictures; default: a shipped one, for digits and avatars"
    )
    parser.add_argument("--sweep", type=_counts, default=None, help="numbers of steps, like 10,25,50: write the table")
    parser.add_argument(
        "--samplers", type=_samplers, default=None,
        help="of the sweep (default: annealed_langevin,consistent; for a model of few evaluations consistent)",
    )  # fmt: skip
    parser.add_argument("--device", default=None, help="default: a GPU where there is one")
    parser.add_argument("--num_threads", type=int, default=None, help="CPU threads; default: one a core")
    parser.add_argument("--seed", type=seed, default=0, help="of the samples and the measures (default: 0)")
    parser.add_argument(
        "--output_dir",
        type=user_path,
        default=None,
        help="default: `evaluation` in the model's folder, whose card shows what it holds",
    )
    args = parser.parse_args(arguments)
    for name in ("batch_size", "num_inference_steps", "steps_per_level", "step_size", "sigma_max", "num_threads"):
        value = getattr(args, name)
        if value is not None and not 0 < value < math.inf:
            parser.error(f"--{name} must be positive; got {value}.")
    if not 0 <= (args.held_out_fraction or 0) < 1:
        parser.error(f"--held_out_fraction must lie in [0, 1); got {args.held_out_fraction}.")
    if args.num_samples[0] < 2:
        parser.error("--num_samples must be at least 2: a covariance needs two images.")
    if args.sweep is None and len(args.num_samples) > 1:
        parser.error("Several --num_samples need a --sweep.")
    if args.sweep is not None and args.num_inference_steps is not None:
        parser.error("--sweep and --num_inference_steps both say how many steps; give one.")
    if args.sweep is not None and args.sampler != DEFAULT:
        parser.error("A --sweep takes --samplers, one or several; leave --sampler out.")
    if args.sweep is None and args.samplers is not None:
        parser.error("--samplers are those of a --sweep; give one --sampler.")
    langevin_only = args.steps_per_level is not None or args.step_size is not None
    if args.sweep is None and args.sampler not in (DEFAULT, "annealed_langevin") and langevin_only:
        parser.error(f"--steps_per_level and --step_size belong to annealed_langevin, not to {args.sampler}.")
    if args.features == "inception" and args.classifier is not None:
        parser.error("--classifier has no effect with --features inception; give one of them.")
    if args.output_dir is None:
        model = user_path(args.model)
        args.output_dir = model / "evaluation" if model.is_dir() else user_path("runs/evaluation")
    return args


def main(arguments: Sequence[str] | None = None) -> int:
    """Measures, and returns the exit code: 0, or 2 after one line on what was wrong."""
    args = parse_args(arguments)
    try:
        from ..evaluation.evaluate import run

        run(args)
    except ImportError as error:
        return missing(PROGRAM, error, "train")
    except (ValueError, OSError, FloatingPointError) as error:
        print(f"{PROGRAM}: error: {in_one_line(error)}", file=sys.stderr)
        return 2
    return 0
