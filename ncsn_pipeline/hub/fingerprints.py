"""Of which weights an evaluation is: it says so by a fingerprint, as evaluations of this package write it."""

import hashlib
import logging
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor

logger = logging.getLogger(__name__)


# Copied from ncsn_pipeline.evaluation.results
def fingerprint(tensors: "Iterable[Tensor]") -> str:
    """16 hexadecimal digits of the SHA-256 of tensors' bytes, the same on every device."""
    import torch

    digest = hashlib.sha256()
    for tensor in tensors:
        digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy())
    return digest.hexdigest()[:16]


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
