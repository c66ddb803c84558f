"""The page's outermost layer: whatever is sent, a visitor is answered in words, never by a program's own error."""

import logging
import warnings
from typing import Any

import gradio as gr
from PIL import Image

from .limits import SettingsError
from .sessions import FAILED

logger = logging.getLogger(__name__)

MALFORMED = "An input has the wrong form. The API page (link at the bottom of the page) lists what each endpoint takes."

MOST_PIXELS = 4_000_000


def refuse_large_pictures() -> None:
    """Makes Pillow refuse, in this process what unpacks to more than `MOST_PIXELS`: a small file can hold gigabytes."""
    Image.MAX_IMAGE_PIXELS = MOST_PIXELS
    warnings.simplefilter("error", Image.DecompressionBombWarning)


class GuardedBlocks(gr.Blocks):
    """`gr.Blocks` that keep what components and functions raise on the server."""

    async def preprocess_data(self, *args: Any, **kwargs: Any) -> list[Any]:
        """Reads the inputs of a call.

        Raises:
            gr.Error: for values that a component does not take, in its words or in ours.
        """
        try:
            return await super().preprocess_data(*args, **kwargs)
        except gr.Error as error:
            raise gr.Error(error.message, duration=None, print_exception=False) from None
        except Exception:
            raise gr.Error(MALFORMED, duration=None, print_exception=False) from None

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
            raise gr.Error(str(error), duration=None, print_exception=False) from None
        except Exception:
            logger.exception("A call failed.")
            raise gr.Error(FAILED, duration=None, print_exception=False) from None
