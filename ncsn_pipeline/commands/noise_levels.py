"""Noise levels for a data set, as a table or as JSON.

ncsn noise-levels --data digits
ncsn noise-levels --data path/to/images --resolution 32 --json
"""

import argparse
import json
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from ..data_flags import add_data_flags
from ..errors import in_one_line
from . import seed

if TYPE_CHECKING:
    from ..noise_levels import NoiseLevelSuggestion

PROGRAM = "ncsn noise-levels"


def parse_arguments(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line; `None` reads `sys.argv`."""
    parser = argparse.ArgumentParser(
        prog=PROGRAM,
        description="Suggest noise levels and the Langevin step size for a data set (NCSNv2, techniques 1, 2, 4).",
    )
    parser.add_argument("--data", required=True, help="a folder of images or Parquet files, a Hub name, or 'digits'")
    parser.add_argument(
        "--split", "--train_split", "--train-split", default="train", help="part of the data set (default: %(default)s)"
    )
    add_data_flags(parser, "dataset_config_name", "image_column", "label_column")
    parser.add_argument("--resolution", type=int, help="resize images to this side in pixels (default: as they are)")
    parser.add_argument(
        "--sigma-min", type=float, default=0.01, help="last level, in data units (default: %(default)s)"
    )
    parser.add_argument("--steps-per-level", type=int, default=5, help="Langevin steps per level (default 5)")
    parser.add_argument("--data-min", type=float, default=0.0, help="value of black in the model's range (default: 0)")
    parser.add_argument("--data-max", type=float, default=1.0, help="value of white in the model's range (default: 1)")
    parser.add_argument(
        "--quantile",
        type=float,
        default=0.99,
        help="of pairwise distances, for the robust sigma_max (default: %(default)s)",
    )
    parser.add_argument("--robust", action="store_true", help="start at the quantile, not at the maximum")
    parser.add_argument("--seed", type=seed, default=0, help="draws the subset of too many images for all pairs")
    parser.add_argument("--json", action="store_true", help="print JSON, all noise levels included")
    return parser.parse_args(arguments)


def suggest(options: argparse.Namespace) -> "NoiseLevelSuggestion":
    """Loads the data, suggests, and says what was read; raises `ValueError` with one sentence for what is wrong."""
    if not options.data_min < options.data_max:
        raise ValueError(f"--data-min must be below --data-max; got {options.data_min} and {options.data_max}.")
    import torch

    from ..data import Selection, load_images
    from ..noise_levels import suggest_noise_levels

    selection = Selection(options.image_column, options.label_column, options.dataset_config_name)
    images = load_images(options.data, split=options.split, resolution=options.resolution, selection=selection)
    if len(images) < 2:
        raise ValueError(f"{options.data!r} has one image; noise levels are measured on the distances between images.")
    suggestion = suggest_noise_levels(
        images.float_images(options.data_min, options.data_max),
        sigma_min=options.sigma_min,
        steps_per_level=options.steps_per_level,
        quantile=options.quantile,
        robust=options.robust,
        generator=torch.Generator().manual_seed(options.seed),
    )
    print(f"Data: {images.about}", file=sys.stderr)
    return suggestion


def main(arguments: Sequence[str] | None = None) -> int:
    """Prints the suggestion and returns the exit code: 0, or 2 after one line on what was wrong."""
    options = parse_arguments(arguments)
    try:
        suggestion = suggest(options)
    except ImportError as error:
        print(f'{PROGRAM}: error: {error}. Reading data needs: pip install "ncsn-pipeline[train]"', file=sys.stderr)
        return 2
    except (ValueError, OSError) as error:
        print(f"{PROGRAM}: error: {in_one_line(error)}", file=sys.stderr)
        return 2
    print(json.dumps(suggestion.as_dict(), indent=2) if options.json else suggestion)
    return 0
