"""Images from noise by a score network and an annealed sampler.

The pipeline starts from noise of the largest level, asks the network for the score at the sigma of each row of the
scheduler's table, and takes the row's step:

    x ~ N(0, sigma_1² I)
    for sigma, a, b, _ in scheduler.table:
        x <- x + a score(x, sigma) + b z

What adds no noise keeps what it starts from: the solvers of diffusers, and a table of our own with b = 0 all the way,
start around the mean instead:

    x ~ N(D(0), sigma_1² I),    D(x) = x + sigma_1² score(x, sigma_1)

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

import inspect
import json
import math
import os
import shutil
from collections.abc import Callable, Sequence
from numbers import Integral, Real
from pathlib import Path
from typing import Any, NamedTuple

import torch
from diffusers import DiffusionPipeline, ImagePipelineOutput, UNet2DModel
from diffusers.utils import logging
from diffusers.utils.torch_utils import randn_tensor
from torch import Tensor

logger = logging.get_logger(__name__)

Generators = torch.Generator | list[torch.Generator] | None
Labels = int | str | Sequence[int | str] | Tensor | None

NoisyScoreFn = Callable[..., Tensor]  # (x, sigma) -> score; the network's own also takes class_labels
Given = Callable[[NoisyScoreFn], NoisyScoreFn]
Scale = float | None | Callable[[], float | None]

# Written into every folder: whose code this is, and how the folder is laid out.
VERSION = "0.1.0"
FOLDER_FORMAT = 2

_SOLVERS = {
    "EDMEulerScheduler": "preconditioned",
    "EDMDPMSolverMultistepScheduler": "preconditioned",
    "EulerDiscreteScheduler": "variance_exploding",
    "HeunDiscreteScheduler": "variance_exploding",
    "DPMSolverMultistepScheduler": "variance_preserving",
    "DEISMultistepScheduler": "variance_preserving",
    "UniPCMultistepScheduler": "variance_preserving",
}
# What a solver's configuration must have, where it has it: any other value asks for another output or other levels.
_SOLVER_SETTINGS = {
    "prediction_type": "epsilon",
    "final_sigmas_type": "zero",
    "thresholding": False,
    "clip_sample": False,
    "use_flow_sigmas": False,
    "use_beta_sigmas": False,
    "use_lu_lambdas": False,
}
_FROM_DDPM = (
    "A U-Net that was trained as DDPM predicts noise, not a score; ncsn_pipeline.pipelines.from_ddpm makes one of it, "
    "from its pipeline, folder or name."
)


class Units(NamedTuple):
    """The affine map between the data's own space and the network's, where sigma is measured.

    Args:
        shift: the network's value of the data's 0.
        scale: network units per data unit, > 0.
    """

    shift: float
    scale: float

    def to_model(self, x: Tensor) -> Tensor:
        """Data as the network sees them."""
        return self.shift + self.scale * x

    def to_given(self, x: Tensor) -> Tensor:
        """What the network made, in the data's own units, not clamped."""
        return (x - self.shift) / self.scale


# Copied from ncsn_pipeline.guidance.classifier_free
def classifier_free(
    labels: Tensor, null: int, scale: Scale = None, interval: tuple[float, float] | None = None
) -> Callable[[Callable[..., Tensor]], NoisyScoreFn]:
    """Classifier-free guidance, s_null + w (s_class - s_null), from one evaluation of twice the batch."""

    def given(score: Callable[..., Tensor]) -> NoisyScoreFn:
        def guided(x: Tensor, sigma: Tensor) -> Tensor:
            w = scale() if callable(scale) else scale
            if w is None or (isinstance(w, Real) and w == 1):
                return score(x, sigma, class_labels=labels)
            if interval is not None:
                inside = (interval[0] <= sigma) & (sigma <= interval[1])
                if not inside.any():
                    return score(x, sigma, class_labels=labels)
                if sigma.dim():
                    w = torch.where(inside.reshape(-1, *[1] * (x.dim() - 1)), w, 1.0)
            both = torch.cat([torch.full_like(labels, null), labels])
            sigma = sigma.repeat(2) if sigma.dim() else sigma
            unconditional, conditional = score(torch.cat([x, x]), sigma, class_labels=both).chunk(2)
            w = w.to(unconditional.dtype) if isinstance(w, Tensor) else w
            return torch.lerp(unconditional, conditional, w)

        return guided

    return given


def _adds_no_noise(table: Any) -> bool:
    """Whether a table of several rows follows the flow; a single row denoises."""
    return len(table) > 1 and all(row.b == 0 for row in table)


class SolverSteps:
    """A solver of diffusers, followed as a table is: it has noise levels and a step by the score.

    Args:
        scheduler: one of EDMEuler, EDMDPMSolverMultistep, Euler, Heun, DPMSolverMultistep, DEISMultistep and
            UniPCMultistep, with the noise levels of `from_config(pipe.scheduler.config)`.
        num_inference_steps: number of steps; by default as many as it has levels.
        device: where it keeps its timesteps.

    One without a spacing that keeps to these levels is given one, `use_exponential_sigmas`, and says so once.

    Raises:
        ValueError: for a scheduler that would not follow the score to the right density, or a number below 1.
    """

    def __init__(self, scheduler: Any, num_inference_steps: int | None, device: torch.device) -> None:
        _check_solver(scheduler)
        count = scheduler.config.num_train_timesteps if num_inference_steps is None else num_inference_steps
        if not isinstance(count, Integral) or isinstance(count, bool) or count < 1:
            raise ValueError(f"num_inference_steps must be at least 1 and a whole number; got {count}.")
        scheduler.set_timesteps(int(count), device)
        scheduler.is_scale_input_called = True  # x is scaled here
        first, high = float(scheduler.sigmas[0]), scheduler.config.sigma_max
        if not math.isclose(first, high, rel_tol=1e-3):
            raise ValueError(
                f"{type(scheduler).__name__} laid {count} step(s) out from {first:.4g}, not from sigma_max = "
                f"{high:.4g}. Take more steps."
            )
        self.scheduler, self.kind = scheduler, _SOLVERS[type(scheduler).__name__]
        self.adds_noise = "generator" in inspect.signature(scheduler.step).parameters
        self.sigmas = scheduler.sigmas[: len(scheduler.timesteps)].tolist()

    def step(self, i: int, x: Tensor, score: Tensor, generator: Generators = None) -> Tensor:
        """The samples after step `i`, from those before it and their score, all of shape `(B, C, H, W)`.

        Raises:
            FloatingPointError: for samples that are not finite at the last step.
        """
        scheduler = self.scheduler
        if scheduler.step_index is None:
            scheduler.set_begin_index(i)  # levels are counted, not looked up by a time that is rounded
        sigma, following = scheduler.sigmas[i : i + 2].tolist()
        last = i == len(self.sigmas) - 1
        if last and following == sigma:  # DEIS would stand still: this step denoises instead
            x = x.add(score, alpha=sigma**2)
        else:
            output = score * -sigma
            if self.kind == "preconditioned":
                c_skip, c_out = (scheduler.precondition_outputs(*unit, sigma) for unit in ((1.0, 0.0), (0.0, 1.0)))
                output = x.mul((1 - c_skip) / c_out).add_(score, alpha=sigma**2 / c_out)
            preserving = self.kind == "variance_preserving"
            alpha, next_alpha = (1 / math.sqrt(1 + s**2) if preserving else 1.0 for s in (sigma, following))
            noise = {"generator": generator} if self.adds_noise else {}
            t = scheduler.timesteps[i]
            x = scheduler.step(output, t, x * alpha, return_dict=False, **noise)[0] / next_alpha
        if last and not math.isfinite(float(x.sum(dtype=torch.float32))):
            raise FloatingPointError(
                f"The samples of {type(scheduler).__name__} are not finite. Take more steps (num_inference_steps), or "
                "a sigma_max within the range that the network was trained on."
            )
        return x


class NCSNPipeline(DiffusionPipeline):
    """Unconditional and class-conditional image generation with a noise-conditional score network.

    A call keeps its state in the pipeline (guidance, interruption, and `num_timesteps`, how many steps and callbacks it
    has; the evaluation for the start of a run without noise is not among them) and in its scheduler (the layout of the
    run, a solver's last steps): two calls of one pipeline at once, in two threads, mix their samples without a word.
    Each thread needs a pipeline with a scheduler of its own, which share the weights:

        own = NCSNPipeline.from_pipe(pipe, scheduler=type(pipe.scheduler).from_config(pipe.scheduler.config))

    `from_pipe` also keeps `data_min` and `data_max`, which are not in `components`.

    Args:
        unet: the score network, called as `unet(sample, sigma, class_labels=..., return_dict=False)`; it returns
            `(score,)`.  Its config has `sample_size` and `in_channels`, and `num_class_embeds` where it has classes.
        scheduler: `AnnealedLangevinScheduler`, `ConsistentAnnealedScheduler` or `PredictorCorrectorScheduler`, or of
            diffusers' solvers EDMEuler, EDMDPMSolverMultistep, Euler, Heun, DPMSolverMultistep, DEISMultistep and
            UniPCMultistep, made by `from_config(pipe.scheduler.config)`, which takes the ends of the noise levels over.
            The last five lay them out as geometric levels (`use_exponential_sigmas`), or by `use_karras_sigmas=True`.
        data_min: the value of black in the network's own range.
        data_max: the value of white, > `data_min`.

    Raises:
        ValueError: for an empty range of data; when called, for a scheduler that does not follow scores.
    """

    model_cpu_offload_seq = "unet"
    _callback_tensor_inputs = ["latents", "score", "denoised"]

    def __init__(self, unet: Any, scheduler: Any, data_min: float = 0.0, data_max: float = 1.0) -> None:
        super().__init__()
        if not (math.isfinite(data_min) and math.isfinite(data_max) and data_min < data_max):
            raise ValueError(f"data_min < data_max must hold and both be finite; got {data_min} and {data_max}.")
        network = getattr(unet, "_orig_mod", unet)
        if isinstance(network, UNet2DModel) and network.config.time_embedding_type != "fourier":
            logger.warning(
                f"This UNet2DModel has an embedding of numbered steps, as DDPM's have: is it a score? {_FROM_DDPM}"
            )
        self.register_modules(unet=unet, scheduler=scheduler)
        self.register_to_config(data_min=data_min, data_max=data_max)
        self._guidance_scale: float | None = None
        self._guidance_interval: tuple[float, float] | None = None
        self._interrupt = False
        self.num_timesteps = 0

    @torch.no_grad()
    def __call__(
        self,
        batch_size: int = 1,
        generator: Generators = None,
        num_inference_steps: int | None = None,
        sigmas: Sequence[float] | Tensor | None = None,
        latents: Tensor | None = None,
        class_labels: Labels = None,
        guidance_scale: float | None = None,
        guidance_interval: tuple[float, float] | None = None,
        given: Given | Sequence[Given] | None = None,
        output_type: str = "pil",
        return_dict: bool = True,
        callback_on_step_end: Callable[[Any, int, Tensor, dict[str, Tensor]], dict[str, Tensor] | None] | None = None,
        callback_on_step_end_tensor_inputs: Sequence[str] = ("latents",),
    ) -> ImagePipelineOutput | tuple:
        """Draws images.

        Args:
            batch_size: number of images, >= 1.
            generator: source of all randomness, or one for each image; the same seed gives the same images on CPU.  A
                call that is refused draws nothing from it.
            num_inference_steps: exactly this many network evaluations N, except that Heun's second order makes 2N - 1,
                and that samplers without noise, and all solvers of diffusers, make one more for the start; by default
                the scheduler's whole noise schedule, for a solver of diffusers as many as that has levels.
            sigmas: the noise levels of this call, strictly decreasing, > 0, in data units.
            latents: the start as unit normal noise, shape `(batch_size, C, H, W)`; scaled by sigma_1.
            class_labels: one class for all images or one for each, by number or by its name in the network's
                `id2label`, or `"random"` to draw them uniformly with `generator`.
                `None` and `"none"` are the null class; for a network that draws in few evaluations, which is trained on
                classes alone, they are drawn as frequent as in its training data (`class_frequencies`).
            guidance_scale: w of classifier-free guidance, s_null + w (s_class - s_null), finite and >= 0; 1 and `None`
                use the class's score alone.  Both scores come from one evaluation of twice the batch.
            guidance_interval: the smallest and the largest noise level that are guided, in data units; `None` for all.
                Guided around the data's deviation alone, samples keep more of their variety.
            given: further conditions: a transform of the score, as those of `ncsn_pipeline.guidance`, or a list applied
                in turn, `[f, g]` for g(f(score)).
            output_type: `"pil"`, `"np"` for `(B, H, W, C)` or `"pt"` for `(B, C, H, W)`, all in [0, 1]; `"raw"` for
                `(B, C, H, W)` in the same units, not clamped; `"latent"` for the samples as the network sees them.
            return_dict: whether to return an `ImagePipelineOutput` or a tuple.
            callback_on_step_end: called as `callback(pipeline, i, sigma, tensors)` after each evaluation; the
                `"latents"` that it returns replace the samples.  It may set `pipeline.interrupt = True`, which ends the
                run there, and `pipeline.guidance_scale`.
            callback_on_step_end_tensor_inputs: names of the tensors it is given: `latents`, the samples after the
                step; `score` and `denoised`, x + sigma² s, before it.

        Returns:
            The images: an `ImagePipelineOutput` with `.images`, or a tuple of them.

        Raises:
            ValueError: for an argument outside its range, before any work is done.
            FloatingPointError: for samples that are not finite.
        """
        if isinstance(generator, tuple):
            generator = list(generator)
        self._check_inputs(batch_size, generator, latents, given, output_type, callback_on_step_end_tensor_inputs)
        self.guidance_scale, self.guidance_interval = guidance_scale, guidance_interval
        steps = self._steps(num_inference_steps, sigmas)
        labels = self._labels(class_labels, batch_size, generator)
        score = self._score(labels, given)
        x = self._start(batch_size, generator, latents, steps, score)
        x = self._run(score, x, steps, generator, callback_on_step_end, callback_on_step_end_tensor_inputs)
        return self._output(x, output_type, return_dict)

    @classmethod
    def from_pipe(cls, pipeline: DiffusionPipeline, **kwargs: Any) -> "NCSNPipeline":
        """The same parts, shared: nothing is copied or moved; where a type is named, both pipelines' network is cast.

        Args:
            pipeline: any pipeline of this package.
            **kwargs: parts and settings in place of its own, as `scheduler=...`; `torch_dtype` or `dtype`.

        Raises:
            ValueError: for a pipeline of another kind.
        """
        dtype, other = kwargs.pop("torch_dtype", None), kwargs.pop("dtype", None)
        if "data_min" not in pipeline.config:
            raise ValueError(f"{type(pipeline).__name__} does not hold a score network. {_FROM_DDPM}")
        settings = {name: pipeline.config[name] for name in ("data_min", "data_max")}
        shared = cls(**pipeline.components | settings | kwargs)
        return shared.to(dtype=dtype or other) if dtype or other else shared

    # Whether the run in progress ends after this evaluation; a callback sets it.
    interrupt = property(lambda self: self._interrupt, lambda self, value: setattr(self, "_interrupt", value))

    @property
    def guidance_scale(self) -> float | None:
        """w of the run in progress, read at each evaluation; a callback may set it, to a finite number >= 0."""
        return self._guidance_scale

    @guidance_scale.setter
    def guidance_scale(self, value: float | None) -> None:
        number = isinstance(value, Real) and not isinstance(value, bool)
        if value is not None and not (number and math.isfinite(value) and value >= 0):
            raise ValueError(f"guidance_scale must be finite and >= 0; got {value!r}.")
        if value not in (None, 1):
            self._check_is_score("guidance_scale")
            self._null_class("guidance_scale")
        self._guidance_scale = value

    @property
    def guidance_interval(self) -> tuple[float, float] | None:
        """The noise levels between which the run in progress is guided, `None` for all."""
        return self._guidance_interval

    @guidance_interval.setter
    def guidance_interval(self, value: tuple[float, float] | None) -> None:
        if value is not None:
            low, high = value if isinstance(value, Sequence) and len(value) == 2 else (math.nan, math.nan)
            if not (isinstance(low, Real) and isinstance(high, Real) and 0 <= low < high):
                raise ValueError(f"guidance_interval must be two noise levels, the smaller one first; got {value!r}.")
            if self._guidance_scale is None:
                raise ValueError(f"guidance_interval is {value!r}, but nothing is guided. Give guidance_scale.")
        self._guidance_interval = value

    @property
    def units(self) -> Units:
        """From images in [0, 1] to the network's range, and back."""
        low, high = self.config.data_min, self.config.data_max
        return Units(low, high - low)

    def _steps(self, num_inference_steps: int | None, sigmas: Sequence[float] | Tensor | None) -> Any:
        """What is followed: the scheduler's table for this run, or a solver of diffusers in its place."""
        scheduler, device = self.scheduler, self._execution_device
        if getattr(scheduler, "model_output_type", None) == "score":
            scheduler.set_timesteps(num_inference_steps, device, sigmas=sigmas)
            steps = scheduler.table
        elif sigmas is not None and type(scheduler).__name__ in _SOLVERS:
            raise ValueError(f"{type(scheduler).__name__} lays its noise levels out by itself. Leave sigmas out.")
        elif getattr(self.unet.config, "trained_sigmas", None) is None:
            steps = SolverSteps(scheduler, num_inference_steps, device)
        else:
            self._refuse_levels()
        self._check_levels(steps)
        low, high = (getattr(self.unet.config, name, None) for name in ("sigma_min", "sigma_max"))
        first, last = steps.sigmas[0], steps.sigmas[-1]
        if low is not None and high is not None and (first > 1.01 * high or last < 0.99 * low):
            logger.warning(
                f"The noise levels go from {first:.4g} to {last:.4g}, but the network was trained on sigmas from "
                f"{high:.4g} to {low:.4g}: scores outside this range are extrapolated."
            )
        return steps

    def _check_levels(self, steps: Any) -> None:
        """Refuses to evaluate a network that draws in few evaluations elsewhere than it was trained to.

        It takes x to a sample, at the first of its levels and then, if at all, at the next: it is no score.
        """
        known = getattr(self.unet.config, "trained_sigmas", None)
        if known is None:
            return
        levels, asked = list(known), steps.sigmas
        draws = all(math.isclose(row.a, row.sigma**2) for row in steps)
        if not draws or len(asked) > len(levels) or not all(map(math.isclose, asked, levels)):
            self._refuse_levels()

    def _refuse_levels(self) -> None:
        levels = list(self.unet.config.trained_sigmas)
        raise ValueError(
            f"{type(self.scheduler).__name__} cannot follow this network with these noise levels: it draws in "
            f"{len(levels)} evaluation(s), at sigma = {', '.join(f'{sigma:g}' for sigma in levels)}, and is no "
            f"score elsewhere. Sample by ConsistentAnnealedScheduler(sigmas={levels}, eta=1.0), all of it."
        )

    def _start(
        self, count: int, generator: Generators, latents: Tensor | None, steps: Any, score: NoisyScoreFn
    ) -> Tensor:
        """The first samples, float32 whatever the network's precision, shape `(B, C, H, W)`."""
        shape, device = (count, *self._image_shape()), self._execution_device
        solver, sigma = isinstance(steps, SolverSteps), steps.sigmas[0]
        uniform = getattr(self.scheduler.config, "initial", "normal") == "uniform"
        if latents is None and uniform and not solver:
            return self.units.to_model(self._uniform(shape, generator)).to(device)
        if latents is None:
            latents = randn_tensor(shape, generator=generator, device=device, dtype=torch.float32)
        x = latents.to(device, torch.float32) * sigma
        if solver or _adds_no_noise(steps):  # then it keeps what it starts from, and starts around the mean, D(0)
            x += score(torch.zeros_like(x), torch.tensor(sigma, device=device)) * sigma**2
        return x

    def _score(self, labels: Tensor | None, given: Given | Sequence[Given] | None = None) -> Callable[..., Tensor]:
        """The network's score in the precision of x, given the classes, and then whatever else is given."""
        dtype = self.unet.dtype  # looked up once: it takes time

        def score(x: Tensor, sigma: Tensor, class_labels: Tensor | None = None) -> Tensor:
            classes = {} if class_labels is None else {"class_labels": class_labels}
            return self.unet(x.to(dtype), sigma, return_dict=False, **classes)[0].to(x.dtype)

        if labels is not None:
            labels = labels.to(self._execution_device)
            if self._guidance_scale not in (None, 1) and bool((labels == self._num_classes).all()):
                logger.warning(
                    f"guidance_scale = {self._guidance_scale} changes nothing: every image is of the null class, from "
                    "which guidance leads away. Give class_labels."
                )
            guided = classifier_free(labels, self._num_classes, lambda: self._guidance_scale, self._guidance_interval)
            score = guided(score)
        for transform in [given] if callable(given) else given or ():
            score = transform(score)
        return score

    def _run(
        self,
        score: NoisyScoreFn,
        x: Tensor,
        steps: Any,
        generator: Generators,
        callback: Callable | None,
        tensor_inputs: Sequence[str],
        *,
        order: Sequence[int] | None = None,
        before: Callable[[Tensor, int, bool], Tensor] | None = None,
    ) -> Tensor:
        """The samples after the last step, or after the one in which the callback interrupts.

        The loop, and its hooks, are those of `ncsn_pipeline.sampling.follow`: steps are taken in `order`, by default
        each once, and `before(x, i, again)` takes the place of x ahead of each evaluation.
        """
        sigmas = torch.tensor(steps.sigmas, dtype=x.dtype, device=x.device)
        order = range(len(sigmas)) if order is None else order
        self._interrupt, self.num_timesteps, previous = False, len(order), None
        with self.progress_bar(total=len(order)) as bar:
            for number, i in enumerate(order):
                noisy = x if before is None else before(x, i, i == previous)
                s = score(noisy, sigmas[i])
                x, previous = steps.step(i, noisy, s, generator), i
                bar.update()
                if callback is None:
                    continue
                tensors = {"latents": x, "score": s, "denoised": noisy.add(s, alpha=float(sigmas[i]) ** 2)}
                returned = callback(self, number, sigmas[i], {name: tensors[name] for name in tensor_inputs}) or {}
                x = returned.get("latents", x)
                if self._interrupt:
                    break
        return x

    def _output(
        self, x: Tensor, output_type: str, return_dict: bool, kept: tuple[Tensor, Tensor] | None = None
    ) -> ImagePipelineOutput | tuple:
        """What a call returns; of `kept`, a mask and images in [0, 1], the pixels outside of the mask as they are."""
        if output_type != "latent":
            x = self.units.to_given(x)
            x = x if output_type == "raw" else x.clamp(0, 1)
            x = x if kept is None else torch.where(kept[0], x, kept[1])
        if output_type in ("np", "pil"):
            x = x.permute(0, 2, 3, 1).cpu().numpy()
        images = self.numpy_to_pil(x) if output_type == "pil" else x
        self.maybe_free_model_hooks()
        return ImagePipelineOutput(images=images) if return_dict else (images,)

    def _image_shape(self) -> tuple[int, int, int]:
        size = self.unet.config.sample_size
        height, width = (size, size) if isinstance(size, int) else size
        return self.unet.config.in_channels, height, width

    def _check_inputs(
        self, count: Any, generator: Any, latents: Tensor | None, given: Any, output_type: Any, tensor_inputs: Any
    ) -> None:
        """Refuses what is out of range, but for what the scheduler, the guidance and the labels refuse themselves."""
        if isinstance(count, bool) or not isinstance(count, Integral) or count < 1:
            raise ValueError(f"The number of images must be whole and at least 1; got {count!r}.")
        several = isinstance(generator, list)
        for one in generator if several else [generator]:
            if not isinstance(one, torch.Generator) and (several or one is not None):
                raise ValueError(
                    f"generator must be a torch.Generator, or a list of one for each image; got {one!r}. For a seed, "
                    "give torch.Generator().manual_seed(seed)."
                )
        if several and len(generator) != count:
            raise ValueError(f"{len(generator)} generators were given for {count} images; give one, or one for each.")
        if latents is not None and not isinstance(latents, Tensor):
            raise ValueError(f"latents must be a tensor of unit normal noise; got {type(latents).__name__}.")
        if latents is not None and tuple(latents.shape) != (count, *self._image_shape()):
            raise ValueError(
                f"latents have shape {tuple(latents.shape)}; it must be {(count, *self._image_shape())}, "
                "which is (images, C, H, W)."
            )
        if not all(map(callable, given if isinstance(given, list | tuple) else [given] * (given is not None))):
            raise ValueError(f"given must be a function score -> score, or a list of them; got {given!r}.")
        if given is not None:
            self._check_is_score("given")
        if output_type not in ("pil", "np", "pt", "raw", "latent"):
            raise ValueError(f"output_type must be 'pil', 'np', 'pt', 'raw' or 'latent'; got {output_type!r}.")
        if unknown := sorted(set(tensor_inputs) - set(self._callback_tensor_inputs)):
            raise ValueError(
                f"callback_on_step_end_tensor_inputs may name {self._callback_tensor_inputs}; got {unknown}."
            )

    def _check_is_score(self, wanted_for: str) -> None:
        """Refuses what changes a score where the network is none: it draws in few evaluations."""
        if getattr(self.unet.config, "trained_sigmas", None) is not None:
            raise ValueError(
                f"{wanted_for} needs a score, and this network is none: it draws in few evaluations. Leave it out, or "
                "take the model that it was made from."
            )

    @property
    def _num_classes(self) -> int | None:
        return getattr(self.unet.config, "num_class_embeds", None)

    def _labels(self, class_labels: Labels, count: int, generator: Generators, copies: int = 1) -> Tensor | None:
        """One class per network input, shape `(B,)`, drawn if asked for; `None` for a model without classes.

        Called last of all that may refuse.  Labels may be given for each of B / `copies` images.
        """
        classes = self._num_classes
        if class_labels is None or (isinstance(class_labels, str) and class_labels == "none"):
            if classes is None:
                return None
            if getattr(self.unet.config, "trained_sigmas", None) is None:
                return torch.full((count,), self._null_class("class_labels=None"))
            # A generator of every class needs no null class to draw of all of them.
            if frequencies := getattr(self.unet.config, "class_frequencies", None):
                below = torch.tensor(frequencies, dtype=torch.float64).cumsum(0)
                places = self._uniform((count,), generator).double() * below[-1]
                return torch.searchsorted(below, places, right=True).clamp(max=classes - 1)
            class_labels = "random"
        if classes is None:
            raise ValueError("class_labels were given, but this model has no classes. Leave them out.")
        if isinstance(class_labels, str) and class_labels == "random":
            return (self._uniform((count,), generator) * classes).long().clamp(max=classes - 1)
        numbers = self._numbers(class_labels)
        try:
            labels = torch.as_tensor(numbers)
        except (RuntimeError, TypeError, ValueError):  # no numbers at all
            labels = torch.empty(0)
        if labels.dtype.is_floating_point or labels.dtype == torch.bool or labels.dim() > 1:
            raise ValueError(f"class_labels must be whole numbers, one or one for each image; got {class_labels}.")
        if labels.dim() == 1 and len(labels) * copies == count:
            labels = labels.repeat_interleave(copies)
        if labels.dim() == 1 and len(labels) != count:
            raise ValueError(f"{len(labels)} class_labels were given for {count} images; give one, or one for each.")
        labels = labels.long().expand(count).cpu()
        if labels.min() < 0 or labels.max() >= classes:
            raise ValueError(f"class_labels must lie in 0 ... {classes - 1}; got {labels.unique().tolist()}.")
        return labels

    def _numbers(self, class_labels: Any) -> Any:
        """Labels with the number of each class in place of its name."""
        names = {name: int(number) for number, name in (getattr(self.unet.config, "id2label", None) or {}).items()}
        if isinstance(class_labels, list | tuple):
            return [self._numbers(label) for label in class_labels]
        if isinstance(class_labels, str) and class_labels not in names:
            raise ValueError(
                f"There is no class {class_labels!r}. class_labels may be numbers, "
                + (f"names ({', '.join(names)}), " if names else "")
                + "'random' (drawn), or None or 'none' (the null class)."
            )
        return names[class_labels] if isinstance(class_labels, str) else class_labels

    def _null_class(self, wanted_for: str) -> int:
        """The index of the null class, which networks of this package have and U-Nets of diffusers do not."""
        classes = self._num_classes
        if classes is None:
            raise ValueError(f"{wanted_for} needs a model with classes; this one has none. Leave it out.")
        of_diffusers = isinstance(getattr(self.unet, "_orig_mod", self.unet), UNet2DModel)
        if not getattr(self.unet.config, "null_class", not of_diffusers):
            raise ValueError(
                f"{wanted_for} needs a null class, and this model was trained without one. Give class_labels: one of "
                f"0 ... {classes - 1} for all images, one for each, or 'random'."
            )
        return classes

    @staticmethod
    def _uniform(shape: tuple[int, ...], generator: Generators) -> Tensor:
        """U[0, 1]: the normal distribution function of `randn_tensor`, which takes one generator or one per image."""
        first = generator[0] if isinstance(generator, list) else generator
        device = first.device if first is not None else None
        return torch.special.ndtr(randn_tensor(shape, generator=generator, device=device, dtype=torch.float32)).cpu()

    def save_config(self, save_directory: str | os.PathLike, push_to_hub: bool = False, **kwargs: Any) -> None:
        """Writes `model_index.json` and, beside the weights of each part, the file of its code.

        `save_pretrained` calls this last, so that what it pushes is complete.

        Raises:
            ValueError: for a part that cannot be written as one self-contained file.
        """
        super().save_config(save_directory, push_to_hub=False, **kwargs)
        folder, index = Path(save_directory), {}
        for name, part_class in self._classes_to_write().items():
            path, place = Path(inspect.getfile(part_class)), folder if name == "_class_name" else folder / name
            if path.resolve() != (place / path.name).resolve():
                shutil.copyfile(path, place / path.name)
            index[name] = [path.stem, part_class.__name__]
        # AutoModel reads it in the network's own folder, or in the pipeline's, given a subfolder.
        auto_map = {"auto_map": {"AutoModel": ".".join(index["unet"])}} if "unet" in index else {}
        versions = {"_ncsn_pipeline_version": VERSION, "_ncsn_pipeline_format": FOLDER_FORMAT}
        _rewrite(folder / self.config_name, index | auto_map | versions)
        for name in self.components:
            for path in (folder / name).glob("*config.json"):
                _rewrite(path, auto_map if name == "unet" else {})

    def _classes_to_write(self) -> dict[str, type]:
        """What is written as code: the classes of the parts that diffusers does not have, and the pipeline's."""
        parts = {name: type(getattr(part, "_orig_mod", part)) for name, part in self.components.items()}
        own = {name: part for name, part in parts.items() if part.__module__.split(".")[0] != "diffusers"}
        for part in own.values():
            if not (file := Path(inspect.getfile(part)).name).startswith(("modeling_", "scheduling_")):
                raise ValueError(
                    f"A pipeline with {part.__name__} cannot be saved: {file} is not a self-contained file of a "
                    "network or scheduler (modeling_*.py, scheduling_*.py). Save the network that it wraps."
                )
        return own | {"_class_name": NCSNPipeline}  # a subclass is another way to sample the same parts

    def save_pretrained(self, save_directory: str | os.PathLike, **kwargs: Any) -> None:
        """Writes the pipeline as a self-contained folder; arguments as in `DiffusionPipeline.save_pretrained`.

        Raises:
            ValueError: for a part that cannot be written as one self-contained file, before anything is written.
        """
        self._classes_to_write()
        super().save_pretrained(os.path.expanduser(save_directory), **kwargs)

    @classmethod
    def extract_init_dict(cls, config_dict: dict[str, Any], **kwargs: Any) -> tuple:
        """Reads an index; its `auto_map`, which tells `AutoModel` where the network's code is, is no setting."""
        return super().extract_init_dict({k: v for k, v in config_dict.items() if k != "auto_map"}, **kwargs)


def _check_solver(scheduler: Any) -> None:
    """Refuses a scheduler of diffusers that would not follow the score to the right density."""
    name, config = type(scheduler).__name__, getattr(scheduler, "config", {})
    low, high = config.get("sigma_min"), config.get("sigma_max")
    wrong = [f"{key} is {config[key]!r}" for key, value in _SOLVER_SETTINGS.items() if config.get(key, value) != value]
    if low is None or high is None or not 0 < low < high < math.inf:
        wrong.append(f"sigma_min and sigma_max are {low} and {high}")
    if name not in _SOLVERS:
        wrong = ["it is not adapted"]
    if wrong:
        raise ValueError(
            f"This {name} does not take scores: {', '.join(wrong)}. AnnealedLangevinScheduler, "
            "ConsistentAnnealedScheduler and PredictorCorrectorScheduler do, and of diffusers "
            f"{', '.join(_SOLVERS)}, made from a scheduler with the model's noise levels and otherwise left as they "
            f"are: `pipe.scheduler = EDMEulerScheduler.from_config(pipe.scheduler.config)`. {_FROM_DDPM}"
        )
    spaced = config.get("use_karras_sigmas") or config.get("use_exponential_sigmas")
    if _SOLVERS[name] != "preconditioned" and not spaced:
        scheduler.register_to_config(use_exponential_sigmas=True)
        logger.warning(
            f"{name} takes geometric noise levels from {high:.4g} to {low:.4g} (use_exponential_sigmas=True), as the "
            "model's noise schedule has them: its default spacing does not keep to sigma_min and sigma_max. "
            "use_karras_sigmas=True is another choice that does."
        )


def _rewrite(path: Path, changes: dict[str, Any]) -> None:
    """Changes a saved configuration; the place that it was loaded from, a path of this machine, goes out of it."""
    config = json.loads(path.read_text(encoding="utf-8")) | changes
    config.pop("_name_or_path", None)
    path.write_text(json.dumps(config, indent=2, sort_keys=True) + "\n", encoding="utf-8")
