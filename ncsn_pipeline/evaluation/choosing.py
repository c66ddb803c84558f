"""Which features suit a model's pictures: those made for them, and no others.

A classifier of digits gives clothes features too, and says of each which digit it is.  So features apply where somebody
chose them, where the data set they are of is the one compared with, or where the model was trained on it.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ..finding import looks_like_a_path
from ..shipped import folder_or_shipped
from .features import SHIPPED_CLASSIFIERS, load_feature_network

# Other names of data sets of the same kind of picture.
ALIASES = {"ylecun/mnist": {"mnist", "digits"}}


def shown_name(source: str) -> str:
    """A Hub name as it is, a local folder, also one of another machine, without what lies above it."""
    path = Path(source).expanduser()
    return path.resolve().name if path.is_dir() or looks_like_a_path(source) else source


def training_facts(model: str) -> dict[str, Any]:
    """What the folder of a model tells of its training: `training.json` and the settings of `train_config.json`.

    Args:
        model: a folder or a shipped model; of a name on the Hub, nothing is known here.

    Raises:
        ValueError: for a file of facts that is not JSON.
    """
    folder, facts = Path(folder_or_shipped(model)), {}
    for name in ("training.json", "train_config.json"):
        path = folder / name
        try:
            facts |= json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
        except (ValueError, TypeError) as error:
            raise ValueError(f"{path} is no JSON dictionary: {error}. Repair it or take it away.") from error
    return facts


def training_data(facts: Mapping[str, Any]) -> str | None:
    """What a model was trained on by its facts: a name on the Hub, a folder, `"digits"`; `None` if they do not tell."""
    known = facts.get("dataset")
    told = known.get("name") if isinstance(known, dict) else known
    return facts.get("train_data_dir") or facts.get("dataset_name") or told


def class_numbers(config: Any, names: Sequence[str] | None) -> Tensor | None:
    """The number that a model has for each class of a data set, shape `(K,)`.

    Args:
        config: of the model's network; by its `id2label` where it has one, else the numbers are taken to be the same.
        names: of the data's classes, in the order of their numbers; `None` for data without classes.

    Returns:
        `None` for a model or data without classes, and where the classes are not the same.
    """
    count = getattr(config, "num_class_embeds", None)
    if not count or names is None or len(names) != count:
        return None
    own = getattr(config, "id2label", None) or dict(enumerate(names))
    numbers = {name: int(number) for number, name in own.items()}
    return torch.tensor([numbers[name] for name in names]) if set(names) == set(numbers) else None


def shipped_classifier(*sources: str | None) -> str | None:
    """The shipped classifier that was trained on a data set of one of these names, if any was."""
    names = {shown_name(source) for source in sources if source}
    known = (own for own in SHIPPED_CLASSIFIERS if names & {own, *ALIASES.get(own, ())})
    return SHIPPED_CLASSIFIERS.get(next(known, ""))


def choose_features(
    features: str | None, classifier: str | None, source: str, trained_on: str | None, channels: int
) -> tuple[nn.Module | None, str]:
    """The feature network for a model's pictures, or `None` and one sentence why.

    Args:
        features: `"classifier"` or `"inception"` where somebody chose; `None` for those that suit, if any.
        classifier: the folder or name of one that somebody chose.
        source: the data set that is compared with.
        trained_on: what the model was trained on, as :func:`training_data` has it.  It decides where `source` is a
            folder, whose name says little.
        channels: of the model's pictures.

    Raises:
        ValueError: for features that were chosen and do not suit.
        ModuleNotFoundError: where Inception's optional packages are missing.
    """
    if features == "inception":
        return load_feature_network("inception"), ""
    chosen = classifier or shipped_classifier(source, trained_on if Path(source).expanduser().is_dir() else None)
    if chosen is None:
        known = " and ".join(SHIPPED_CLASSIFIERS)
        wrong = f"The shipped classifiers know {known} alone, and these pictures are {shown_name(source)}."
    else:
        network = load_feature_network("classifier", chosen)
        if (own := network.classifier.config.in_channels) == channels:
            return network, ""
        wrong = (
            f"This model makes images with {channels} channels, and the classifier {shown_name(chosen)} knows images "
            f"with {own}."
        )
    if features or classifier:
        raise ValueError(f"{wrong} Give the --classifier of such images, or use --features inception.")
    return (
        None,
        f"{wrong} So nothing is measured in its features; --classifier FOLDER or --features inception gives others.",
    )
