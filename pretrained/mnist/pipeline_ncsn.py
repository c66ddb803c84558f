"""Images from noise by a score network and an annealed sampler.

The pipeline starts from noise of the largest level, asks the network for the score at the sigma of each of the
scheduler's `timesteps`, and lets the scheduler follow it:

    x ~ N(0, sigma_1² I)
    for sigma in scheduler.timesteps:
        x <- scheduler.step(network(x, sigma), sigma, x)

A saved pipeline is a folder that holds the code of its parts beside their weights, so that it loads by
`DiffusionPipeline.from_pretrained(folder, trust_remote_code=True)` where this package is not installed, and by
`NCSNPipeline.from_pretrained(folder)` where it is.
"""

import importlib.util
import inspect
import json
import math
import os
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from diffusers import DiffusionPipeline, ImagePipelineOutput
from diffusers.utils import logging
from diffusers.utils.torch_utils import randn_tensor
from torch import Tensor

logger = logging.get_logger(__name__)

Generators = torch.Generator | list[torch.Generator] | None

# Modules of the installed package are named `{root}.pipelines.pipeline_ncsn`; as code beside weights there is no root.
_PACKAGE_ROOT = __name__.rpartition(".pipelines.")[0]
_COMPONENT_FOLDERS = ("networks", "sampling")


class NCSNPipeline(DiffusionPipeline):
    """Unconditional and class-conditional image generation with a noise-conditional score network.

    Args:
        unet: the score network, `(sample, sigma, class_labels=None) -> .sample`, the score.  Its config has
            `sample_size` and `in_channels`, and `num_class_embeds` where it has classes.
        scheduler: `AnnealedLangevinScheduler` or `ConsistentAnnealedScheduler`.
        data_min: the value of black in the network's own range.
        data_max: the value of white, > `data_min`.

    Raises:
        ValueError: for an empty range of data, or a scheduler that does not take scores.
    """

    model_cpu_offload_seq = "unet"
    _callback_tensor_inputs = ["latents"]

    def __init__(self, unet: Any, scheduler: Any, data_min: float = 0.0, data_max: float = 1.0) -> None:
        super().__init__()
        if not (math.isfinite(data_min) and math.isfinite(data_max) and data_min < data_max):
            raise ValueError(f"data_min < data_max must hold and both be finite; got {data_min} and {data_max}.")
        self.register_modules(unet=unet, scheduler=scheduler)
        self.register_to_config(data_min=data_min, data_max=data_max)
        self._interrupt = False

    @torch.no_grad()
    def __call__(
        self,
        batch_size: int = 1,
        generator: Generators = None,
        num_inference_steps: int | None = None,
        sigmas: Sequence[float] | Tensor | None = None,
        steps_per_level: int | None = None,
        step_size: float | None = None,
        latents: Tensor | None = None,
        class_labels: int | Sequence[int] | Tensor | str | None = None,
        guidance_scale: float | None = None,
        output_type: str = "pil",
        return_dict: bool = True,
        callback_on_step_end: Callable[[Any, int, Tensor, dict[str, Tensor]], dict[str, Tensor] | None] | None = None,
        callback_on_step_end_tensor_inputs: Sequence[str] = ("latents",),
    ) -> ImagePipelineOutput | tuple:
        """Draws images.

        Args:
            batch_size: number of images, >= 1.
            generator: source of all randomness, or one for each image; the same seed gives the same images on CPU.
            num_inference_steps: exactly this many network evaluations; by default the scheduler's whole ladder.
            sigmas: a ladder for this call, strictly decreasing, > 0, in data units.
            steps_per_level: Langevin steps a level, for this call.
            step_size: epsilon, the Langevin step at the last level, for this call, in (0, 2 sigma_L²).
            latents: the start as unit normal noise, shape `(batch_size, C, H, W)`; scaled by sigma_1.
            class_labels: one class for all images, one for each, or `"none"` for the null class.  By default a model
                with classes draws them uniformly with `generator`.
            guidance_scale: w of classifier-free guidance, s_null + w (s_class - s_null), finite and >= 0; 1 and `None`
                use the class's score alone.  Both scores come from one evaluation of twice the batch.
            output_type: `"pil"`, `"np"` for `(B, H, W, C)` or `"pt"` for `(B, C, H, W)`, both in [0, 1].
            return_dict: whether to return an `ImagePipelineOutput` or a tuple.
            callback_on_step_end: called as `callback(pipeline, i, sigma, {"latents": ...})` after each evaluation; what
                it returns replaces the latents.  Setting `pipeline.interrupt = True` in it ends the run there.
            callback_on_step_end_tensor_inputs: names of the tensors it is given; only `latents` exists.

        Returns:
            The images: an `ImagePipelineOutput` with `.images`, or a tuple of them.

        Raises:
            ValueError: for an argument outside its range, before any work is done.
            FloatingPointError: for samples that are not finite.
        """
        self._check_inputs(
            batch_size, generator, latents, guidance_scale, output_type, callback_on_step_end_tensor_inputs
        )
        labels = self._labels(class_labels, batch_size, generator)
        guided = guidance_scale not in (None, 1)
        if guided and labels is None:
            raise ValueError("guidance_scale needs a model with classes; this one has none. Leave it out.")
        device = self._execution_device
        overrides = {"sigmas": sigmas, "steps_per_level": steps_per_level, "step_size": step_size}
        self._set_timesteps(num_inference_steps, device, {k: v for k, v in overrides.items() if v is not None})

        dtype = self.unet.dtype
        x = self._start(batch_size, generator, latents, device)
        if guided:
            labels = torch.cat([torch.full_like(labels, self.unet.config.num_class_embeds), labels])
        conditioning = {} if labels is None else {"class_labels": labels.to(device)}

        self._interrupt = False
        for i, sigma in enumerate(self.progress_bar(self.scheduler.timesteps)):
            inputs = torch.cat([x, x]) if guided else x
            score = self.unet(inputs.to(dtype), sigma, return_dict=False, **conditioning)[0].to(x.dtype)
            if guided:
                null, conditional = score.chunk(2)
                score = torch.lerp(null, conditional, guidance_scale)
            x = self.scheduler.step(score, sigma, x, generator=generator, return_dict=False)[0]
            if callback_on_step_end is not None:
                given = {name: x for name in callback_on_step_end_tensor_inputs}
                x = (callback_on_step_end(self, i, sigma, given) or {}).get("latents", x)
                if self._interrupt:
                    break

        images = self._images(x, output_type)
        self.maybe_free_model_hooks()
        return ImagePipelineOutput(images=images) if return_dict else (images,)

    @property
    def interrupt(self) -> bool:
        """Whether the run in progress ends after this evaluation; a callback sets it."""
        return self._interrupt

    @interrupt.setter
    def interrupt(self, value: bool) -> None:
        self._interrupt = value

    @property
    def num_timesteps(self) -> int:
        """Number of network evaluations of the scheduler's current layout."""
        return len(self.scheduler.timesteps)

    def _image_shape(self) -> tuple[int, int, int]:
        size = self.unet.config.sample_size
        height, width = (size, size) if isinstance(size, int) else size
        return self.unet.config.in_channels, height, width

    def _check_inputs(
        self,
        batch_size: int,
        generator: Generators,
        latents: Tensor | None,
        guidance_scale: float | None,
        output_type: str,
        tensor_inputs: Sequence[str],
    ) -> None:
        if getattr(self.scheduler, "model_output_type", None) != "score":
            raise ValueError(
                f"{type(self.scheduler).__name__} does not take scores. Use AnnealedLangevinScheduler or "
                "ConsistentAnnealedScheduler: "
                "`pipe.scheduler = ConsistentAnnealedScheduler.from_config(pipe.scheduler.config)`."
            )
        if isinstance(batch_size, bool) or not isinstance(batch_size, int) or batch_size < 1:
            raise ValueError(f"batch_size must be a whole number of images, at least 1; got {batch_size!r}.")
        if isinstance(generator, list) and len(generator) != batch_size:
            raise ValueError(
                f"{len(generator)} generators were given for {batch_size} images; give one, or one for each."
            )
        if latents is not None and tuple(latents.shape) != (batch_size, *self._image_shape()):
            raise ValueError(
                f"latents have shape {tuple(latents.shape)}; it must be {(batch_size, *self._image_shape())}, "
                "which is (batch_size, C, H, W)."
            )
        if guidance_scale is not None and not (math.isfinite(guidance_scale) and guidance_scale >= 0):
            raise ValueError(f"guidance_scale must be finite and >= 0; got {guidance_scale}.")
        if output_type not in ("pil", "np", "pt"):
            raise ValueError(f"output_type must be 'pil', 'np' or 'pt'; got {output_type!r}.")
        unknown = sorted(set(tensor_inputs) - set(self._callback_tensor_inputs))
        if unknown:
            raise ValueError(
                f"callback_on_step_end_tensor_inputs may name {self._callback_tensor_inputs}; got {unknown}."
            )

    def _labels(
        self, class_labels: int | Sequence[int] | Tensor | str | None, batch_size: int, generator: Generators
    ) -> Tensor | None:
        """One class a network input, shape `(B,)`; `None` for a model without classes."""
        classes = getattr(self.unet.config, "num_class_embeds", None)
        if classes is None:
            if class_labels is None or (isinstance(class_labels, str) and class_labels == "none"):
                return None
            raise ValueError("class_labels were given, but this model has no classes. Leave them out.")
        if class_labels is None:
            uniform = self._uniform((batch_size,), generator)
            return (uniform * classes).long().clamp(max=classes - 1)
        if isinstance(class_labels, str):
            if class_labels != "none":
                raise ValueError(
                    f"class_labels may be numbers, None (drawn) or 'none' (null class); got {class_labels!r}."
                )
            return torch.full((batch_size,), classes)
        labels = torch.as_tensor(class_labels)
        if labels.dtype.is_floating_point or labels.dtype == torch.bool or labels.dim() > 1:
            raise ValueError(f"class_labels must be whole numbers, one or one for each image; got {class_labels}.")
        labels = labels.long()
        if labels.dim() == 1 and len(labels) != batch_size:
            raise ValueError(
                f"{len(labels)} class_labels were given for {batch_size} images; set batch_size={len(labels)}."
            )
        labels = labels.expand(batch_size).cpu()
        if labels.min() < 0 or labels.max() >= classes:
            raise ValueError(f"class_labels must lie in 0 ... {classes - 1}; got {labels.unique().tolist()}.")
        return labels

    def _set_timesteps(self, num_inference_steps: int | None, device: torch.device, overrides: dict[str, Any]) -> None:
        known = inspect.signature(self.scheduler.set_timesteps).parameters
        unknown = sorted(set(overrides) - set(known))
        if unknown:
            raise ValueError(f"{type(self.scheduler).__name__} has no {', '.join(unknown)}. Leave it out.")
        self.scheduler.set_timesteps(num_inference_steps, device, **overrides)
        low, high = (getattr(self.unet.config, name, None) for name in ("sigma_min", "sigma_max"))
        if low is None or high is None:
            return
        first, last = float(self.scheduler.sigmas[0]), float(self.scheduler.sigmas[-1])
        if first > 1.01 * high or last < 0.99 * low:
            logger.warning(
                f"The ladder runs from {first:.4g} to {last:.4g}, but the network was trained on sigmas from "
                f"{high:.4g} to {low:.4g}: its score outside of them is a guess."
            )

    def _start(self, batch_size: int, generator: Generators, latents: Tensor | None, device: torch.device) -> Tensor:
        """The first samples, float32 whatever the network's precision, shape `(B, C, H, W)`."""
        shape = self._image_shape()
        if latents is None and getattr(self.scheduler.config, "initial", "normal") == "uniform":
            low, high = self.config.data_min, self.config.data_max
            return low + (high - low) * self._uniform((batch_size, *shape), generator).to(device)
        if latents is None:
            latents = randn_tensor((batch_size, *shape), generator=generator, device=device, dtype=torch.float32)
        return latents.to(device, torch.float32) * self.scheduler.init_noise_sigma

    @staticmethod
    def _uniform(shape: tuple[int, ...], generator: Generators) -> Tensor:
        """U[0, 1] as the distribution function of unit normal noise, which takes one generator or one for each."""
        first = generator[0] if isinstance(generator, list) else generator
        device = first.device if first is not None else None
        return torch.special.ndtr(randn_tensor(shape, generator=generator, device=device, dtype=torch.float32)).cpu()

    def _images(self, x: Tensor, output_type: str) -> Any:
        low, high = self.config.data_min, self.config.data_max
        x = ((x - low) / (high - low)).clamp(0, 1)
        if output_type == "pt":
            return x
        array = x.permute(0, 2, 3, 1).cpu().numpy()
        return array if output_type == "np" else self.numpy_to_pil(array)

    # Self-contained folders

    def save_config(self, save_directory: str | os.PathLike, push_to_hub: bool = False, **kwargs: Any) -> None:
        """Writes `model_index.json` and, beside the weights of each part, the file of its code.

        `save_pretrained` calls this last, so that what it pushes is complete.

        Raises:
            ValueError: for a part that cannot be written as one self-contained file.
        """
        super().save_config(save_directory, push_to_hub=False, **kwargs)
        folder = Path(save_directory)
        index_path = folder / self.config_name
        index = json.loads(index_path.read_text())
        index.pop("_name_or_path", None)
        index["_class_name"] = [_copy_code(type(self), folder), type(self).__name__]
        for name, component in self.components.items():
            component_class = type(getattr(component, "_orig_mod", component))
            if index[name][0] != "diffusers":
                index[name] = [_copy_code(component_class, folder / name), component_class.__name__]
            _forget_origin(folder / name)
        index_path.write_text(json.dumps(index, indent=2, sort_keys=True) + "\n")

    def save_pretrained(self, save_directory: str | os.PathLike, **kwargs: Any) -> None:
        """Writes the pipeline as a self-contained folder; arguments as in `DiffusionPipeline.save_pretrained`.

        Raises:
            ValueError: for a part that cannot be written as one self-contained file, before anything is written.
        """
        for part in (self, *self.components.values()):
            _code_file(type(getattr(part, "_orig_mod", part)))
        super().save_pretrained(str(save_directory), **kwargs)

    @classmethod
    def load_config(cls, *args: Any, **kwargs: Any) -> Any:
        """Reads `model_index.json`; in the installed package, its own classes stand in for the code in the folder."""
        config = super().load_config(*args, **kwargs)
        index = config[0] if isinstance(config, tuple) else config
        if _PACKAGE_ROOT:
            if isinstance(index.get("_class_name"), list):
                index["_class_name"] = index["_class_name"][1]
            for name, value in index.items():
                if isinstance(value, list) and isinstance(value[0], str):
                    index[name] = [_installed_module(value[0]), value[1]]
        return config


def _installed_module(stem: str) -> str:
    """The package's module of that file name, or the name as it is for code that the package does not have."""
    for folder in _COMPONENT_FOLDERS:
        module = f"{_PACKAGE_ROOT}.{folder}.{stem}"
        if stem.isidentifier() and importlib.util.find_spec(module):
            return module
    return stem


def _code_file(component_class: type) -> Path | None:
    """The file that defines a part; `None` for a class of diffusers, which needs no code beside it."""
    if component_class.__module__.split(".")[0] == "diffusers":
        return None
    path = Path(inspect.getfile(component_class))
    if not path.name.startswith(("modeling_", "scheduling_", "pipeline_")):
        raise ValueError(
            f"A pipeline with {component_class.__name__} cannot be saved: {path.name} is not a self-contained file of "
            "a network or scheduler (modeling_*.py, scheduling_*.py). Wrappers for experiments stay in memory."
        )
    return path


def _forget_origin(folder: Path) -> None:
    """Takes the place that a part was loaded from, a path of this machine, out of its configuration."""
    for path in folder.glob("*config.json"):
        config = json.loads(path.read_text())
        if config.pop("_name_or_path", None) is not None:
            path.write_text(json.dumps(config, indent=2, sort_keys=True) + "\n")


def _copy_code(component_class: type, folder: Path) -> str:
    """Copies the file that defines a part into `folder`; its name without the ending is what the index refers to."""
    path = _code_file(component_class)
    if path.resolve() != (folder / path.name).resolve():
        shutil.copyfile(path, folder / path.name)
    return path.stem
