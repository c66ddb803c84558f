"""The canvas of the Repair tab: a picture in the model's own pixels, to mark or to draw on.

The browser paints on the pixels that the network sees and sends them as numbers, so what is kept is exactly what was
there.  In the page's file format nothing is scaled, and a picture of another size is fitted once, where it comes in.
"""

import json
from pathlib import Path
from typing import Any

import gradio as gr
import numpy as np
from PIL import Image, ImageOps, ImageStat

from ncsn_pipeline.data.decoding import convert, to_eight_bits

from ..runs.limits import SettingsError
from .levelling import as_in_mnist

HERE = Path(__file__)
PICTURES = ("PNG", "JPEG", "GIF", "WEBP")  # Pillow reads many more, some by starting programs


def pixel_canvas(value: str) -> gr.HTML:
    """The component; its value is what `canvas_value` makes, and what `check_canvas` reads."""
    return gr.HTML(
        value,
        html_template=HERE.with_suffix(".html").read_text(encoding="utf-8"),
        css_template=HERE.with_suffix(".css").read_text(encoding="utf-8"),
        js_on_load=HERE.with_suffix(".js").read_text(encoding="utf-8"),
        apply_default_css=False,
        label='Canvas: JSON {"image": rows, "mask": rows} in the pixels of the model; image bytes, mask 0 or 1',
        elem_id="repair-canvas",
    )


def canvas_value(image: np.ndarray, mask: np.ndarray, *, anew: bool = False) -> str:
    """An image `(H, W, C)` of bytes and a mask `(H, W)` of booleans, as the canvas takes them.

    With `anew` the browser forgets what was drawn before, and is at the first task again.
    """
    pixels = image.squeeze(-1) if image.shape[-1] == 1 else image
    value = {"image": pixels.tolist(), "mask": mask.astype(int).tolist()}
    return json.dumps(value | {"anew": True} if anew else value, separators=(",", ":"))


def right_half(shape: tuple[int, int, int]) -> np.ndarray:
    """The mask that the page starts with, `(H, W)`."""
    mask = np.zeros(shape[1:], dtype=bool)
    mask[:, shape[2] // 2 :] = True
    return mask


def fitted_picture(path: Any, shape: tuple[int, int, int], digits: bool = False) -> np.ndarray:
    """A picture from a file, cropped to the model's proportions and scaled to its size: bytes `(H, W, C)`.

    For grey models, dark ink on light paper becomes light on dark.

    Args:
        path: the file.
        shape: the model's `(C, H, W)`.
        digits: whether one of another size is taken for a photograph of a digit, and made as MNIST has it.

    Raises:
        SettingsError: for what is no picture, or one that is too large.
    """
    channels, height, width = shape
    try:
        with Image.open(path, formats=PICTURES) as opened:
            opened.load()
            picture = convert(to_eight_bits(opened), 4)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise SettingsError(
            f"This picture has too many pixels; at most {Image.MAX_IMAGE_PIXELS:,}. Scale it down first."
        ) from None
    except Exception:
        raise SettingsError("This file is no picture that can be read. Choose a PNG, JPEG, GIF or WebP file.") from None
    ink = ImageStat.Stat(picture.convert("L"), mask=picture.getchannel("A"))
    light_on_dark = channels == 1 and ink.count[0] > 0 and ink.mean[0] > 127
    picture = convert(picture, channels, ground="black" if light_on_dark else "white")
    if picture.size != (width, height):
        if digits and channels == 1 and (digit := as_in_mnist(picture, height)) is not None:
            return digit[..., None]
        picture = ImageOps.fit(picture, (width, height), Image.Resampling.LANCZOS)
    pixels = np.asarray(picture).reshape(height, width, channels)
    return 255 - pixels if channels == 1 and pixels.mean() > 127 else pixels
