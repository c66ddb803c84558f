"""What a training step costs: in CPU seconds, which a busy machine can spoil, and in operations, which nothing can."""

import time
from collections.abc import Callable, Mapping
from statistics import median
from typing import Any, TypeVar

from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

T = TypeVar("T")


def training_step(network: nn.Module, loss_fn: Callable[[], Tensor]) -> Callable[[], None]:
    """Loss and gradient, without the optimiser's update, which is the same for every loss.

    Args:
        network: whose parameters get the gradient.
        loss_fn: returns the losses of a batch, shape `(B,)`.
    """

    def step() -> None:
        network.zero_grad()
        loss_fn().mean().backward()

    return step


def timed(function: Callable[..., T], *arguments: object, **options: object) -> tuple[T, float]:
    """What a function returns, and the CPU seconds that it took, of all threads of this process."""
    begin = time.process_time()
    returned = function(*arguments, **options)
    return returned, time.process_time() - begin


def cpu_seconds(step: Callable[[], None]) -> float:
    """CPU time of one call."""
    return timed(step)[1]


def median_cpu_seconds(steps: Mapping[str, Callable[[], None]], num_repeats: int) -> dict[str, float]:
    """The median time of each step; they take turns, so that a busy spell of the machine falls on all alike.

    Args:
        steps: what is timed, by name; each is called once more, before, to warm up.
        num_repeats: calls of each that count, at least 1.
    """
    for step in steps.values():
        step()
    rounds = [{name: cpu_seconds(step) for name, step in steps.items()} for _ in range(num_repeats)]
    return {name: median(seconds[name] for seconds in rounds) for name in steps}


def count_operations(step: Callable[[], None]) -> int:
    """Floating point operations of all matrix products, two for each multiplication and addition."""
    with _Counter() as counter:
        step()
    return counter.operations


class _Counter(TorchDispatchMode):
    """Adds up what torch says each matrix product takes; torch's own counter refuses second derivatives of modules."""

    def __init__(self) -> None:
        super().__init__()
        self.operations = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        out = func(*args, **(kwargs or {}))
        if func._overloadpacket in flop_registry:
            self.operations += flop_registry[func._overloadpacket](*args, **(kwargs or {}), out_val=out)
        return out
