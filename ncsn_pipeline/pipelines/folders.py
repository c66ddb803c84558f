"""Folders of pipelines as the installed package reads them: found by name, its own classes in place of their code."""

import importlib.util
import os
from typing import Any

import diffusers

from ncsn_pipeline.finding import find_model
from ncsn_pipeline.pipelines import pipeline_ncsn
from ncsn_pipeline.pipelines.pipeline_ncsn import _FROM_DDPM, FOLDER_FORMAT, VERSION

# Schedulers that folders of format 1 name by files that are one by now.
_RENAMED = dict.fromkeys(("scheduling_annealed_langevin", "scheduling_consistent_annealed"), "scheduling_annealed")


class NCSNPipeline(pipeline_ncsn.NCSNPipeline):  # noqa: D101
    __doc__ = pipeline_ncsn.NCSNPipeline.__doc__

    @classmethod
    def from_pretrained(cls, pretrained_model_name_or_path: str | os.PathLike, **kwargs: Any) -> "NCSNPipeline":
        """As `DiffusionPipeline.from_pretrained`; `"mnist"` names the shipped model where no such folder is here."""
        return super().from_pretrained(find_model(str(pretrained_model_name_or_path), **kwargs), **kwargs)

    @classmethod
    def load_config(cls, *args: Any, **kwargs: Any) -> Any:
        """Reads `model_index.json`; in the installed package, its own classes stand in for the code in the folder.

        In a folder of score-SDE's variance-exploding networks, as `ScoreSdeVePipeline` wrote it, they stand in for its
        scheduler, which stores its noise levels by the same names.  Those networks were trained on images in 0 ... 1.
        """
        config = super().load_config(*args, **kwargs)
        index = config[0] if isinstance(config, tuple) else config
        if index.get("scheduler") == ["diffusers", "ScoreSdeVeScheduler"]:
            index["scheduler"] = ["scheduling_annealed", "ConsistentAnnealedScheduler"]
        for name, value in index.items():
            if isinstance(value, list) and isinstance(value[0], str):
                index[name] = [_installed_module(value[0]), value[1]]
        return config

    @classmethod
    def _dict_from_json_file(cls, json_file: str | os.PathLike) -> dict[str, Any]:
        """What `load_config` and the download from the Hub read, with this class in place of the folder's code.

        Raises:
            ValueError: for a folder of a newer format, or of a pipeline of diffusers that does not hold a score.
        """
        index = super()._dict_from_json_file(json_file)
        found = index.get("_ncsn_pipeline_format", FOLDER_FORMAT)
        if not isinstance(found, int) or found > FOLDER_FORMAT:
            raise ValueError(
                f"This folder has format {found}, written by ncsn_pipeline {index.get('_ncsn_pipeline_version')}; "
                f"version {VERSION} knows formats up to {FOLDER_FORMAT}. Upgrade ncsn_pipeline."
            )
        kind = index.get("_class_name")
        if isinstance(kind, str) and kind != "ScoreSdeVePipeline" and hasattr(diffusers, kind):
            raise ValueError(
                f"This folder holds a {kind}, not a score network. Open it by {kind}.from_pretrained. {_FROM_DDPM}"
            )
        if isinstance(index.get("_class_name"), list):
            index["_class_name"] = index["_class_name"][1]
        return index


def _installed_module(stem: str) -> str:
    """The package's module of that file name, or the name as it is for code that the package does not have."""
    stem = _RENAMED.get(stem, stem)
    module = f"ncsn_pipeline.{'sampling' if stem.startswith('scheduling_') else 'networks'}.{stem}"
    return module if stem.isidentifier() and importlib.util.find_spec(module) else stem
