"""The page's outermost layer: whatever is sent, a visitor is answered in words, never by a program's own error."""

import logging
import warnings
from typing import Any

import gradio as gr
from gradio.block_function import BlockFunction
from gradio.processing_utils import client_utils
from PIL import Image

from .limits import SettingsError
from .messages import toast
from .sessions import FAILED

logger = logging.getLogger(__name__)

MALFORMED = "An input has the wrong form. The API page (link at the bottom of the page) lists what each endpoint takes."
ELSEWHERE = "Files are not fetched from other places. Upload the file itself."

MOST_PIXELS = 4_000_000


def refuse_large_pictures() -> None:
    """Makes Pillow refuse, in this process, more than `MOST_PIXELS`: a small file can hold gigabytes."""
    Image.MAX_IMAGE_PIXELS = MOST_PIXELS
    warnings.simplefilter("error", Image.DecompressionBombWarning)


def _refuse_address(file: dict[str, Any]) -> dict[str, Any]:
    """Gradio would fetch the file from there, whatever its size, before anything of ours is asked."""
    if client_utils.is_http_url_like(file["path"]):
        raise gr.Error(ELSEWHERE)
    return file


class GuardedBlocks(gr.Blocks):
    """`gr.Blocks` that keep what components and functions raise on the server."""

    async def preprocess_data(self, block_fn: BlockFunction, inputs: list[Any], *args: Any, **kwargs: Any) -> list[Any]:
        """Reads the inputs of a call.

        Raises:
            gr.Error: for values that a component does not take, in its words or in ours.
        """
        try:
            client_utils.traverse(inputs, _refuse_address, client_utils.is_file_obj_with_meta)
            return await super().preprocess_data(block_fn, inputs, *args, **kwargs)
        except gr.Error as error:
            raise gr.Error(toast(error.message), print_exception=False) from None
        except Exception:
            raise gr.Error(MALFORMED, print_exception=False) from None

    async def process_api(self, *args: Any, **kwargs: Any) -> dict[str, Any]:
        """Answers a call.

        Raises:
            gr.Error: for a call that is refused, with the reason, and for one that failed, without.
        """
        try:
            return await super().process_api(*args, **kwargs)
        except gr.Error:
            raise
        except SettingsError as error:
            raise gr.Error(toast(str(error)), print_exception=False) from None
        except Exception:
            logger.exception("A call failed.")
            raise gr.Error(FAILED, print_exception=False) from None
