"""Pictures known by a measurement alone, y = A x + noise: what the tasks of the Repair tab measure of a picture.

A task is a row of `MEASUREMENTS`; its operator is written down for the program and used for the run.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from PIL import Image

from ncsn_pipeline.guidance.measurements import average_pooling, gaussian_blur, grey, random_projections
from ncsn_pipeline.guidance.operators import MOST_MATRIX_INPUTS
from ncsn_pipeline.pipelines.given_images import images_as_tensor

from ..runs.calls import Written, literal, made_by, picture, seeded
from ..runs.controls import Facts, Values

MODULE = "ncsn_pipeline.guidance.measurements"
BLUR = 1.5  # pixels
FACTOR = 4


class Measurement(NamedTuple):
    """A task.

    Args:
        label: on its button.
        note: what happens, for a visitor.
        operator: A, from the settings, the model and the run's generator.
        suits: whether a model of that sample shape `(C, H, W)` can have it.
    """

    label: str
    note: str
    operator: Callable[[Values, Facts, Written], Written]
    suits: Callable[[tuple[int, int, int]], bool] = lambda shape: True


def _blur(settings: Values, model: Facts, generator: Written) -> Written:
    return made_by(gaussian_blur, BLUR, module=MODULE)


def _pooling(settings: Values, model: Facts, generator: Written) -> Written:
    return made_by(average_pooling, FACTOR, module=MODULE)


def _grey(settings: Values, model: Facts, generator: Written) -> Written:
    return Written("grey", grey, ((MODULE, "grey"),))


def _projections(settings: Values, model: Facts, generator: Written) -> Written:
    size = math.prod(model.sample_shape)
    return made_by(random_projections, max(1, round(settings.share / 100 * size)), size, generator, module=MODULE)


MEASUREMENTS = {
    "deblur": Measurement(
        "Deblur",
        f"Draw or choose a picture. It is blurred by a Gaussian of standard deviation {BLUR:g} pixels, and noise is "
        "added: that is all the network is given. Each result, blurred again, gives the same up to the noise.",
        _blur,
    ),
    "sharpen": Measurement(
        f"Sharpen ({FACTOR}×)",
        f"Draw or choose a picture. Of every {FACTOR} × {FACTOR} pixels only the mean is kept, and noise is added. "
        "Many pictures have these means: the results are those that the network finds likely.",
        _pooling,
        lambda shape: min(shape[1:]) >= FACTOR,
    ),
    "colour": Measurement(
        "Colour in",
        "Draw or choose a picture. Only how light each pixel is remains, and noise is added. The results agree in that "
        "and may differ in colour.",
        _grey,
        lambda shape: shape[0] == 3,
    ),
    "few": Measurement(
        "Few measurements",
        "Draw or choose a picture. It is measured by far fewer numbers than it has pixels, each a sum of all pixels "
        "with random weights. Each square of what is given is one of these numbers.",
        _projections,
        lambda shape: math.prod(shape) <= MOST_MATRIX_INPUTS,
    ),
}


def measured(settings: Values, model: Facts, file: str, image: Image.Image) -> dict[str, Written]:
    """What a run is given, by the names of the program's variables, in the order in which they are made.

    One generator draws the operator, the noise and the samples in turn: the same seed thrice would give noise that the
    samples' own is not independent of.

    Args:
        settings: of a task of `MEASUREMENTS`, with `seed` and `noise_std`.
        model: whose pictures they are.
        file: where the program finds the picture.
        image: it.

    Returns:
        `picture`, `generator`, `operator`, `clean` and `y`.
    """
    opened, shape = picture(file, image), model.sample_shape
    clean = images_as_tensor("picture", image, shape)
    generator = seeded(settings.seed)
    named = Written("generator", generator.value)
    operator = MEASUREMENTS[settings.task].operator(settings, model, named)
    noise_std = literal(settings.noise_std)
    exact = operator.value(clean)
    noise = noise_std.value * torch.randn(exact.shape, generator=generator.value)
    imports = (*opened.imports, ("ncsn_pipeline.pipelines.given_images", "images_as_tensor"))
    return {
        "picture": Written(f'images_as_tensor("picture", {opened.source}, {literal(shape).source})', clean, imports),
        "generator": generator,
        "operator": operator,
        "clean": Written("operator(picture)", exact),
        "y": Written(f"clean + {noise_std.source} * torch.randn(clean.shape, generator=generator)", exact + noise),
    }
