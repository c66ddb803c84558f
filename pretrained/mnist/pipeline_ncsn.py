"""Images from noise by a score network and an annealed sampler.

The pipeline starts from noise of the largest level, asks the network for the score at the sigma of each of the
scheduler's `timesteps`, and lets the scheduler follow it:

    x ~ N(0, sigma_1² I)
    for sigma in scheduler.timesteps:
        x <- scheduler.step(network(x, sigma), sigma, x)

A saved pipeline is a folder that holds the code of its parts beside their weights, so that it loads by
`DiffusionPipeline.from_pretrained(folder, trust_remote_code=True)` where this package is not installed, and by
`NCSNPipeline.from_pretrained(folder)` where it is.  From the Hub, `trust_remote_code=True` runs code of that
repository: read it, and pin what was read by `revision="<commit>"` beside it.

The solvers of diffusers follow a score too (`pipe.scheduler = EDMEulerScheduler.from_config(pipe.scheduler.config)`).
They ask for another output of the network, and some for another space; with d = x + sigma² s, the denoised x,

    Euler, Heun                             epsilon = -sigma s, in x itself
    DPM-Solver multistep, DEIS, UniPC       epsilon = -sigma s, in alpha x with alpha = 1 / sqrt(1 + sigma²)
    EDM Euler, EDM DPM-Solver multistep     F = (d - c_skip x) / c_out, in x itself
"""

import functools
import importlib
import importlib.util
import inspect
import json
import math
import os
import shutil
from collections.abc import Callable, Sequence
from numbers import Integral
from pathlib import Path
from typing import Any

import torch
from diffusers import DiffusionPipeline, ImagePipelineOutput, UNet2DModel
from diffusers.utils import logging
from diffusers.utils.torch_utils import randn_tensor
from torch import Tensor

logger = logging.get_logger(__name__)

Generators = torch.Generator | list[torch.Generator] | None

# Modules of the installed package are named `{root}.pipelines.pipeline_ncsn`; as code beside weights there is no root.
_PACKAGE_ROOT = __name__.rpartition(".pipelines.")[0]
_COMPONENT_FOLDERS = ("networks", "sampling")

# Written into every folder: whose code this is, and how the folder is laid out.
VERSION = "0.1.0"
FOLDER_FORMAT = 1

_SOLVERS = {
    "EDMEulerScheduler": "preconditioned",
    "EDMDPMSolverMultistepScheduler": "preconditioned",
    "EulerDiscreteScheduler": "exploding",
    "HeunDiscreteScheduler": "exploding",
    "DPMSolverMultistepScheduler": "preserving",
    "DEISMultistepScheduler": "preserving",
    "UniPCMultistepScheduler": "preserving",
}
# What a solver's configuration must have, where it has it: any other value asks for another output or another ladder.
_SOLVER_SETTINGS = {
    "prediction_type": "epsilon",
    "final_sigmas_type": "zero",
    "thresholding": False,
    "clip_sample": False,
    "use_flow_sigmas": False,
}


class NCSNPipeline(DiffusionPipeline):
    """Unconditional and class-conditional image generation with a noise-conditional score network.

    Args:
        unet: the score network, `(sample, sigma, class_labels=None) -> .sample`, the score.  Its config has
            `sample_size` and `in_channels`, and `num_class_embeds` where it has classes.
        scheduler: `AnnealedLangevinScheduler` or `ConsistentAnnealedScheduler`, or of diffusers' solvers EDMEuler,
            EDMDPMSolverMultistep, and with `use_karras_sigmas=True` or `use_exponential_sigmas=True` Euler, Heun,
            DPMSolverMultistep, DEISMultistep and UniPCMultistep, made by `from_config(pipe.scheduler.config)`, which
            takes the ladder's ends over.
        data_min: the value of black in the network's own range.
        data_max: the value of white, > `data_min`.

    Raises:
        ValueError: for an empty range of data; when called, for a scheduler that does not follow scores.
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
            num_inference_steps: exactly this many network evaluations N, except that Heun's second order makes 2N - 1;
                by default the scheduler's whole ladder, for a solver of diffusers as many as that has levels.
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
        if guidance_scale not in (None, 1):
            self._null_class("guidance_scale")
        device = self._execution_device
        overrides = {"sigmas": sigmas, "steps_per_level": steps_per_level, "step_size": step_size}
        self._set_timesteps(num_inference_steps, device, {k: v for k, v in overrides.items() if v is not None})

        x = self._start(batch_size, generator, latents, device)
        conditioning = {} if labels is None else {"class_labels": labels.to(device)}
        dtype = self.unet.dtype
        self._interrupt = False
        for i, sigma in enumerate(self.progress_bar(self._sigmas())):
            score = self._score(x, sigma, conditioning, guidance_scale, dtype)
            x = self._step(i, x, score, generator)
            if callback_on_step_end is not None:
                given = {name: x for name in callback_on_step_end_tensor_inputs}
                x = (callback_on_step_end(self, i, sigma, given) or {}).get("latents", x)
                if self._interrupt:
                    break

        images = self._images(x, output_type)
        self.maybe_free_model_hooks()
        return ImagePipelineOutput(images=images) if return_dict else (images,)

    @classmethod
    def from_ddpm(cls, source: str | os.PathLike | DiffusionPipeline, **kwargs: Any) -> "NCSNPipeline":
        """A pipeline from a U-Net trained as DDPM or DDIM, which becomes a score at any sigma; see `DDPMScoreModel`.

        Args:
            source: a folder, a repository on the Hub, or a loaded pipeline with a `UNet2DModel` and its scheduler.
            **kwargs: `scheduler`, by default annealed Langevin dynamics over the trained noise levels; `null_class`,
                whether the last class is the null class; the rest as in `DiffusionPipeline.from_pretrained`, where
                `revision` pins a repository.

        Raises:
            ValueError: for a pipeline that does not turn noise into images by one such U-Net.
            ImportError: where this file is not part of the installed package.
        """
        if not _PACKAGE_ROOT:
            raise ImportError("from_ddpm needs the installed package: use ncsn_pipeline.NCSNPipeline.from_ddpm.")
        ddpm = importlib.import_module(f"{_PACKAGE_ROOT}.pipelines.ddpm")
        return cls(**ddpm.parts_from_ddpm(source, **kwargs))

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

    # One run, in parts that a subclass can put together anew

    def _sigmas(self) -> Tensor:
        """Sigma of every network evaluation, in order."""
        if self._follows_scores:
            return self.scheduler.timesteps
        evaluations = self.scheduler.timesteps
        return self.scheduler.sigmas[: len(evaluations)].to(evaluations.device)

    def _score(
        self,
        x: Tensor,
        sigma: Tensor,
        conditioning: dict[str, Tensor],
        guidance_scale: float | None = None,
        dtype: torch.dtype | None = None,
    ) -> Tensor:
        """The score at `x` in the precision of `x`; guided, s_null + w (s_class - s_null) from one evaluation.

        Args:
            x: samples, shape `(B, C, H, W)`.
            sigma: their noise level, shape `()`.
            conditioning: `{}` or `{"class_labels": (B,)}`.
            guidance_scale: w; 1 and `None` use the class's score alone.
            dtype: of the network, for those who know it; `None` looks it up, which takes time at every step.
        """
        dtype = dtype or self.unet.dtype
        if guidance_scale in (None, 1):
            return self.unet(x.to(dtype), sigma, return_dict=False, **conditioning)[0].to(x.dtype)
        labels = conditioning["class_labels"]
        labels = torch.cat([torch.full_like(labels, self._null_class("guidance_scale")), labels])
        scores = self.unet(torch.cat([x, x]).to(dtype), sigma, return_dict=False, class_labels=labels)[0]
        null, conditional = scores.to(x.dtype).chunk(2)
        return torch.lerp(null, conditional, guidance_scale)

    def _step(self, i: int, x: Tensor, score: Tensor, generator: Generators) -> Tensor:
        """The samples after evaluation number `i`, from those before it and their score."""
        scheduler, t = self.scheduler, self.scheduler.timesteps[i]
        if self._follows_scores:
            return scheduler.step(score, t, x, generator=generator, return_dict=False)[0]
        sigma, following = scheduler.sigmas[i : i + 2].tolist()
        last = i == self.num_timesteps - 1
        kind = _SOLVERS[type(scheduler).__name__]
        if last and following == sigma:  # DEIS would stand still: this step denoises instead
            x = x.add(score, alpha=sigma**2)
        else:
            output = score * -sigma
            if kind == "preconditioned":
                c_skip, c_out = (scheduler.precondition_outputs(*unit, sigma) for unit in ((1.0, 0.0), (0.0, 1.0)))
                output = x.mul((1 - c_skip) / c_out).add_(score, alpha=sigma**2 / c_out)
            alpha, next_alpha = (1 / math.sqrt(1 + s**2) if kind == "preserving" else 1.0 for s in (sigma, following))
            noise = {"generator": generator} if _steps_take_a_generator(type(scheduler)) else {}
            x = scheduler.step(output, t, x * alpha, return_dict=False, **noise)[0] / next_alpha
        if last and not math.isfinite(float(x.sum(dtype=torch.float32))):
            raise FloatingPointError(
                f"The samples of {type(scheduler).__name__} are not finite. Take more steps (num_inference_steps), or "
                "a sigma_max within the range that the network was trained on."
            )
        return x

    @property
    def _follows_scores(self) -> bool:
        """Whether the scheduler is one of this package, which take the score as it is."""
        return getattr(self.scheduler, "model_output_type", None) == "score"

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
        if not self._follows_scores:
            _check_solver(self.scheduler)
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
            return torch.full((batch_size,), self._null_class("class_labels='none'"))
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

    def _null_class(self, wanted_for: str) -> int:
        """The index of the null class, which networks of this package have and U-Nets of diffusers do not."""
        config = self.unet.config
        classes = getattr(config, "num_class_embeds", None)
        if classes is None:
            raise ValueError(f"{wanted_for} needs a model with classes; this one has none. Leave it out.")
        if not getattr(config, "null_class", not isinstance(getattr(self.unet, "_orig_mod", self.unet), UNet2DModel)):
            raise ValueError(f"{wanted_for} needs a null class, and this model was trained without one. Leave it out.")
        return classes

    def _set_timesteps(self, num_inference_steps: int | None, device: torch.device, overrides: dict[str, Any]) -> None:
        known = inspect.signature(self.scheduler.set_timesteps).parameters if self._follows_scores else {}
        unknown = sorted(set(overrides) - set(known))
        if unknown:
            raise ValueError(f"{type(self.scheduler).__name__} has no {', '.join(unknown)}. Leave it out.")
        if self._follows_scores:
            self.scheduler.set_timesteps(num_inference_steps, device, **overrides)
        else:
            steps = self.scheduler.config.num_train_timesteps if num_inference_steps is None else num_inference_steps
            if not isinstance(steps, Integral) or isinstance(steps, bool) or steps < 1:
                raise ValueError(f"num_inference_steps must be at least 1 and a whole number; got {steps}.")
            self.scheduler.set_timesteps(steps, device)
            # Levels are counted, not looked up by a time that is rounded; x is scaled here, not by the scheduler.
            self.scheduler.set_begin_index(0)
            self.scheduler.is_scale_input_called = True
            first, high = float(self.scheduler.sigmas[0]), self.scheduler.config.sigma_max
            if not math.isclose(first, high, rel_tol=1e-3):
                raise ValueError(
                    f"{type(self.scheduler).__name__} laid {steps} step(s) out from {first:.4g}, not from sigma_max = "
                    f"{high:.4g}. Take more steps."
                )
        low, high = (getattr(self.unet.config, name, None) for name in ("sigma_min", "sigma_max"))
        if low is None or high is None:
            return
        first, last = self._sigmas()[[0, -1]].tolist()
        if first > 1.01 * high or last < 0.99 * low:
            logger.warning(
                f"The ladder runs from {first:.4g} to {last:.4g}, but the network was trained on sigmas from "
                f"{high:.4g} to {low:.4g}: its score outside of them is a guess."
            )

    def _start(self, batch_size: int, generator: Generators, latents: Tensor | None, device: torch.device) -> Tensor:
        """The first samples, float32 whatever the network's precision, shape `(B, C, H, W)`."""
        shape = self._image_shape()
        uniform = self._follows_scores and getattr(self.scheduler.config, "initial", "normal") == "uniform"
        if latents is None and uniform:
            low, high = self.config.data_min, self.config.data_max
            return low + (high - low) * self._uniform((batch_size, *shape), generator).to(device)
        if latents is None:
            latents = randn_tensor((batch_size, *shape), generator=generator, device=device, dtype=torch.float32)
        first = self.scheduler.init_noise_sigma if self._follows_scores else float(self.scheduler.sigmas[0])
        return latents.to(device, torch.float32) * first

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
        index |= {"_ncsn_pipeline_version": VERSION, "_ncsn_pipeline_format": FOLDER_FORMAT}
        # A subclass is another way to sample the same parts: its folder is an ordinary one.
        index["_class_name"] = [_copy_code(NCSNPipeline, folder), NCSNPipeline.__name__]
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
        for part in self.components.values():
            _code_file(type(getattr(part, "_orig_mod", part)))
        super().save_pretrained(str(save_directory), **kwargs)

    @classmethod
    def load_config(cls, *args: Any, **kwargs: Any) -> Any:
        """Reads `model_index.json`; in the installed package, its own classes stand in for the code in the folder.

        In a folder of score-SDE's variance-exploding networks, as `ScoreSdeVePipeline` wrote it, they stand in for its
        scheduler, which stores its ladder by the same names.  Those networks were trained on images in 0 ... 1.
        """
        config = super().load_config(*args, **kwargs)
        index = config[0] if isinstance(config, tuple) else config
        if _PACKAGE_ROOT:
            if index.get("scheduler") == ["diffusers", "ScoreSdeVeScheduler"]:
                index["scheduler"] = ["scheduling_consistent_annealed", "ConsistentAnnealedScheduler"]
            for name, value in index.items():
                if isinstance(value, list) and isinstance(value[0], str):
                    index[name] = [_installed_module(value[0]), value[1]]
        return config

    @classmethod
    def _dict_from_json_file(cls, json_file: str | os.PathLike) -> dict[str, Any]:
        """What `load_config` and the download from the Hub read, with this class in place of the folder's code.

        Raises:
            ValueError: for a folder of a newer format.
        """
        index = super()._dict_from_json_file(json_file)
        found = index.get("_ncsn_pipeline_format", FOLDER_FORMAT)
        if not isinstance(found, int) or found > FOLDER_FORMAT:
            raise ValueError(
                f"This folder has format {found}, written by ncsn_pipeline {index.get('_ncsn_pipeline_version')}; "
                f"version {VERSION} knows formats up to {FOLDER_FORMAT}. Upgrade ncsn_pipeline."
            )
        if _PACKAGE_ROOT and isinstance(index.get("_class_name"), list):
            index["_class_name"] = index["_class_name"][1]
        return index


@functools.cache
def _steps_take_a_generator(scheduler_class: type) -> bool:
    """Whether a scheduler of diffusers adds noise in its steps."""
    return "generator" in inspect.signature(scheduler_class.step).parameters


def _check_solver(scheduler: Any) -> None:
    """Refuses a scheduler of diffusers that would not follow the score to the right density."""
    name, config = type(scheduler).__name__, getattr(scheduler, "config", {})
    if name not in _SOLVERS:
        raise ValueError(
            f"{name} does not take scores. AnnealedLangevinScheduler and ConsistentAnnealedScheduler do, and these "
            f"schedulers of diffusers are adapted: {', '.join(_SOLVERS)}. "
            "For example `pipe.scheduler = EDMEulerScheduler.from_config(pipe.scheduler.config)`."
        )
    option = "" if _SOLVERS[name] == "preconditioned" else ", use_karras_sigmas=True"
    low, high = config.get("sigma_min"), config.get("sigma_max")
    wrong = [f"{key} is {config[key]!r}" for key, value in _SOLVER_SETTINGS.items() if config.get(key, value) != value]
    if option and not (config.get("use_karras_sigmas") or config.get("use_exponential_sigmas")):
        wrong.append("its default spacing ignores sigma_min and sigma_max")
    if low is None or high is None or not 0 < low < high < math.inf:
        wrong.append(f"sigma_min and sigma_max are {low} and {high}")
    if wrong:
        raise ValueError(
            f"This {name} does not take scores: {', '.join(wrong)}. Make it from a scheduler with the model's ladder, "
            f"`pipe.scheduler = {name}.from_config(pipe.scheduler.config{option})`, and leave the rest as it is."
        )


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
