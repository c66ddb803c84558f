"""A data set of small colour pictures that anybody can make anew: avatars, drawn from a seed, without end and offline.

    python train/avatars.py --output_dir runs/data/avatars [--per_style 3000] [--test 250]

DiceBear draws an avatar as a vector graphic from a style and a seed; here it is rendered at four times its size, laid
on white, and reduced by Lanczos' filter.  All styles are in the public domain (CC0 1.0).  The same versions of the
packages (extra `avatars`) give the same bytes.

Even seeds are for training and odd ones for testing, so that no size of one part reaches into the other.
"""

import argparse
import io
import json
import sys
from collections.abc import Iterator, Sequence
from functools import cache
from importlib.resources import files
from multiprocessing import Pool
from pathlib import Path
from typing import Any

from PIL import Image

from .decoding import convert

STYLES = (
    "pixel-art",
    "critters",
    "sprouts",
    "moods",
    "planets",
    "voxel-art",
    "cutouts",
    "landscape",
    "thumbs",
    "open-peeps",
    "marbles",
    "voxel-bot",
)
SIDE = 32
ENLARGED = 4  # the graphic is rendered at so many times the side


def draw_avatar(style: str, seed: int, side: int = SIDE) -> Image.Image:
    """The avatar of a seed, an RGB image.

    Args:
        style: one of `STYLES`.
        seed: any whole number.
        side: height and width in pixels.

    Raises:
        ValueError: for an unknown style.
        ModuleNotFoundError: without the packages of the extra `avatars`.
    """
    from dicebear import Avatar
    from resvg_py import svg_to_bytes

    size = ENLARGED * side
    svg = Avatar(_style(style), {"seed": str(seed), "size": size}).to_string()
    with Image.open(io.BytesIO(svg_to_bytes(svg_string=svg, skip_system_fonts=True))) as rendered:
        picture = convert(rendered, 3)
    return picture.resize((side, side), Image.Resampling.LANCZOS)


def seeds_of(split: str, count: int) -> range:
    """The first `count` seeds of `"train"` or `"test"`, which have none in common."""
    first = {"train": 0, "test": 1}[split]
    return range(first, 2 * count, 2)


def write_avatars(output_dir: str | Path, *, per_style: int = 3000, test: int = 250, workers: int = 2) -> list[Path]:
    """Writes the data set as Parquet: `image` (PNG), `label` (style) and `seed`, seed after seed, style after style.

    Args:
        output_dir: a folder, made if need be.
        per_style: training pictures of each style.
        test: test pictures of each style.
        workers: processes that draw.

    Returns:
        The two files.

    Raises:
        ValueError: for counts below 1.
        ModuleNotFoundError: without the packages of the extra `avatars`.
    """
    if min(per_style, test, workers) < 1:
        raise ValueError(f"per_style, test and workers must be at least 1; got {per_style}, {test} and {workers}.")
    from datasets import ClassLabel, Dataset, Features, Value
    from datasets import Image as ImageColumn

    features = Features({"image": ImageColumn(), "label": ClassLabel(names=list(STYLES)), "seed": Value("int64")})
    Path(output_dir).mkdir(parents=True, exist_ok=True)
    written = []
    for style in STYLES:
        _style(style)  # read and checked once, before processes are forked
    with Pool(workers) as pool:
        for split, count in (("train", per_style), ("test", test)):
            wanted = [(style, seed) for seed in seeds_of(split, count) for style in STYLES]
            rows = list(_rows(wanted, pool.imap(_png, wanted, chunksize=32)))
            path = Path(output_dir, f"{split}-00000-of-00001.parquet")
            partial = path.with_suffix(".partial")
            Dataset.from_list(rows, features=features).to_parquet(partial)
            partial.replace(path)
            written.append(path)
            print(f"{path}: {len(rows):,} pictures of {len(STYLES)} styles", flush=True)
    return written


def _rows(wanted: list[tuple[str, int]], pictures: Iterator[bytes]) -> Iterator[dict[str, Any]]:
    for (style, seed), png in zip(wanted, pictures, strict=True):
        yield {"image": {"bytes": png, "path": None}, "label": STYLES.index(style), "seed": seed}


def _png(wanted: tuple[str, int]) -> bytes:
    file = io.BytesIO()
    draw_avatar(*wanted).save(file, "png")
    return file.getvalue()


@cache
def _style(name: str) -> Any:
    if name not in STYLES:
        raise ValueError(f"style is {name!r}; there are {', '.join(STYLES)}.")
    from dicebear import Style

    return Style(json.loads(files("dicebear_styles").joinpath(f"{name}.json").read_text(encoding="utf-8")))


def main(arguments: Sequence[str] | None = None) -> int:
    """Draws and returns the exit code: 0, or 2 after one line on what was wrong."""
    parser = argparse.ArgumentParser(description="Draws a data set of avatars, for training and for testing.")
    parser.add_argument("--output_dir", required=True, help="folder of the two Parquet files")
    parser.add_argument("--per_style", type=int, default=3000, help="training pictures of each style")
    parser.add_argument("--test", type=int, default=250, help="test pictures of each style")
    parser.add_argument("--workers", type=int, default=2, help="processes that draw")
    options = parser.parse_args(arguments)
    try:
        write_avatars(**vars(options))
    except ModuleNotFoundError as error:
        print(f"avatars.py: {error}. Install the packages that draw: pip install '.[avatars]'", file=sys.stderr)
        return 2
    except (ValueError, OSError) as error:
        print(f"avatars.py: error: {error}", file=sys.stderr)
        return 2
    return 0
