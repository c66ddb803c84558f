"""The models that a visitor may choose among: a list that the owner wrote, each loaded once, a few kept."""

import json
import logging
import math
import threading
import time
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from .limits import SettingsError, check_choice
from .model import SpaceModel, examples_for, names_of

MOST_LOADED = 3
TRIED_AGAIN_AFTER = 60.0  # seconds

logger = logging.getLogger(__name__)


class SpaceModels:
    """Loads the first model at once and the others when they are asked for; forgets the one unused for longest.

    Args:
        sources: folders or Hub ids; the first is the default, which is never forgotten.  Folders of one name are told
            apart by the folders that they lie in.

    Raises:
        ValueError: for no source at all.
        FileNotFoundError: for a first source that is a folder without a model.
        OSError: for a first source that the Hub does not give.
    """

    def __init__(self, sources: Sequence[str]) -> None:
        if not sources:
            raise ValueError("A page needs at least one model; none was given.")
        self.sources = names_of(sources)
        self.names = tuple(self.sources)
        self.default = SpaceModel.load(self.sources[self.names[0]], self.names[0])
        self._loaded: OrderedDict[str, SpaceModel] = OrderedDict()
        self._failed: dict[str, float] = {}  # when
        self._lock = threading.Lock()
        self._loading = {name: threading.Lock() for name in self.names}

    def get(self, name: Any) -> SpaceModel:
        """The model of that name.

        Raises:
            SettingsError: for a name that is not on the list, and for a model that cannot be loaded.
        """
        name = check_choice("Model", name, self.names)
        if name == self.default.name:
            return self.default
        # One that takes long to load keeps nobody from the others.
        return self._known(name) or self._load(name)

    def or_default(self, name: Any) -> SpaceModel:
        """The model of that name, or the default one where it is not on the list.

        Raises:
            SettingsError: for a model that cannot be loaded.
        """
        return self.get(name) if name in self.names else self.default

    def examples(self, name: str) -> list[Path]:
        """Pictures to repair by the model of that name, which need not be loaded for that."""
        return examples_for(self.sources[name])

    def draws_at_once(self, name: str) -> bool:
        """Whether the folder of the model of that name says that it draws in few evaluations and is no score."""
        config = Path(self.sources[name]).expanduser() / "unet" / "config.json"
        return config.is_file() and bool(json.loads(config.read_text(encoding="utf-8")).get("trained_sigmas"))

    def _known(self, name: str) -> SpaceModel | None:
        with self._lock:
            if name in self._loaded:
                self._loaded.move_to_end(name)
            return self._loaded.get(name)

    def _load(self, name: str) -> SpaceModel:
        with self._loading[name]:
            if (model := self._known(name)) is not None:
                return model
            if time.monotonic() - self._failed.get(name, -math.inf) > TRIED_AGAIN_AFTER:
                try:
                    model = SpaceModel.load(self.sources[name], name)
                except Exception:
                    logger.exception("%s could not be loaded.", name)
                    self._failed[name] = time.monotonic()
        if model is None:
            raise SettingsError(f"{name} could not be loaded. Choose another model, or try again in a minute.")
        with self._lock:
            self._loaded[name] = model
            while len(self._loaded) > MOST_LOADED - 1:
                self._loaded.popitem(last=False)
        return model
