"""Whether what comes from the Hub can be kept on this machine."""

import os
import tempfile
from pathlib import Path


class CacheError(OSError):
    """A cache folder that cannot be written."""


def check_cache() -> None:
    """Refuses a cache folder that cannot be made or written, before anything is loaded into it.

    Raises:
        CacheError: naming the folder, the variable that sets it, and why.
    """
    from huggingface_hub import constants

    data = os.environ.get("HF_DATASETS_CACHE") or Path(constants.HF_HOME, "datasets")
    for variable, folder in (("HF_HUB_CACHE", constants.HF_HUB_CACHE), ("HF_DATASETS_CACHE", data)):
        folder = Path(folder).expanduser()
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=folder):
                pass
        except OSError as error:
            named = variable if os.environ.get(variable) else "HF_HOME"
            raise CacheError(
                f"The cache folder {folder} cannot be written: {error.strerror}. Set {named} to a folder that can be."
            ) from error
