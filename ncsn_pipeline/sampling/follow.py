"""The loop of every sampler: evaluate the score, take a step, say what happened.

    for i in order:
        x <- before(x, i, again)            where a sampler changes x itself, as inpainting does
        s = score(x, sigma_i)
        x <- steps.step(i, x, s)            a row of a table: x + a s + b z

The pipeline's own loop is the same with a progress bar and callbacks, since its file travels to the Hub alone.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple, Protocol

import torch
from diffusers.utils.torch_utils import randn_tensor
from torch import Tensor

from ncsn_pipeline.densities import NoisyScoreFn
from ncsn_pipeline.sampling.scheduling_annealed import added

Generators = torch.Generator | list[torch.Generator] | None


class Steps(Protocol):
    """What can be followed: a scheduler's `table`, or anything else with noise levels and a step.

    Args:
        sigmas: the noise level of each evaluation, in data units.
    """

    sigmas: list[float]

    def step(self, i: int, x: Tensor, score: Tensor, generator: Generators = None) -> Tensor:
        """The samples after step `i`, from those before it and their score, all of shape `(B, *D)`."""


class State(NamedTuple):
    """What one step did.

    Args:
        sample: the samples after it, shape `(B, *D)`.
        noisy: x, what the score was evaluated at, the same shape.
        score: s, the score there, the same shape.
        sigma: the noise level of the evaluation, shape `()`.
        index: which of the steps it was.
    """

    sample: Tensor
    noisy: Tensor
    score: Tensor
    sigma: Tensor
    index: int

    @property
    def denoised(self) -> Tensor:
        """The estimate of the clean samples before the step, x + sigma² s (Tweedie's formula), the same shape."""
        return added(self.noisy, self.score, float(self.sigma) ** 2)


@torch.no_grad()
def follow(
    score: NoisyScoreFn,
    x: Tensor,
    steps: Steps,
    generator: Generators = None,
    *,
    order: Sequence[int] | None = None,
    before: Callable[[Tensor, int, bool], Tensor] | None = None,
) -> Iterator[State]:
    """Follows a score step by step.

    Args:
        score: `(x (B, *D), sigma ()) -> score (B, *D)`; it may differentiate inside, under `torch.enable_grad()`.
        x: the start, shape `(B, *D)`, with noise of the first level.
        steps: which noise levels, and how to step.
        generator: source of the noise, or one for each sample.
        order: numbers of the steps to take, in turn; by default each once.
        before: called as `before(x, i, again)` ahead of each evaluation; what it returns takes the place of x.  `again`
            says that step i is taken once more.

    Yields:
        The state after each step.

    Raises:
        ValueError: for a list of generators that has not one for each sample.
        FloatingPointError: for samples that are not finite, where `steps` looks for it.
    """
    if isinstance(generator, list) and len(generator) not in (1, len(x)):
        raise ValueError(f"{len(generator)} generators were given for {len(x)} samples; give one, or one for each.")
    sigmas = torch.tensor(steps.sigmas, dtype=x.dtype, device=x.device)
    previous = None
    for i in range(len(sigmas)) if order is None else order:
        if before is not None:
            x = before(x, i, i == previous)
        s = score(x, sigmas[i])
        after, previous = steps.step(i, x, s, generator), i
        yield State(after, x, s, sigmas[i], i)
        x = after


def last_sample(states: Iterable[Any]) -> Tensor:
    """Runs a chain, or what `follow` yields, to its end and returns the last state's samples, shape `(B, *D)`.

    Raises:
        ValueError: for no states at all, as of a chain that was run before.
    """
    last = deque(states, maxlen=1)
    if not last:
        raise ValueError("There were no states: a chain can be run once, so make a new one.")
    return last[0].sample


def draw_noise(x: Tensor, generator: Generators) -> Tensor:
    """Unit normal z of the shape, type and device of x."""
    return randn_tensor(x.shape, generator=generator, device=x.device, dtype=x.dtype)
