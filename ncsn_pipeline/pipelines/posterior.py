"""Images given a measurement y = A(x) + sigma_y z: several samples of what it may have been, their mean and spread.

    pipe = NCSNPosteriorPipeline.from_pipe(NCSNPipeline.from_pretrained("mnist"))
    result = pipe(y, operator, noise_std=0.05)

Operators and measurements are in the units of the images, in [0, 1]; the network's units stay inside.  A method turns
the network's score into one given y (`ncsn_pipeline.guidance.posterior`), which the scheduler's table or a solver of
diffusers follows, from a start that knows y; `"twisted"` moves weighed particles (`ncsn_pipeline.sampling.particles`).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from diffusers.utils import BaseOutput
from diffusers.utils.torch_utils import randn_tensor
from PIL import Image
from torch import Tensor

from ncsn_pipeline.guidance.classifier_free import classifier_free
from ncsn_pipeline.guidance.operators import MatrixOperator, Operator, as_operator
from ncsn_pipeline.guidance.posterior import METHODS, check_measurement, check_method, check_noise_std
from ncsn_pipeline.noise_levels.spacing import check_counts, geometric
from ncsn_pipeline.pipelines.folders import NCSNPipeline
from ncsn_pipeline.pipelines.pipeline_ncsn import Generators, Given, NoisyScoreFn
from ncsn_pipeline.sampling.denoiser_error import NUM_LEVELS, DenoiserError, probed_denoiser_error
from ncsn_pipeline.sampling.follow import follow, last_sample
from ncsn_pipeline.sampling.particles import TwistedSteps
from ncsn_pipeline.sampling.posterior import DPSSteps, posterior_start, projected, with_v_noise
from ncsn_pipeline.sampling.scheduling_annealed import ConsistentAnnealedScheduler, Table

DEFAULT_PARTICLES = 64
# A network's score is not exact enough to meet y without noise on the way: it is sampled as if y had this much.
LEAST_NOISE = 0.02
PROBES = 16


@dataclass
class NCSNPosteriorOutput(BaseOutput):
    """What :class:`NCSNPosteriorPipeline` returns, for B measurements with K samples each.

    Args:
        images: B K samples, those of the first measurement first, in the form that was asked for.
        mean: of the K samples, shape `(B, C, H, W)`, in [0, 1] units but not clamped, or the network's for `"latent"`.
        std: their standard deviation, the same shape and units; NaN for K = 1.
        fidelity: |y - A(x)|² / (m sigma_y²) of each sample, before clamping, shape `(B, K)`.  Its mean is 1 for samples
            of the posterior, up to sqrt(2 / m) for one y; where it is more, they miss y by more than its noise.  At
            noise level 0 sigma_y is `LEAST_NOISE` here too.
        evaluations: of the network, each backward pass counted as one, whatever the number of samples at once.
    """

    images: list[Image.Image] | np.ndarray | Tensor
    mean: Tensor
    std: Tensor
    fidelity: Tensor
    evaluations: int


class NCSNPosteriorPipeline(NCSNPipeline):
    """Samples given a measurement, with the parts of an `NCSNPipeline`: `NCSNPosteriorPipeline.from_pipe(pipe)`.

    It is another way to sample from the same folder, so saving it writes an ordinary `NCSNPipeline` folder.
    """

    _table: tuple[Any, Any, DenoiserError] | None = None
    _evaluations = 0

    @property
    def evaluations(self) -> int:
        """Of the network, each backward pass counted as one, in the call that goes on or the last one."""
        return self._evaluations

    @torch.no_grad()
    def __call__(
        self,
        y: Tensor,
        operator: Any,
        noise_std: float,
        num_images_per_measurement: int = 8,
        method: str = "pigdm",
        scale: float | None = None,
        iterations: int | None = None,
        num_particles: int | None = None,
        generator: Generators = None,
        num_inference_steps: int | None = None,
        sigmas: Sequence[float] | Tensor | None = None,
        latents: Tensor | None = None,
        class_labels: int | str | Sequence[int | str] | Tensor | None = None,
        guidance_scale: float | None = None,
        guidance_interval: tuple[float, float] | None = None,
        given: Given | Sequence[Given] | None = None,
        output_type: str = "pil",
        return_dict: bool = True,
        callback_on_step_end: Callable[[Any, int, Tensor, dict[str, Tensor]], dict[str, Tensor] | None] | None = None,
        callback_on_step_end_tensor_inputs: Sequence[str] = ("latents",),
    ) -> NCSNPosteriorOutput | tuple:
        """Draws K images for each of B measurements.

        Args:
            y: measurements as the operator returns them, shape `(B, *M)`, real or complex.
            operator: A, of images `(B, C, H, W)` in [0, 1]: a differentiable function, a matrix `(m, C H W)`, or an
                object with `A` and `A_adjoint`; see :func:`~ncsn_pipeline.guidance.operators.as_operator`.
            noise_std: sigma_y >= 0, the deviation of the noise of each real number of y.  At 0, images are sampled as
                for `LEAST_NOISE` and then moved to the nearest that meet y.
            num_images_per_measurement: K >= 1.
            method: `"pigdm"`, `"mmps"`, `"annealed"`, `"dps"`, which alone takes nonlinear operators, or `"twisted"`.
                Each file says what law it samples. pigdm is the default for networks: of digits known by means of 4 x 4
                pixels, drawn by the network of 16, 32 and 96 channels that came before, its samples spread as far as
                they are off (calibration 0.93 ± 0.05, 50 pictures), those of mmps, for 2.5 times its evaluations, too
                far (0.75 ± 0.10, 5 pictures), with a mean 1.2 ± 0.4 dB worse (benchmarks/results/measurements.md). With
                exact scores it is mmps that is right.
            scale: of dps, its step zeta > 0, in the network's units.
            iterations: of mmps, products per evaluation, >= 1.
            num_particles: of twisted, particles per measurement, >= K; `DEFAULT_PARTICLES` by default.
            generator: source of all randomness, or one for each of the B K results; one for twisted.
            num_inference_steps: lays the noise levels out, as in `NCSNPipeline`; their number is what it has there, the
                network's evaluations are more.
            sigmas: the noise levels of this call, as in `NCSNPipeline`.
            latents: unit normal noise of the start, shape `(B K, C, H, W)`; not for twisted.
            class_labels: one class for all, or one for each measurement; by default the null class.
            guidance_scale: as in `NCSNPipeline`.
            guidance_interval: as in `NCSNPipeline`.
            given: as in `NCSNPipeline`, applied before the measurement.
            output_type: as in `NCSNPipeline`.
            return_dict: whether to return an :class:`NCSNPosteriorOutput` or a tuple of its fields.
            callback_on_step_end: as in `NCSNPipeline`, after each step.
            callback_on_step_end_tensor_inputs: as in `NCSNPipeline`.

        Raises:
            ValueError: for an argument outside its range, an operator or a measurement that does not fit, or one that
                no image in [0, 1] can give, and for a network that draws in few evaluations and is no score, before
                any work is done.
            FloatingPointError: for samples or weights that are not finite.
        """
        device, shape, copies = self._execution_device, self._image_shape(), num_images_per_measurement
        self._check_is_score("A measurement")
        check_counts(num_images_per_measurement=copies)
        check_noise_std(noise_std)
        operator = as_operator(operator, shape, torch.zeros((), device=device))
        y = check_measurement(y, operator).to(device, torch.float32)
        _check_possible(y, operator, noise_std)
        operator = operator.in_model_space(*self.units)
        each, settings = copies, {"scale": scale, "iterations": iterations, "num_particles": num_particles}
        settings = {name: value for name, value in settings.items() if value is not None}
        if method not in (*METHODS, "twisted"):
            raise ValueError(f"method must be one of {', '.join(METHODS)}, twisted; got {method!r}.")
        if method == "twisted":
            each = _checked_particles(settings, copies, generator, latents)
        else:
            settings |= {"denoiser_error": self._denoiser_error} if method in ("pigdm", "mmps") else {}
            check_method(method, operator, settings)
        count = len(y) * each
        if isinstance(generator, tuple):
            generator = list(generator)
        self._check_inputs(count, generator, latents, given, output_type, callback_on_step_end_tensor_inputs)
        self.guidance_scale, self.guidance_interval = guidance_scale, guidance_interval
        steps = self._steps(num_inference_steps, sigmas)
        exact, noise_std = noise_std == 0, float(noise_std) or LEAST_NOISE
        each_y = y.repeat_interleave(copies, dim=0)
        if method == "twisted":
            steps = TwistedSteps(y, operator, noise_std, steps, each, self._denoiser_error)
        elif method == "dps":
            steps = DPSSteps(each_y, operator, steps, **settings)
        labels = self._labels(class_labels, count, generator, each)
        if method in ("pigdm", "mmps") and isinstance(steps, Table):  # annealed, whose noise it is not, needs no r²
            steps = with_v_noise(steps, self._denoiser_error)
        self._evaluations = 0
        transforms = [given] if callable(given) else list(given or ())
        score = self._score(labels, [self._counted, *transforms])
        if method == "twisted":
            score = steps.given(score)
            x = steps.start(score, generator)
        else:
            guided = method != "dps"  # dps's steps are no score: they say nothing of where to start
            given_y = METHODS[method](each_y, operator, noise_std, **settings) if guided else steps.given
            score = given_y(score)
            if latents is None:
                latents = randn_tensor((count, *shape), generator=generator, device=device, dtype=torch.float32)
            latents = latents.to(device, torch.float32)
            first = steps.sigmas[0]
            x = posterior_start(score, latents, first) if guided else latents * first
        x = self._run(score, x, steps, generator, callback_on_step_end, callback_on_step_end_tensor_inputs)
        if method == "twisted":
            x = steps.draw(x, copies, generator)
        if exact and operator.linear:
            x = projected(x, each_y, operator)
        fidelity = ((each_y - operator(x)) / noise_std).square().mean(1).unflatten(0, (len(y), copies))
        (images,) = self._output(x, output_type, return_dict=False)
        x = (x if output_type == "latent" else self.units.to_given(x)).unflatten(0, (len(y), copies))
        std = x.std(1) if copies > 1 else torch.full_like(x[:, 0], torch.nan)
        result = NCSNPosteriorOutput(
            images=images, mean=x.mean(1), std=std, fidelity=fidelity, evaluations=self._evaluations
        )
        return result if return_dict else result.to_tuple()

    def _counted(self, score: NoisyScoreFn) -> NoisyScoreFn:
        """The score, its evaluations counted, and each backward pass through one."""

        def count(gradient: Tensor) -> None:
            self._evaluations += 1

        def counted(x: Tensor, sigma: Tensor) -> Tensor:
            self._evaluations += 1
            s = score(x, sigma)
            if s.requires_grad and torch.is_grad_enabled():
                s.register_hook(count)
            return s

        return counted

    def _denoiser_error(self, sigma: float) -> float:
        """r²(sigma): the table that training measured, or one by probes, made once for a network."""
        rows = getattr(self.unet.config, "denoiser_error", None)
        # Of probes also the weights, which training changes in place, and the scheduler's ends.
        weights = () if rows else tuple(parameter._version for parameter in self.unet.parameters())
        made_of = rows, weights, self._ends()
        if self._table is None or self._table[0] is not self.unet or self._table[1] != made_of:
            self._table = self.unet, made_of, DenoiserError(rows) if rows else self._probed()
        return self._table[2](sigma)

    def _ends(self) -> tuple[float, float]:
        """The largest and the smallest noise level that the network was trained on, or else the scheduler's."""
        config = self.unet.config
        high, low = (getattr(config, name, None) or self.scheduler.config[name] for name in ("sigma_max", "sigma_min"))
        return high, low

    def _probed(self) -> DenoiserError:
        """At samples of the network's own, of all classes and without guidance, over the levels it was trained on."""
        generator, device = torch.Generator().manual_seed(0), self._execution_device
        ends = self._ends()
        labels = None if self._num_classes is None else self._labels("random", PROBES, generator)
        score, levels = self._score(None), geometric(*ends, NUM_LEVELS)
        if labels is not None:
            score = classifier_free(labels.to(device), self._num_classes)(score)
        table = ConsistentAnnealedScheduler(sigmas=geometric(*ends, 2 * NUM_LEVELS)).table
        x = levels[0] * torch.randn(PROBES, *self._image_shape(), generator=generator)
        samples = last_sample(follow(score, x.to(device), table, generator))
        return probed_denoiser_error(score, samples, levels, generator)


def _checked_particles(settings: dict[str, Any], copies: int, generator: Generators, latents: Tensor | None) -> int:
    """The number of particles of each measurement."""
    count = settings.pop("num_particles", max(DEFAULT_PARTICLES, copies))
    check_counts(num_particles=count)
    if settings:
        raise ValueError(f"twisted has no {', '.join(settings)}; its setting is num_particles.")
    if count < copies:
        raise ValueError(f"num_particles is {count}; {copies} images per measurement are drawn from at least as many.")
    if isinstance(generator, list | tuple) or latents is not None:
        raise ValueError("Twisted particles take one generator for all, and no latents. Leave the others out.")
    return int(count)


def _check_possible(y: Tensor, operator: Operator, noise_std: float) -> None:
    """Refuses what no image in [0, 1] gives, up to six deviations of noise; only a matrix tells."""
    if not isinstance(operator, MatrixOperator):
        return
    low, high = (end.to(y) for end in operator.range(0.0, 1.0))
    slack = 6 * noise_std + 1e-3 * (high - low).max().item()
    beyond = torch.maximum(low - y, y - high)
    if beyond.max() > slack:
        place = divmod(int(beyond.argmax()), y.shape[1])
        value, least, most = y[place], low[place[1]], high[place[1]]
        raise ValueError(
            f"y holds {value:.4g} where images in [0, 1] give {least:.4g} to {most:.4g}, with noise of {noise_std:g}: "
            "no image can give it. Scale y as the operator scales images in [0, 1], or raise noise_std."
        )
