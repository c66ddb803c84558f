"""Parts of given images made anew by a score network: inpainting under a mask, and editing from a sketch.

Inpainting keeps the pixels outside of the mask and samples the others.  The network knows images at one noise level,
all of an image at the same, so before every evaluation at sigma the kept pixels are set to what they would be there
(Song et al. 2021, appendix I.2):

    x <- mask x + (1 - mask) (image + sigma z),        z ~ N(0, I) anew each time

Painted pixels see kept ones only through their noise, and what is settled at a large sigma hardly changes later, which
leaves seams.  RePaint (Lugmayr et al. 2022, algorithm 1) therefore takes every step R times, and goes back up
between them by the noise that the step removed, so that both parts come to agree at each level.
Annealed Langevin dynamics stays at its level, so there is nothing to go back up: R times as many steps per level.

Editing (SDEdit, Meng et al. 2022) starts from the image itself at a middle level, x = image + sigma z: what is larger
than that noise stays, what is finer is made anew.  Both together edit within the mask.

The law of the painted pixels is meant to be that given the kept ones.  It is so for many repeats at many levels alone:
R = 1 lets a painted pixel forget much of what the kept ones say, and an edit has no such law to be compared with.
How far off it is where the law is known: 4 x 4 Gaussian pixels, correlated over 1.5 of them, the left half of one image
kept, exact scores, 40 levels from 3 to 0.003, 1,000 completions.  First the largest error of a mean, in deviations of
the law, then that of a deviation, as a ratio (of exact samples 0.07 and 0.05):

    consistent, R = 1           0.94, 0.33
    consistent, R = 2           0.58, 0.15
    consistent, R = 4           0.38, 0.06      the default
    consistent, R = 10          0.18, 0.05
    consistent, R = 30          0.10, 0.05
    Langevin, 5 steps, R = 1    0.44, 0.33      the default
    Langevin, 5 steps, R = 4    0.13, 0.12
    mmps                        0.08, 0.04      `NCSNPosteriorPipeline`, the mask its operator, noise_std = 0.001
"""

import math
from collections.abc import Callable, Sequence
from numbers import Real
from typing import Any

import torch
from diffusers import ImagePipelineOutput
from torch import Tensor

from ncsn_pipeline.noise_levels.spacing import check_counts
from ncsn_pipeline.pipelines.folders import NCSNPipeline
from ncsn_pipeline.pipelines.given_images import images_as_tensor, masks_as_tensor
from ncsn_pipeline.pipelines.pipeline_ncsn import Generators, Given, Labels, SolverSteps
from ncsn_pipeline.sampling.follow import draw_noise
from ncsn_pipeline.sampling.inpainting import keeping, repeated

DEFAULT_RESAMPLE_STEPS = 4


class NCSNInpaintPipeline(NCSNPipeline):
    """Inpaints and edits with the parts of an `NCSNPipeline`: `NCSNInpaintPipeline.from_pipe(pipe)`.

    It is another way to sample from the same folder, so saving it writes an ordinary `NCSNPipeline` folder, and this
    file is not one that travels with the weights.
    """

    @torch.no_grad()
    def __call__(
        self,
        image: Any,
        mask_image: Any = None,
        num_images_per_image: int = 1,
        resample_steps: int | None = None,
        start_sigma: float | None = None,
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
        """Completes images under masks, or edits them.

        Args:
            image: one image, a batch or a list of them: PIL images, arrays `(H, W)` or `(H, W, C)`, tensors
                `(C, H, W)`, bytes, 16-bit whole numbers (uint16) or floats in [0, 1], of the model's size.  A PIL image
                is read as training reads its file: upright, transparency on white, of 16 bits the upper eight.
            mask_image: white (1) is painted, black (0) kept exactly; one mask for all images, or one for each, in the
                same forms with one channel.  A soft mask counts as white from one half on.  `None` paints everything,
                and needs `start_sigma`.
            num_images_per_image: completions K of each image, >= 1.
            resample_steps: R, how many times each step but the last is taken, >= 1.  By default
                `DEFAULT_RESAMPLE_STEPS` under a mask; 1 without one, for annealed Langevin dynamics, which takes
                several steps per level already, and for a solver of diffusers, whose steps cannot be taken twice.  A
                run has R (N - 1) + 1 evaluations where the same call of `NCSNPipeline` has N.
            start_sigma: the painted pixels start from `image` with the noise of the first level at or below this, > 0,
                in data units; the levels above are left out, and N counts without them.  `None` starts from noise.
            generator: source of all randomness, or one for each of the B K results.
            num_inference_steps: lays the noise levels out, as in `NCSNPipeline`.
            sigmas: the noise levels of this call, as in `NCSNPipeline`.
            latents: unit normal noise of the start, shape `(B K, C, H, W)`.
            class_labels: what the images show: one class for all, one for each image, or one for each result.  By
                default the null class: the kept pixels say what it is.
            guidance_scale: as in `NCSNPipeline`.
            guidance_interval: as in `NCSNPipeline`.
            given: as in `NCSNPipeline`.
            output_type: as in `NCSNPipeline`.
            return_dict: as in `NCSNPipeline`.
            callback_on_step_end: as in `NCSNPipeline`, after each evaluation.
            callback_on_step_end_tensor_inputs: as in `NCSNPipeline`.

        Returns:
            B K images, those of the first image first: an `ImagePipelineOutput` with `.images`, or a tuple of them.

        Raises:
            ValueError: for an argument outside its range, before any work is done.
            TypeError: for an image of another kind.
            FloatingPointError: for samples that are not finite.
        """
        check_counts(num_images_per_image=num_images_per_image)
        device, copies = self._execution_device, int(num_images_per_image)
        pair = self._images_and_masks(image, mask_image, start_sigma)
        image, mask = (one.repeat_interleave(copies, dim=0).to(device) for one in pair)
        count = len(image)
        if isinstance(generator, tuple):
            generator = list(generator)
        self._check_inputs(count, generator, latents, given, output_type, callback_on_step_end_tensor_inputs)
        self.guidance_scale, self.guidance_interval = guidance_scale, guidance_interval
        steps = self._steps(num_inference_steps, sigmas)
        if getattr(self.unet.config, "trained_sigmas", None) is not None:
            raise ValueError(
                "This network draws in few evaluations and is no score, so nothing can be kept of an image meanwhile. "
                "Inpaint with the model that it was made from."
            )
        repeats = self._checked_resample_steps(resample_steps, steps, keeps=mask_image is not None)
        begin = _first_evaluation(steps, start_sigma)
        known = self.units.to_model(image)
        labels = self._labels(class_labels, count, generator, copies)
        score = self._score(labels, given)
        if start_sigma is None:
            x = self._start(count, generator, latents, steps, score)
        else:
            noise = draw_noise(known, generator) if latents is None else latents.to(known)
            x = known.add(noise, alpha=float(torch.tensor(steps.sigmas[begin])))  # in float32, as the network is told
        x = self._run(
            score, x, steps, generator, callback_on_step_end, callback_on_step_end_tensor_inputs,
            order=repeated(steps, repeats, begin), before=keeping(known, mask, steps, generator),
        )  # fmt: skip
        # The kept pixels as they were given, not as they come back from the model's range.
        return self._output(x, output_type, return_dict, kept=(mask, image))

    def _images_and_masks(self, image: Any, mask_image: Any, start_sigma: float | None) -> tuple[Tensor, Tensor]:
        """Images `(B, C, H, W)` in [0, 1] and masks `(B, 1, H, W)` of booleans."""
        if mask_image is None and start_sigma is None:
            raise ValueError(
                "Neither mask_image nor start_sigma was given, so nothing of the image would be kept. Give mask_image "
                "to inpaint, start_sigma to edit, or both; NCSNPipeline draws from noise alone."
            )
        if start_sigma is not None and not (isinstance(start_sigma, Real) and 0 < start_sigma < math.inf):
            raise ValueError(f"start_sigma must be a finite number above 0; got {start_sigma!r}.")
        shape = self._image_shape()
        image = images_as_tensor("image", image, shape)
        if mask_image is None:
            return image, torch.ones(len(image), 1, *shape[1:], dtype=torch.bool)
        mask = masks_as_tensor("mask_image", mask_image, shape[1:])
        if len(mask) not in (1, len(image)):
            raise ValueError(
                f"{len(mask)} masks were given for {len(image)} image(s); give one, or one for each image."
            )
        return image, mask.expand(len(image), -1, -1, -1)

    def _checked_resample_steps(self, resample_steps: int | None, steps: Any, keeps: bool) -> int:
        solver = isinstance(steps, SolverSteps)
        if resample_steps is None:
            goes_down = not solver and any(row.to < row.sigma for row in steps[:-1])
            return DEFAULT_RESAMPLE_STEPS if keeps and goes_down else 1
        check_counts(resample_steps=resample_steps)
        if resample_steps > 1 and solver:
            raise ValueError(
                f"{type(self.scheduler).__name__} remembers its last steps and cannot take one again. Leave "
                "resample_steps out, or sample by one of this package's schedulers."
            )
        return int(resample_steps)


def _first_evaluation(steps: Any, start_sigma: float | None) -> int:
    """The first evaluation whose noise level is not above `start_sigma`."""
    sigmas = steps.sigmas
    if start_sigma is None:
        return 0
    # Levels may be float32: one that was given as the same number may have been rounded up.
    begin = next((i for i, sigma in enumerate(sigmas) if sigma <= start_sigma * (1 + 1e-6)), None)
    if begin is None:
        raise ValueError(
            f"start_sigma is {start_sigma:.4g}, below the last noise level {sigmas[-1]:.4g}: no step is left. "
            "Start higher, or give levels that end lower (sigmas)."
        )
    # A second-order solver evaluates each level twice, at the end of one step and at the start of the next.
    second_half = isinstance(steps, SolverSteps) and sigmas[begin + 1 : begin + 2] == [sigmas[begin]]
    return begin + second_half
