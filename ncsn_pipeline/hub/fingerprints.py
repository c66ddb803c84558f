"""Of which weights an evaluation is: it says so by a fingerprint, as evaluations of this package write it."""

import logging
from pathlib import Path
from typing import Any

from ..fingerprint import fingerprint

logger = logging.getLogger(__name__)


def of_these_weights(folder: Path, entries: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The entries that are of a pipeline folder's weights, or do not say of which; of others, how many is logged.

    The pipeline is loaded only where an entry says of which weights it is.
    """
    if all(entry.get("weights") is None for entry in entries):
        return entries
    from ..pipelines import NCSNPipeline

    own = fingerprint(NCSNPipeline.from_pretrained(folder).unet.state_dict().values())
    kept = [entry for entry in entries if entry.get("weights") in (None, own)]
    if others := len(entries) - len(kept):
        logger.warning("%d evaluation(s) of other weights than %s holds are left out. Evaluate again.", others, folder)
    return kept
