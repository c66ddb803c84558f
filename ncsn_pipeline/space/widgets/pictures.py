"""Files of a finished run: the grid, the animation, the strip of all kept steps, the program.

They lie in the folder that Gradio serves and empties, a new subfolder a run.
"""

import secrets
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
KEPT_EMPTY_SECONDS = 600


def new_folder() -> Path:
    """An empty folder for the files of one run."""
    runs = Path(get_upload_folder()) / "runs"
    folder = runs / secrets.token_hex(8)
    folder.mkdir(parents=True)
    for old in runs.iterdir():  # Gradio deletes files and leaves their folders
        with suppress(OSError):  # not empty, or gone
            if time.time() - old.stat().st_mtime > KEPT_EMPTY_SECONDS:
                old.rmdir()
    return folder


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
    """Writes a GIF of the kept steps: x on the left, its denoised estimate on the right; the end stays for a while."""
    pictures = []
    for frame in recording.frames:
        noisy, denoised = tile(frame.noisy, columns), tile(frame.denoised, columns)
        gap = np.zeros((noisy.shape[0], 3, noisy.shape[2]), dtype=np.uint8)
        both = np.concatenate([noisy, gap, denoised], axis=1)[..., :-1]
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
    """Writes all kept steps as one PNG for a browser to cut up: in each row `STRIP_ROW` steps, x above, denoised below.

    Returns:
        Width and height of one picture.
    """
    tiles = [np.concatenate([tile(frame.noisy, columns), tile(frame.denoised, columns)]) for frame in recording.frames]
    height, width, channels = tiles[0].shape
    rows = -(-len(tiles) // STRIP_ROW)
    strip = np.zeros((rows * height, min(len(tiles), STRIP_ROW) * width, channels), dtype=np.uint8)
    for i, picture in enumerate(tiles):
        top, left = (i // STRIP_ROW) * height, (i % STRIP_ROW) * width
        strip[top : top + height, left : left + width] = picture
    # A PNG this large takes a second to compress well, and is read once, from near by.
    Image.fromarray(strip).save(path, compress_level=1)
    return width, height // 2
