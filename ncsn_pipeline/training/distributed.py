"""What one process finds out and all processes act on."""

from collections.abc import Callable
from typing import TypeVar

from accelerate import Accelerator
from accelerate.utils import broadcast_object_list

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
