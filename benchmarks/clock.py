"""Where the processor time of a program goes, function by function, without changing the program."""

import functools
import time
from collections import defaultdict


class Clock:
    """Adds up the time of functions, each without that of the watched ones it calls."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = defaultdict(float)
        self.inner: list[float] = []
        self.patched: list[tuple[object, str, object]] = []

    def watch(self, owner: object, name: str, part: str) -> None:
        """Counts the calls of `owner.name` to `part`, until `stop`."""
        original = getattr(owner, name)
        self.patched.append((owner, name, original))

        @functools.wraps(original)
        def timed(*args: object, **kwargs: object) -> object:
            self.inner.append(0.0)
            started = time.process_time()
            result = original(*args, **kwargs)
            elapsed = time.process_time() - started
            self.seconds[part] += elapsed - self.inner.pop()
            if self.inner:
                self.inner[-1] += elapsed
            return result

        setattr(owner, name, timed)

    def stop(self) -> None:
        """Puts the functions back."""
        for owner, name, original in reversed(self.patched):
            setattr(owner, name, original)
