"""How the laboratory's networks are made, reproducibly, and trained, by Adam."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn


@contextmanager
def seeded_layers(generator: torch.Generator) -> Iterator[None]:
    """Within it, new layers get weights that follow from `generator`.

    Layers draw from torch's global generator, which is put back as it was.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(int(torch.randint(2**31, (), generator=generator)))
        yield


def fit(
    parameters: Iterable[nn.Parameter],
    loss_fn: Callable[[], Tensor],
    *,
    num_steps: int,
    learning_rate: float = 2e-3,
) -> Tensor:
    """Minimises the mean of a loss; the learning rate falls to zero along a cosine.

    Args:
        parameters: what is trained.
        loss_fn: draws a batch and returns its losses, shape `(B,)`.
        num_steps: number of updates, >= 1.
        learning_rate: at the start, > 0.

    Returns:
        The mean loss of every step, shape `(num_steps,)`.

    Raises:
        ValueError: where the loss stops being finite.
    """
    parameters = list(parameters)
    optimizer = torch.optim.Adam(parameters, lr=learning_rate)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, num_steps)
    losses = torch.empty(num_steps)
    for step in range(num_steps):
        optimizer.zero_grad()
        loss = loss_fn().mean()
        if not loss.isfinite():
            raise ValueError(f"The loss is {loss.item()} at step {step}; lower learning_rate (now {learning_rate}).")
        loss.backward()
        optimizer.step()
        schedule.step()
        losses[step] = loss.detach()
    return losses
