"""One run of an experiment that can be stopped at any call of torch, and never outlives its deadline."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from types import ModuleType
from typing import Any

from torch.overrides import TorchFunctionMode

from ncsn_pipeline.diagnostics import plots
from ncsn_pipeline.lecture import Params

from ..runs.work import watched


class Stopped(Exception):
    """The run was ended from outside."""


class _StopOnTorchCall(TorchFunctionMode):
    """Every call of torch asks first whether to go on: an experiment is one call, and knows nothing of visitors."""

    def __init__(self, must_stop: Callable[[], bool]) -> None:
        super().__init__()
        self.must_stop = must_stop

    def __torch_function__(
        self, function: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if self.must_stop():
            raise Stopped
        return function(*args, **(kwargs or {}))


@dataclass(frozen=True)
class Outcome:
    """What a run that went to its end found.

    Args:
        result: checks, numbers and findings, as the command writes them to JSON.
        picture: of the experiment's own drawing, SVG.
        seconds: it took.
    """

    result: dict[str, Any]
    picture: str
    seconds: float


class ExperimentRun:
    """An experiment in a thread.

    Args:
        module: the experiment.
        params: checked.
        stop: ends the run at once when it is set.
        deadline: seconds after which the run ends by itself.
    """

    def __init__(self, module: ModuleType, params: Params, stop: threading.Event, deadline: float) -> None:
        self.module = module
        self.params = params
        self.stop = stop
        self.deadline = deadline
        self.timed_out = False
        self.outcome: Outcome | None = None

    def seconds(self) -> Iterator[float]:
        """Runs, and yields the seconds since the start, about once a second; `outcome` is there at the end.

        Raises:
            Exception: what the experiment raised.
        """
        self._start = time.perf_counter()
        with closing(watched(self._work, self.stop, 1.0)) as looks:
            for _ in looks:
                yield time.perf_counter() - self._start

    def _work(self) -> None:
        self._start = time.perf_counter()  # its turn has come
        try:
            with _StopOnTorchCall(self._must_stop):
                result = self.module.run(self.params)
                figure = self.module.figure(result)
            self.outcome = Outcome(result.as_json(), plots.as_svg(figure), time.perf_counter() - self._start)
        except Stopped:
            pass

    def _must_stop(self) -> bool:
        self.timed_out = time.perf_counter() - self._start > self.deadline
        return self.timed_out or self.stop.is_set()
