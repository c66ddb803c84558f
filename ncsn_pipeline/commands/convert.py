"""A checkpoint of the NCSN or NCSNv2 authors' code as a pipeline folder.

ncsn convert best.pth OUT --architecture ncsnv2 --image-size 32
ncsn convert best.pth OUT --architecture ncsn --image-size 28 --sigma-max 1 --sigma-min 0.01
"""

import argparse
import sys
from collections.abc import Sequence

from ..errors import in_one_line
from . import user_path

PROGRAM = "ncsn convert"


def parse_arguments(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line; `None` reads `sys.argv`."""
    parser = argparse.ArgumentParser(
        prog=PROGRAM, description="Convert a checkpoint of the NCSN or NCSNv2 authors' code to a pipeline folder."
    )
    parser.add_argument("path", type=user_path, metavar="CKPT", help="the checkpoint, a .pth file")
    parser.add_argument(
        "output", type=user_path, metavar="OUT", help="the folder to write; it must not exist yet, or be empty"
    )
    parser.add_argument("--architecture", required=True, help="ncsn, ncsnv2, ncsnv2_deeper or ncsnv2_deepest")
    parser.add_argument("--image-size", type=int, required=True, help="side of the images in pixels")
    parser.add_argument("--channels", type=int, help="of the images, compared with the weights")
    parser.add_argument("--sigma-max", type=float, help="first noise level (default: as the checkpoint stores it)")
    parser.add_argument("--sigma-min", type=float, help="last noise level (default: as the checkpoint stores it)")
    parser.add_argument("--num-levels", type=int, help="number of noise levels (default: as the checkpoint tells)")
    parser.add_argument(
        "--ema",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="take the moving average of the weights, or the weights as they were trained",
    )
    parser.add_argument("--step-size", type=float, help="Langevin step at the last level (default: technique 4)")
    parser.add_argument("--steps-per-level", type=int, help="Langevin steps per level (default: NCSN 100, NCSNv2 5)")
    parser.add_argument(
        "--denoise",
        action=argparse.BooleanOptionalAction,
        help="end sampling with a denoising step (default: NCSN no, NCSNv2 yes)",
    )
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    """Converts and returns the exit code: 0, or 2 after one line on what was wrong."""
    options = parse_arguments(arguments)
    from ..convert import convert_checkpoint

    try:
        pipe = convert_checkpoint(**vars(options))
    except (ValueError, OSError) as error:
        print(f"{PROGRAM}: error: {in_one_line(error)}", file=sys.stderr)
        return 2
    config, scheduler = pipe.unet.config, pipe.scheduler
    print(
        f"{options.output}: {options.architecture}, {config.in_channels}x{config.sample_size}x{config.sample_size}, "
        f"{config.base_channels} channels wide, {len(scheduler.sigmas)} noise levels from {config.sigma_max:g} to "
        f"{config.sigma_min:g}, {scheduler.num_inference_steps:,} evaluations"
    )
    return 0
