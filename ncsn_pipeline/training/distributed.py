"""What one process finds out and all processes act on."""

from collections.abc import Callable
from typing import TypeVar

from accelerate import Accelerator
from accelerate.utils import broadcast_object_list, gather_object

T = TypeVar("T")


def broadcast_from_main(accelerator: Accelerator, decide: Callable[[], T]) -> T:
    """`decide()`, called in the main process only; every process gets its result, or raises its error.

    Processes that each looked at the disk or asked the Hub could come to different answers.

    Args:
        accelerator: knows the processes.
        decide: returns something that can be pickled.

    Raises:
        ValueError, OSError, RuntimeError, FloatingPointError: whatever of these `decide` raises.
    """
    outcome: list = [None, None]
    if accelerator.is_main_process:
        try:
            outcome[0] = decide()
        except (ValueError, OSError, RuntimeError, FloatingPointError) as error:
            outcome[1] = error
    broadcast_object_list(outcome)
    if outcome[1] is not None:
        raise outcome[1]
    return outcome[0]


def in_every_process(accelerator: Accelerator, act: Callable[[], object]) -> None:
    """Calls `act()` in every process; all wait for each other, and where it fails in one, they all fail.

    Args:
        accelerator: knows the processes.
        act: raises errors that can be pickled.

    Raises:
        Exception: what `act` raised in this process, or else in the first one where it did.
    """
    own = None
    try:
        act()
    except Exception as error:
        own = error
    first = next((error for error in gather_object([own]) if error is not None), None)
    if own is not None or first is not None:
        raise own or first
