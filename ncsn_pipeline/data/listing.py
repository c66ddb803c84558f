"""What lies in a folder: pictures, tables and metadata, each file by what it is and not by what its name may suggest.

A file is a picture if its ending is one of a format that Pillow reads, or if it has no known ending and begins like a
picture.  Links are followed, to folders too.
"""

import mimetypes
import os
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from PIL import Image

from .left_out import LeftOut

METADATA = ("metadata.csv", "metadata.jsonl", "metadata.parquet")
TABLES = (".parquet", ".arrow", ".tar")
# Formats that Pillow knows by their beginning and cannot decode.
_NOT_DECODED = {"BUFR", "GRIB", "HDF5", "MPEG"}
# Formats with an unmistakable beginning: others take any bytes for a picture.
_UNMISTAKABLE = ("AVIF", "BMP", "GIF", "JPEG", "JPEG2000", "PNG", "TIFF", "WEBP")


@dataclass
class Listing:
    """The files of a folder, by their paths below it with `/` between, sorted.

    Args:
        root: the folder, absolute.
        pictures, tables, metadata: the files of each kind.
        files: how many files there are, hidden ones aside.
        left_out: what is none of these.
    """

    root: Path
    pictures: list[str] = field(default_factory=list)
    tables: list[str] = field(default_factory=list)
    metadata: list[str] = field(default_factory=list)
    files: int = 0
    left_out: LeftOut = field(default_factory=LeftOut)

    def size(self, names: list[str]) -> int:
        """Bytes of the files together."""
        return sum((self.root / name).stat().st_size for name in names)


def list_folder(folder: str | Path) -> Listing:
    """Every file below a folder.

    Raises:
        OSError: for a folder that cannot be read.
    """
    found = Listing(Path(os.path.expanduser(folder)).absolute())
    os.listdir(found.root)  # which `os.walk` would pass over
    seen = {os.path.realpath(found.root)}

    def unreadable(error: OSError) -> None:
        found.left_out.add("folder(s) that cannot be read", shown(os.path.relpath(error.filename, found.root)))

    for place, folders, files in os.walk(found.root, followlinks=True, onerror=unreadable):
        folder = Path(place).relative_to(found.root).as_posix()
        below = "" if folder == "." else f"{folder}/"

        hidden = [name for name in folders if name.startswith((".", "__"))]
        found.left_out.add("hidden folder(s)", *(shown(below + name) for name in sorted(hidden)))
        again, folders[:] = [], sorted(set(folders) - set(hidden), key=lambda name: (_is_link(place, name), name))
        for name in folders[:]:
            if (real := os.path.realpath(os.path.join(place, name))) in seen:
                again.append(name)
                folders.remove(name)
            seen.add(real)
        found.left_out.add("folder(s) that are there twice by a link", *(shown(below + name) for name in again))
        for name in sorted(files):
            _add(found, below + name, name)
    for names in (found.pictures, found.tables, found.metadata):
        names.sort()
    return found


def _is_link(place: str, name: str) -> bool:
    return os.path.islink(os.path.join(place, name))


def shown(name: str) -> str:
    """A file's name as it can be printed, whatever its bytes are."""
    return os.fsencode(name).decode("utf-8", "replace")


@cache
def picture_endings() -> frozenset[str]:
    """The endings of the formats that Pillow and its plugins decode, in small letters with the dot."""
    known = Image.registered_extensions()
    return frozenset(ending for ending, kind in known.items() if kind in Image.OPEN and kind not in _NOT_DECODED)


def _add(found: Listing, path: str, name: str) -> None:
    """Sorts one file in."""
    ending = os.path.splitext(name)[1].lower()
    if name.startswith("."):
        if ending in picture_endings():
            found.left_out.add("hidden", shown(path))
        return
    found.files += 1
    if name.startswith("cache-") and ending == ".arrow":
        found.left_out.add("cached by datasets of what lies beside", shown(path))
    elif name in METADATA:
        found.metadata.append(path)
    elif ending in TABLES:
        found.tables.append(path)
    elif ending not in picture_endings() and not begins_as_picture(found.root / path):
        found.left_out.add("not images", shown(path))
    elif shown(path).encode() != os.fsencode(path):
        found.left_out.add("with names that are not UTF-8, which have to be renamed", shown(path))
    elif not os.path.exists(os.path.join(found.root, path)):
        found.left_out.add("link(s) to nothing", path)
    else:
        found.pictures.append(path)


def begins_as_picture(path: Path) -> bool:
    """Whether a file whose ending is not one of another kind of file begins like a picture."""
    kind = _types().guess_type(f"file{path.suffix.lower()}")[0]
    if kind is not None and not kind.startswith("image/"):
        return False
    try:
        with Image.open(path, formats=[name for name in _UNMISTAKABLE if name in Image.OPEN]):
            return True
    except (OSError, ValueError):
        return False
    except Exception:  # a picture, torn or too large; decoding it will say so
        return True


@cache
def _types() -> mimetypes.MimeTypes:
    """Python's own table, the same on every machine."""
    return mimetypes.MimeTypes()
