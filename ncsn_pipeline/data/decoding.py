"""One picture, from whatever its file holds to bytes of one shape; and the count of those that could not be read.

Training, pipelines and the page read by :func:`to_eight_bits` and :func:`convert`: a picture is the same in each.
A folder of real pictures holds torn downloads, text called `.png`, phone photographs on their side, palettes, CMYK and
16-bit scans.  What has one obvious meaning is read; what has none is left out, counted, and named in one warning.
"""

import io
import logging
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

logger = logging.getLogger(__name__)

_GREY_MODES = ("1", "L", "LA", "La")  # and those that begin with I: 16 bits
_NAMES_SHOWN = 5
_QUARTER = 65535 // 4


class BadImageError(ValueError):
    """A picture that cannot be used; the message says why, to be read after its name."""


def decode(
    record: Mapping[str, Any] | None,
    *,
    resolution: int | None = None,
    channels: int | None = None,
    wide: "WideValues | None" = None,
) -> np.ndarray:
    """Decodes, converts and resizes one picture.

    The first frame of an animation counts; EXIF orientation is applied; transparency is laid on white; 16-bit grey
    keeps its upper 8 bits.

    Args:
        record: `{"bytes": the file's content or None, "path": its path or None}`, as `datasets` hands it out undecoded.
        resolution: side of the result in pixels: the shorter side is resized to it, the longer one cropped at the
            centre.  `None` keeps the size.
        channels: 1 for grey, 3 for colour, `None` for what the picture has.
        wide: is told the largest value of a picture with more than 8 bits.

    Returns:
        Bytes 0 ... 255, shape `(C, H, W)`, dtype uint8.

    Raises:
        BadImageError: for a picture that cannot be read, or whose pixels have no agreed range.
    """
    content = _read(record)
    try:
        with Image.open(content) as picture:
            if resolution is not None:
                picture.draft(None, (4 * resolution, 4 * resolution))  # a JPEG is reduced while it is decoded
            picture.load()
            picture = to_eight_bits(picture, wide)
            channels = channels or (1 if picture.mode in _GREY_MODES else 3)
            pixels = np.asarray(_square(convert(picture, channels), resolution))
    except BadImageError:
        raise
    except UnidentifiedImageError:
        raise BadImageError("is not an image of a known format") from None
    except MemoryError:
        raise
    except Exception as error:  # decoders of torn files raise a dozen kinds
        raise BadImageError(f"cannot be decoded: {error}") from error
    return np.array(pixels[None] if channels == 1 else pixels.transpose(2, 0, 1), order="C")


def to_eight_bits(picture: Image.Image, wide: "WideValues | None" = None) -> Image.Image:
    """A loaded picture upright (EXIF), in a mode of 8 bits per channel; the given one is turned in place.

    Args:
        picture: of any mode.
        wide: is told the largest value of a picture with more than 8 bits.

    Raises:
        BadImageError: for pixels that have no agreed range.
    """
    picture = _upright(picture)
    if picture.mode == "F":
        raise BadImageError("has floating-point pixels, which have no agreed range; save it with 8 or 16 bits")
    if not picture.mode.startswith("I"):
        return picture
    pixels = np.asarray(picture).astype(np.int64)
    if pixels.min() < 0 or pixels.max() > 65535:
        raise BadImageError("has 32-bit pixels outside 0 ... 65535; save it with 8 or 16 bits")
    if wide is not None:
        wide.add(int(pixels.max()))
    return Image.fromarray((pixels >> 8).astype(np.uint8))


def convert(picture: Image.Image, channels: int, ground: str = "white") -> Image.Image:
    """A picture of 8 bits in grey (1 channel), colour (3) or colour with opacity (4).

    Args:
        picture: as :func:`to_eight_bits` makes it.
        channels: 1, 3 or 4.
        ground: the colour that transparency is laid on, except with 4 channels.
    """
    picture = picture.convert("LA") if picture.mode == "La" else picture  # Pillow knows no other way from it
    if channels == 4:
        return picture.convert("RGBA")
    if picture.has_transparency_data:
        picture = picture.convert("RGBA")
        picture = Image.alpha_composite(Image.new("RGBA", picture.size, ground), picture)
    if picture.mode not in ("1", "L", "RGB"):
        picture = picture.convert("RGB")
    return picture.convert("L" if channels == 1 else "RGB")


def name_of(record: Mapping[str, Any] | None, number: int, folder: str = "") -> str:
    """What a picture is called in messages: its path, below `folder` if it lies there, or its number."""
    path = record and record.get("path")
    if not path:
        return f"number {number}"
    root = Path(os.path.expanduser(folder)).absolute()
    return str(Path(path).relative_to(root)) if folder and Path(path).is_relative_to(root) else str(path)


class WideValues:
    """The largest value of the pictures with more than 8 bits, of which the upper 8 are kept.

    Args:
        source: the data set's name, for messages.
    """

    def __init__(self, source: str) -> None:
        self.source, self.pictures, self.largest = source, 0, 0

    def add(self, largest: int) -> None:
        """Counts one picture by its largest value."""
        self.pictures, self.largest = self.pictures + 1, max(self.largest, largest)

    def check(self) -> None:
        """Refuses pictures whose range is not that of 16 bits: 12 bits of a camera, 8 bits in a wider file.

        Raises:
            ValueError: if no picture goes beyond a quarter of 16 bits.
        """
        if self.pictures and self.largest <= _QUARTER:
            greys = (self.largest >> 8) + 1
            raise ValueError(
                f"The {self.pictures} 16-bit image(s) of {self.source!r} have no value above {self.largest} of 65535: "
                f"read with white at 65535, they would be {'black' if greys == 1 else f'{greys} greys'}. Scale their "
                "values up to 65535, or save them with 8 bits."
            )


class SkippedImages:
    """Counts the pictures of one data set and keeps the names of the first bad ones.

    Args:
        source: the data set's name, for messages.
    """

    def __init__(self, source: str) -> None:
        self.source = source
        self.seen = 0
        self.bad = 0
        self._first: list[str] = []
        self._warned = 0

    def add(self, name: str, reason: str) -> None:
        """Counts one bad picture; `seen` is counted by the caller."""
        self.bad += 1
        if len(self._first) < _NAMES_SHOWN:
            self._first.append(f"{name} {reason}")

    def check(self) -> None:
        """Refuses a data set that is mostly unusable.

        Raises:
            ValueError: if more than half of the pictures seen so far are bad.
        """
        if 2 * self.bad > self.seen:
            raise ValueError(
                f"{self.bad} of {self.seen} images of {self.source!r} cannot be used: {self._examples()}. "
                "Take the bad ones out, or give another data set."
            )

    def warn(self) -> None:
        """One warning with the count and the first names, if there is anything new to warn of."""
        if self.bad > self._warned:
            logger.warning("Skipped %d of %d images of %r: %s.", self.bad, self.seen, self.source, self._examples())
            self._warned = self.bad

    def warn_at_first(self) -> None:
        """:meth:`warn` after 1, 10, 100 ... bad pictures, for data that take long to read."""
        if self.bad >= max(1, 10 * self._warned):
            self.warn()

    def _examples(self) -> str:
        more = self.bad - len(self._first)
        return "; ".join(self._first) + (f"; and {more} more" if more else "")


def _read(record: Mapping[str, Any] | None) -> io.BytesIO | str:
    """Where Pillow reads from.  A failing network is no bad picture: its errors are let through."""
    content = record and record.get("bytes")
    path = record and record.get("path")
    if content is None and path and "://" in path:
        from datasets.utils.file_utils import xopen

        with xopen(path, "rb") as file:
            content = file.read()
    if content is not None:
        if len(content) == 0:
            raise BadImageError("is empty")
        return io.BytesIO(content)
    if not path:
        raise BadImageError("is missing")
    if not os.path.isfile(path):
        raise BadImageError("does not exist")
    if os.path.getsize(path) == 0:
        raise BadImageError("is empty")
    return path


def _upright(picture: Image.Image) -> Image.Image:
    try:
        ImageOps.exif_transpose(picture, in_place=True)
    except Exception:
        logger.debug("An image's EXIF data is not readable; it is taken as upright.")
    return picture


def _square(picture: Image.Image, resolution: int | None) -> Image.Image:
    if resolution is None or picture.size == (resolution, resolution):
        return picture
    return ImageOps.fit(picture, (resolution, resolution), Image.Resampling.LANCZOS)
