"""The results in one `evaluation.json`: one entry per way of sampling and data set, under `"results"`.

The model card shows them below one another, so all must be of the same network and, where they name the same data set,
of the same images.  A new result takes the place of the one that was sampled the same way; those of other weights or
images go.  Each of these is told by a fingerprint, which older files lack: their entries stay, and that is said.
"""

import json
from pathlib import Path
from typing import Any


def read_results(path: Path) -> list[dict[str, Any]]:
    """The entries of an `evaluation.json`, also of an older one that is a single entry; none if there is no file.

    Raises:
        ValueError: if the file is not what it should be.
    """
    if not path.is_file():
        return []
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        results = content.get("results", [content])
        if not all(isinstance(entry, dict) for entry in results):
            raise TypeError("its results are not dictionaries")
        json.dumps(results, allow_nan=False)
        for entry in results:
            if not all(isinstance(entry.get(name) or {}, dict) for name in ("arguments", "sample_neighbours")):
                raise TypeError("arguments and sample_neighbours are dictionaries")
    except (ValueError, AttributeError, TypeError) as error:
        raise ValueError(f"{path} holds no results: {error}. Repair it or take it away.") from error
    return results


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Indented JSON, whole or not at all; refuses NaN, which other readers refuse."""
    beside = path.with_suffix(".partial")
    beside.write_text(json.dumps(content, indent=2, allow_nan=False) + "\n", encoding="utf-8")
    beside.replace(path)


def add_result(path: Path, result: dict[str, Any]) -> list[str]:
    """Writes a result beside the stored ones that it can be compared with.

    Args:
        path: of the `evaluation.json`.
        result: the new entry.

    Returns:
        What became of each stored one, a line each.

    Raises:
        ValueError: as :func:`read_results`.
    """
    stored = read_results(path)
    fates = [_fate(entry, result) for entry in stored]
    kept = [entry for entry, fate in zip(stored, fates, strict=True) if fate.startswith("kept")]
    write_json(path, {"results": [*kept, result]})
    return [f"{fate}: {_described(entry)}" for entry, fate in zip(stored, fates, strict=True)]


def _fate(stored: dict[str, Any], result: dict[str, Any]) -> str:
    if _way(stored) == _way(result):
        return "replaced"
    if _differ(stored, result, "weights"):
        return "removed, as it is of other weights"
    same_data = _arguments(stored).get("dataset_name") == _arguments(result).get("dataset_name")
    same_data = same_data and stored.get("split") == result.get("split")
    if same_data and any(_differ(stored, result, name) for name in ("num_train_images", "test_images")):
        return "removed, as it is of other images of that name"
    if stored.get("weights") is None:
        return "kept, though it does not say of which weights it is"
    return "kept"


def _differ(stored: dict[str, Any], result: dict[str, Any], name: str) -> bool:
    return stored.get(name) is not None and stored[name] != result[name]


def _arguments(result: dict[str, Any]) -> dict[str, Any]:
    return result.get("arguments") or {}


def _way(result: dict[str, Any]) -> list[Any]:
    """How samples were drawn, and what they were compared with."""
    asked = ("step_size", "sigma_max", "guidance_scale", "guidance_interval", "dataset_name", "features", "classifier")
    arguments = _arguments(result)
    return [result.get(name) for name in ("scheduler", "nfe", "steps_per_level")] + [arguments.get(n) for n in asked]


def _described(result: dict[str, Any]) -> str:
    count = (result.get("sample_neighbours") or {}).get("count") or result.get("num_samples")
    scheduler, data = result.get("scheduler") or result.get("sampler"), _arguments(result).get("dataset_name")
    parts = [scheduler, f"{result.get('nfe')} evaluations", count and f"{count:,} samples", data]
    return ", ".join(filter(None, parts))
