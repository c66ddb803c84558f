"""How every network of the laboratory is trained: Adam, and a learning rate that falls to zero along a cosine."""

from collections.abc import Callable, Iterable

import torch
from torch import Tensor, nn


def fit(
    parameters: Iterable[nn.Parameter],
    loss_fn: Callable[[], Tensor],
    *,
    num_steps: int,
    learning_rate: float = 2e-3,
    gradient_clip: float | None = None,
) -> Tensor:
    """Minimises the mean of a loss.

    Args:
        parameters: what is trained.
        loss_fn: draws a batch and returns its losses, shape `(B,)`.
        num_steps: number of updates, >= 1.
        learning_rate: at the start, > 0.
        gradient_clip: largest norm of the gradient; `None` leaves it as it is.

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
        if gradient_clip is not None:
            nn.utils.clip_grad_norm_(parameters, gradient_clip)
        optimizer.step()
        schedule.step()
        losses[step] = loss.detach()
    return losses
