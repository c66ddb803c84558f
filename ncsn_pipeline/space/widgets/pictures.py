"""Files of a finished run: the grid, the animation, the strip of all kept steps, the program.

They lie in the folder that Gradio serves, a new subfolder a run.  Gradio deletes what it has been shown of them; a run
that begins deletes the old ones whole.
"""

import secrets
import shutil
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from gradio import FileData
from gradio.utils import get_upload_folder
from PIL import Image

from ..runs.recording import Recording
from .grid import tile

GIF_WIDTH = 560
FRAME_MILLISECONDS = 80
LAST_FRAME_MILLISECONDS = 2500
STRIP_ROW = 10
KEPT_SECONDS = 2 * 60 * 60  # a run leaves some four megabytes of pictures


def new_folder(kind: str) -> Path:
    """An empty folder for files of that kind."""
    folder = Path(get_upload_folder()) / kind / secrets.token_hex(8)
    folder.mkdir(parents=True)
    return folder


def run_folder() -> Path:
    """An empty folder for the files of one run; those of runs that are too old are deleted."""
    folder = new_folder("runs")
    for old in folder.parent.iterdir():
        with suppress(OSError):  # gone meanwhile
            if time.time() - _last_written(old) > KEPT_SECONDS:
                shutil.rmtree(old)
    return folder


def _last_written(folder: Path) -> float:
    """When the newest file of a folder was written; a file that is deleted makes the folder itself no younger."""
    return max((file.stat().st_mtime for file in folder.iterdir()), default=folder.stat().st_mtime)


def file_data(path: str | Path) -> dict[str, Any]:
    """A file in a folder that Gradio serves, for a browser or a program to fetch."""
    return FileData(path=str(path)).model_dump()


class FrameFiles:
    """Pictures of a run that goes on, a file each: written once more, one would reach a slow browser broken.

    Args:
        folder: where they go.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._count = 0

    def save(self, picture: Image.Image) -> str:
        """Writes the picture; returns the path of its file."""
        self._count += 1
        path = self.folder / f"frame-{self._count}.png"
        picture.save(path, compress_level=1)
        return str(path)


def save_animation(recording: Recording, columns: int | None, path: Path) -> Path:
    """Writes a GIF of the kept steps: x on the left, its denoised estimate on the right; the samples stay a while."""
    pictures = []
    for x, denoised in recording.pictures():
        left, right = tile(x, columns), tile(denoised, columns)
        gap = np.zeros((left.shape[0], 3, left.shape[2]), dtype=np.uint8)
        both = np.concatenate([left, gap, right], axis=1)[..., :-1]
        picture = Image.fromarray(both.squeeze(-1) if both.shape[-1] == 1 else both)
        scale = max(1, round(GIF_WIDTH / picture.width))
        picture = picture.resize((picture.width * scale, picture.height * scale), Image.Resampling.NEAREST)
        # By an octree: nearer to the colours than the default way, in a seventieth of its time.
        pictures.append(picture if picture.mode == "L" else picture.quantize(method=Image.Quantize.FASTOCTREE))
    durations = [FRAME_MILLISECONDS] * (len(pictures) - 1) + [LAST_FRAME_MILLISECONDS]
    pictures[0].save(
        path, save_all=True, append_images=pictures[1:], duration=durations, loop=0, disposal=1, optimize=False
    )
    return path


def save_strip(recording: Recording, columns: int | None, path: Path) -> tuple[int, int]:
    """Writes all kept steps, and the samples, as one PNG for a browser to cut up.

    In each row stand `STRIP_ROW` steps, x above, denoised below.

    Returns:
        Width and height of one picture.
    """
    tiles = [np.concatenate([tile(x, columns), tile(denoised, columns)]) for x, denoised in recording.pictures()]
    height, width, channels = tiles[0].shape
    rows = -(-len(tiles) // STRIP_ROW)
    strip = np.zeros((rows * height, min(len(tiles), STRIP_ROW) * width, channels), dtype=np.uint8)
    for i, picture in enumerate(tiles):
        top, left = (i // STRIP_ROW) * height, (i % STRIP_ROW) * width
        strip[top : top + height, left : left + width] = picture
    # A PNG this large takes a second to compress well, and is read once, from near by.
    Image.fromarray(strip).save(path, compress_level=1)
    return width, height // 2
