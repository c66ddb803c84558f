"""The network that is trained, and the pipeline that it is saved in."""

from typing import Any

from diffusers import ModelMixin

from ..data import ImageData
from ..networks import NCSNModel, NCSNv2Model, ScoreUNet
from ..pipelines import NCSNPipeline
from ..sampling import AnnealedLangevinScheduler, ConsistentAnnealedScheduler
from .config import REFINENETS, TrainConfig

DEFAULT_BASE_CHANNELS = 128


def build_network(config: TrainConfig, data: ImageData) -> ModelMixin:
    """A new network for the data, or the trained one of `init_from`.

    Args:
        config: with `sigma_max` and `sigma_data` filled in.
        data: the training images.

    Raises:
        ValueError: for images that are not square, or a trained network of another kind, of other images or of other
            classes than these settings' and the data's.
    """
    height, size = data.images.shape[2:]
    if height != size:
        raise ValueError(f"Images of {height}x{size} pixels are not square. Set resolution to make them so.")
    return _new_network(config, data) if config.init_from is None else _trained_network(config, data)


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


def _shape(config: TrainConfig, data: ImageData) -> dict[str, Any]:
    """What every network is told."""
    channels, _, size = data.images.shape[1:]
    shape = {"sample_size": size, "in_channels": channels}
    return shape | {"sigma_min": config.sigma_min, "sigma_max": config.sigma_max}


def _classes(config: TrainConfig, data: ImageData) -> int | None:
    return len(data.label_names) if config.use_labels and data.label_names else None


def _new_network(config: TrainConfig, data: ImageData) -> ModelMixin:
    shape = _shape(config, data)
    width = config.base_channels or DEFAULT_BASE_CHANNELS
    if config.network == "ncsn":
        return NCSNModel(**shape, base_channels=width, num_levels=config.schedule_length)
    if config.network in REFINENETS:
        return NCSNv2Model(**shape, base_channels=width, architecture=config.network)
    return ScoreUNet(
        **shape,
        block_out_channels=config.block_out_channels,
        layers_per_block=config.layers_per_block,
        attention_levels=config.attention_levels,
        num_class_embeds=_classes(config, data),
        sigma_data=config.sigma_data,
        data_mean=data.mean_and_std(config.data_min, config.data_max)[0],
    )


def _trained_network(config: TrainConfig, data: ImageData) -> ModelMixin:
    pipeline = NCSNPipeline.from_pretrained(config.init_from)
    network = pipeline.unet.train()
    kind = getattr(network.config, "architecture", "ncsn" if isinstance(network, NCSNModel) else "score_unet")
    if kind != config.network:
        raise ValueError(f"The model of {config.init_from} is a {kind}; network is {config.network}. Set it to {kind}.")
    channels, _, size = data.images.shape[1:]
    classes = _classes(config, data)
    trained = (network.config.in_channels, network.config.sample_size, num_classes(network))
    trained += (pipeline.config.data_min, pipeline.config.data_max)
    if trained != (channels, size, classes, config.data_min, config.data_max):
        raise ValueError(
            f"The model of {config.init_from} has (channels, size, classes, data_min, data_max) = {trained}; here they "
            f"are {(channels, size, classes, config.data_min, config.data_max)}. Set channels, resolution, use_labels, "
            "data_min and data_max to bring them together."
        )
    schedule = (config.schedule_length, config.sigma_max, config.sigma_min)
    if kind == "ncsn":
        known = (network.config.num_levels, network.config.sigma_max, network.config.sigma_min)
        if known != schedule:
            raise ValueError(
                f"The model of {config.init_from} knows the levels (num_levels, sigma_max, sigma_min) = {known}; here "
                f"they are {schedule}. Set them to the model's."
            )
    network.register_to_config(sigma_min=config.sigma_min, sigma_max=config.sigma_max)
    return network
