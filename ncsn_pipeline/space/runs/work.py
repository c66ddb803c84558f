"""Work of torch in a thread of its own: one at a time on this server, watched from outside, ended when told to."""

import threading
from collections.abc import Callable, Iterator

ONE_AT_A_TIME = threading.Lock()


def watched(work: Callable[[], None], stop: threading.Event, pause: float) -> Iterator[None]:
    """Starts the work, and yields every so many seconds until it has ended.

    Left before, it waits for nothing: `stop` is set, and the work of the next visitor begins when this one lets go.

    Args:
        work: ends soon after `stop` is set.
        stop: set where it is left.
        pause: seconds between two looks.

    Raises:
        Exception: what the work raised.
    """
    errors: list[Exception] = []

    def guarded() -> None:
        try:
            with ONE_AT_A_TIME:
                work()
        except Exception as error:
            errors.append(error)

    thread = threading.Thread(target=guarded, daemon=True)
    thread.start()
    try:
        while thread.is_alive():
            yield
            thread.join(pause)
    except GeneratorExit:
        stop.set()
        raise
    if errors:
        raise errors[0]
