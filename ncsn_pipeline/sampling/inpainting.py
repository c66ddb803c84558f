"""Samples whose known values are kept, and steps that are taken again so that the others come to agree with them.

Before every evaluation at sigma the known values are set to what they would be there (Song et al. 2021, appendix I.2):

    x <- mask x + (1 - mask) (known + sigma z),        z ~ N(0, I) anew each time

RePaint (Lugmayr et al. 2022, algorithm 1) takes every step R times, and goes back up between them by the noise that
the step removed:

    x <- step(x, sigma_i);        x <- x + sqrt(sigma_i² - sigma_{i+1}²) z;        x <- step(x, sigma_i);        ...

Both are hooks of :func:`~ncsn_pipeline.sampling.follow`:

    before = keeping(known, mask, table, generator)
    x = last_sample(follow(score, x, table, generator, order=repeated(table, 4), before=before))
    x = torch.where(mask, x, known)                 the last step denoises the kept values too
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor

from ncsn_pipeline.sampling.follow import Generators, Steps, draw_noise


def keeping(
    known: Tensor, mask: Tensor, steps: Steps, generator: Generators = None
) -> Callable[[Tensor, int, bool], Tensor]:
    """What to do before an evaluation so that the values outside of the mask are kept.

    Args:
        known: clean values, in the network's units, shape `(B, *D)`.
        mask: True where values are made anew; broadcasts to `(B, *D)`.
        steps: what is followed.  Taken again are rows of a table only.
        generator: source of the noise, or one for each sample.

    Returns:
        The `before(x, i, again)` of :func:`~ncsn_pipeline.sampling.follow`.
    """
    sigmas = torch.tensor(steps.sigmas).tolist()  # as the network is told them, in float32

    def before(x: Tensor, i: int, again: bool) -> Tensor:
        if again and steps[i].to != steps[i].sigma:
            to = sigmas[i + 1] if i + 1 < len(sigmas) else steps[i].to
            x = x.add(draw_noise(x, generator), alpha=math.sqrt(sigmas[i] ** 2 - to**2))
        return torch.where(mask, x, known.add(draw_noise(known, generator), alpha=sigmas[i]))

    return before


def repeated(steps: Steps, repeats: int, begin: int = 0) -> list[int]:
    """The order of a run from step `begin` on that takes every step R = `repeats` times, and the last once."""
    last = len(steps.sigmas) - 1
    return [i for i in range(begin, last) for _ in range(repeats)] + [last]
