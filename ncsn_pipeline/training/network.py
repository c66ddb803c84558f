"""The network that is trained, what is measured on the data for it, and the pipeline that it is saved in."""

import dataclasses
import json
import logging
from typing import Any

import torch
from diffusers import ModelMixin

from ..data import ImageData
from ..networks import NCSNModel, NCSNv2Model, ScoreUNet
from ..noise_levels.distance import largest_pairwise_distance, measured_points
from ..pipelines import NCSNPipeline
from ..sampling import AnnealedLangevinScheduler, ConsistentAnnealedScheduler
from .config import REFINENETS, TrainConfig
from .draws import Purpose, generator_for

logger = logging.getLogger("train")

DEFAULT_BASE_CHANNELS = 128
SIZES = ("base_channels", "block_out_channels", "layers_per_block", "attention_levels")
# What of a network's config has another name as a setting.
SETTINGS = {
    "sample_size": "resolution",
    "in_channels": "channels",
    "num_class_embeds": "the number of classes (use_labels)",
    "architecture": "network",
    "id2label": "the names of the classes",
}


def measure_data(config: TrainConfig, data: ImageData, trained: NCSNPipeline | None) -> TrainConfig:
    """Fills in what is not set: `sigma_data` and `data_mean` as a trained network has them, or measured; `sigma_max`.

    Args:
        config: settings.
        data: the training images.
        trained: the model of `init_from`.

    Raises:
        ValueError: for images on which a missing setting cannot be measured: one image, equal or blank ones.
    """
    known = trained.unet.config if trained else {}
    mean = known.get("data_mean") if config.data_mean is None else config.data_mean
    deviation = config.sigma_data or known.get("sigma_data")
    if deviation is None or (mean is None and config.network == "score_unet"):
        measured = data.mean_and_std(config.data_min, config.data_max)
        mean, deviation = measured[0] if mean is None else mean, deviation or measured[1]
    sigma_max = config.sigma_min if config.objective == "single_sigma" else config.sigma_max
    value = int(data.images.max())
    if value == data.images.min() and not (config.sigma_data or "sigma_data" in known):
        raise ValueError(
            f"The {len(data)} image(s) of {config.source!r} to train on are blank: every pixel is {value} of 255. "
            "There is nothing to learn from them; look at the files."
        )
    if sigma_max is None:
        sigma_max = _measured_sigma_max(config, data)
    return dataclasses.replace(
        config,
        data_mean=mean if config.network == "score_unet" else None,  # no RefineNet takes it
        sigma_data=deviation,
        sigma_max=sigma_max,
    )


def _measured_sigma_max(config: TrainConfig, data: ImageData) -> float:
    """The largest distance between two images, of all or of as many as can be compared in seconds.

    Raises:
        ValueError: for one image, or images whose differences are below `sigma_min`.
    """
    if len(data) < 2:
        raise ValueError(
            f"{config.source!r} has one image to train on beside those kept aside; the noise levels are measured on "
            "the distances between images. Give more images, or set sigma_max."
        )
    order = torch.randperm(len(data), generator=generator_for(config.seed, Purpose.MEASURING))
    some = data.subset(order[: measured_points(data.images[0].numel())])
    chosen = "all" if len(some) == len(data) else f"{len(some):,} at random of the"
    logger.info("Measuring sigma_max: the largest distance between two of %s %s images.", chosen, f"{len(data):,}")
    largest = largest_pairwise_distance(some.float_images(config.data_min, config.data_max))
    if largest <= config.sigma_min:
        how = "are all equal" if largest == 0 else f"differ by {largest:.3g} at most, not more than sigma_min"
        raise ValueError(
            f"The {len(some)} images of {config.source!r} to train on {how}: there is nothing to learn from their "
            "differences. Look at the files; to train on them all the same, set sigma_max."
        )
    return largest


def load_trained(config: TrainConfig) -> NCSNPipeline | None:
    """The model of `init_from`; `None` where a run starts from new weights.

    Raises:
        ValueError: for a model that is no score.
    """
    if not config.init_from:
        return None
    trained = NCSNPipeline.from_pretrained(config.init_from)
    if getattr(trained.unet.config, "trained_sigmas", None) is not None:
        raise ValueError(f"{config.init_from} draws in few evaluations and is no score. Start from another model.")
    return trained


def build_network(
    config: TrainConfig,
    data: ImageData,
    trained: NCSNPipeline | None = None,
    known: dict[str, Any] | None = None,
    whole: bool = True,
) -> ModelMixin:
    """A new network for the data, the trained one, or one that a checkpoint's weights go into.

    Args:
        config: with what is measured filled in.
        data: the training images, or some of them.
        trained: the model of `init_from`.
        known: of the run that is resumed, :func:`described` of its network.
        whole: whether they are all of them, by which alone it is known how frequent classes are.

    Raises:
        ValueError: for images that are not square; for settings or data that the weights do not fit, by name.
    """
    height, size = data.images.shape[2:]
    if height != size:
        raise ValueError(f"Images of {height}x{size} pixels are not square. Set resolution to make them so.")
    wanted = _wanted(config, data)
    if trained is not None:
        there = described(trained.unet) | {name: trained.config[name] for name in ("data_min", "data_max")}
        there["id2label"] = None  # the classes of a start may have other names
        ranges = {"data_min": config.data_min, "data_max": config.data_max}
        _check_same(config, there, wanted | ranges, f"the model of {config.init_from}")
        trained.unet.register_to_config(sigma_min=config.sigma_min, sigma_max=config.sigma_max)
        if "id2label" in wanted:
            trained.unet.register_to_config(id2label=wanted["id2label"])
        return _told(data if whole else None, trained.unet.train())
    if known:
        _check_same(config, known, wanted, "the checkpoint")
        wanted = known | {"sigma_min": config.sigma_min, "sigma_max": config.sigma_max}
    return _told(data if whole else None, _CLASSES[wanted.pop("network")](**wanted))


def _told(data: ImageData | None, network: ModelMixin) -> ModelMixin:
    """The network with what all of the data say of its classes; `None` for data that are not known as a whole."""
    if num_classes(network):
        shares = None if data is None else data.labels.bincount(minlength=num_classes(network)) / len(data)
        known = None if shares is None else [float(f"{share:.6g}") for share in shares.tolist()]
        network.register_to_config(class_frequencies=known)
    return network


def described(network: ModelMixin) -> dict[str, Any]:
    """What a network is made from: its kind, as `network`, and its arguments without what is measured of it.

    Raises:
        ValueError: for one of another kind.
    """
    arguments = {name: value for name, value in network.config.items() if not name.startswith("_")}
    for measured in ("denoiser_error", "class_frequencies"):
        arguments.pop(measured, None)
    kind = next((kind for kind, cls in _CLASSES.items() if isinstance(network, cls)), None)
    if kind is None:
        raise ValueError(f"A {type(network).__name__} cannot be trained here; networks are {', '.join(_CLASSES)}.")
    return json.loads(json.dumps({"network": network.config.get("architecture", kind)} | arguments))


def num_classes(network: ModelMixin) -> int | None:
    """The number of classes, which is also the index of the null class; `None` for a network without labels."""
    return getattr(getattr(network, "module", network).config, "num_class_embeds", None)


def build_pipeline(config: TrainConfig, network: ModelMixin) -> NCSNPipeline:
    """The pipeline around the network, with the sampler that the settings name."""
    schedule = {
        "num_train_timesteps": config.schedule_length,
        "sigma_min": config.sigma_min,
        "sigma_max": config.sigma_max,
    }
    if config.scheduler == "consistent":
        scheduler = ConsistentAnnealedScheduler(**schedule)
    else:
        scheduler = AnnealedLangevinScheduler(
            **schedule,
            steps_per_level=config.steps_per_level,
            step_size=config.step_size,
            denoise=config.denoise,
            initial=config.initial,
        )
    return NCSNPipeline(network, scheduler, data_min=config.data_min, data_max=config.data_max)


_CLASSES: dict[str, type[ModelMixin]] = {
    "score_unet": ScoreUNet,
    "ncsn": NCSNModel,
    **{kind: NCSNv2Model for kind in REFINENETS if kind != "ncsn"},
}


def _wanted(config: TrainConfig, data: ImageData) -> dict[str, Any]:
    """What the settings and the data make of a new network."""
    channels, _, size = data.images.shape[1:]
    wanted = {"network": config.network, "sample_size": size, "in_channels": channels}
    wanted |= {"sigma_min": config.sigma_min, "sigma_max": config.sigma_max}
    if config.network == "score_unet":
        return wanted | {
            "block_out_channels": config.block_out_channels,
            "layers_per_block": config.layers_per_block,
            "attention_levels": config.attention_levels,
            "num_class_embeds": len(data.label_names) if config.use_labels and data.label_names else None,
            "sigma_data": config.sigma_data,
            "data_mean": config.data_mean,
            "id2label": dict(enumerate(data.label_names)) if config.use_labels and data.label_names else None,
        }
    wanted["base_channels"] = config.base_channels or DEFAULT_BASE_CHANNELS
    if config.network == "ncsn":
        return wanted | {"num_levels": config.schedule_length}
    return wanted | {"architecture": config.network}


def _check_same(config: TrainConfig, there: dict[str, Any], wanted: dict[str, Any], whose: str) -> None:
    """Refuses what trained weights do not fit; of a model to start from, sizes left at their defaults are its own.

    Raises:
        ValueError: naming the setting, both values and the way out.
    """
    # A network that is conditioned on sigma itself takes any; `ncsn` has a table of its levels.
    free = () if config.network == "ncsn" else ("sigma_min", "sigma_max")
    defaults = {field.name: field.default for field in dataclasses.fields(config) if field.name in SIZES}
    for name, value in json.loads(json.dumps(wanted)).items():
        left_out = config.init_from and name in defaults and getattr(config, name) == defaults[name]
        unknown = name == "id2label" and there.get(name) is None
        if name not in free and not left_out and not unknown and there.get(name) != value:
            raise ValueError(
                f"{SETTINGS.get(name, name)} is {value}, and {whose} was trained with {there.get(name)}. Set it to "
                "that, or train from other weights."
            )
