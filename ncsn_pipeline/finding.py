"""Where a model lies: a folder, one that comes with the package, or a repository of the Hub, which is asked once."""

import difflib
import os
from pathlib import Path
from typing import Any

from .cache import check_cache
from .shipped import folder_or_shipped

INDEX = "model_index.json"


def find_model(name: str | os.PathLike, index: str = INDEX, **options: Any) -> str:
    """The folder of that name, `~` written out, or the name itself where the Hub has a model so called.

    Args:
        name: a folder, a shipped model's name, or `user/name`.
        index: a file that the model has; one that the cache holds already is not asked for.
        options: `revision`, `token`, `cache_dir`, `local_files_only` and `subfolder`, as in `from_pretrained`.

    Raises:
        OSError: for a folder that is not there and a name that the Hub does not have, in one sentence.
    """
    from huggingface_hub import HfApi, try_to_load_from_cache

    name = os.path.expanduser(os.fspath(name))
    found = Path(folder_or_shipped(name))
    if found.is_dir():
        if not (found / (options.get("subfolder") or "") / index).is_file():
            raise OSError(f"The folder {name} holds no model: it has no {index}. Give one that save_pretrained wrote.")
        return str(found)
    missing = f"There is no folder {name}{_nearest(Path(name))}"
    if found.exists():
        raise OSError(f"{name} is a file. Give the folder that holds a model's {index}.")
    if looks_like_a_path(name):
        raise OSError(f"{missing}.")
    revision, kept = options.get("revision"), options.get("cache_dir")
    try:
        cached = isinstance(try_to_load_from_cache(name, index, cache_dir=kept, revision=revision), str)
    except ValueError:  # no name of the Hub
        raise OSError(f"{missing}, and the Hub has no such names.") from None
    if cached:
        return name
    if options.get("local_files_only"):
        raise OSError(f"{missing}, and the cache holds no model so called.")
    if kept is None:
        check_cache()
    try:
        HfApi(token=options.get("token")).model_info(name, revision=revision, timeout=30)
    except Exception as error:  # the client raises a dozen kinds
        raise OSError(f"{missing}, and the Hub {_refusal(error)}.") from error
    return name


def looks_like_a_path(name: str) -> bool:
    """Whether a name can be no model's of the Hub, `user/name`."""
    return name.startswith((".", "/", "~")) or name.count("/") > 1 or name.endswith("/") or "\\" in name


def _nearest(path: Path) -> str:
    """Folders beside a missing one whose name is much like it."""
    beside = [entry.name for entry in path.parent.iterdir() if entry.is_dir()] if path.parent.is_dir() else []
    close = difflib.get_close_matches(path.name, beside, n=1)
    return f" (did you mean {path.parent / close[0]}?)" if close else ""


def _refusal(error: Exception) -> str:
    from huggingface_hub.errors import HfHubHTTPError, RevisionNotFoundError

    if isinstance(error, RevisionNotFoundError):
        return "has no such revision of a model so called"
    status = error.response.status_code if isinstance(error, HfHubHTTPError) else None
    if status in (401, 403, 404):
        return "has no model so called that you may see"
    return f"did not answer ({f'error {status}' if status else ' '.join(str(error).split())[:100]})"
