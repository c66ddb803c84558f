"""What the Learn tab answers: the true score of a setting, a training, a training at every sigma, waiting, stopping.

The page gets what it shows, a program the same as numbers.
"""

import threading
from collections.abc import Iterator
from typing import Any

import gradio as gr

from ...diagnostics.plots import plane_grid
from ..runs import messages
from ..runs.sessions import Outputs, SessionRuns
from . import moments, report
from .dilemma import dilemma, noised_distance
from .limits import TRAIN_SECONDS, check_each, check_learn
from .moments import Moment, Runs
from .plots import ARROWS
from .report import Panels

# The order in which the endpoints take their inputs; the session's runs come last.
LEARN_INPUTS = ("data", "levels", "objective", "sigma", "num_steps", "seed")
FRAMES_PER_PICTURE = 4  # the three pictures take longer to draw than the loss

Update = dict[str, Any]


class LearnHandlers(SessionRuns):
    """The functions behind the tab's events; one object serves all visitors.

    `values` are the inputs in the order of `LEARN_INPUTS`.
    """

    # Of a training: status, loss, numbers, pictures, the dilemma, the session's runs.
    num_outputs, status_at = 6, 0

    def preview(self, *values: Any) -> tuple[str | Update, str | Update]:
        """The true score of the noised density, and where this sigma stands; nothing new for settings that are refused.

        Args:
            *values: the inputs, and the session's runs.
        """
        *values, runs = values
        try:
            settings = check_learn(*values)
        except ValueError:
            return gr.skip(), gr.skip()
        return Panels(settings).html(), dilemma(settings, runs or [])

    def true_score(self, *values: Any) -> dict[str, Any]:
        """The same as numbers: points of the plane, log p and the true score there, null where there is none.

        Whatever is to be learned of it.

        Raises:
            ValueError: for an input that is refused.
        """
        settings = check_each(*values)
        noised, x = settings.learned.density.noised(settings.sigma), plane_grid(settings.learned.extent, ARROWS)
        has = settings.has_score
        return {
            "points": x.tolist(),
            "log_density": noised.log_prob(x).tolist() if has else None,
            "score": noised.score(x).tolist() if has else None,
            "distance_to_clean_data": noised_distance(settings.data, settings.sigma),
        }

    def check(self, *values: Any) -> str:
        """Why the settings are refused, or that the numbers on the page are of others, or nothing.

        Args:
            *values: the inputs, and the session's runs.
        """
        *values, runs = values
        try:
            settings = check_learn(*values)
        except ValueError as error:
            return messages.refusal(str(error))
        return report.made_with_others(runs[-1].settings) if runs and runs[-1].settings != settings else ""

    def train(self, *values: Any) -> Iterator[Outputs]:
        """Trains one network; yields status, loss, numbers, pictures, the dilemma, and the session's runs.

        Args:
            *values: the inputs, the session's runs, and the request.

        Raises:
            gr.Error: for settings that are refused and for runs that fail, with the reason.
        """
        *values, runs, request = values
        yield from self.answered(request, lambda stop: self._shown(self._one(values, runs or [], stop)))

    def sweep(self, *values: Any) -> Iterator[Outputs]:
        """The same for one noise level after another, and for all levels at once; see `moments.sweep`."""
        *values, runs, request = values
        yield from self.answered(request, lambda stop: self._shown(self._all(values, runs or [], stop)))

    def train_numbers(self, *values: Any) -> Iterator[dict[str, Any]]:
        """One training for a program; `values` are the inputs and the request."""
        *values, request = values
        yield from self.answered(request, lambda stop: self._one(values, [], stop), moments.told, messages.said)

    def sweep_numbers(self, *values: Any) -> Iterator[dict[str, Any]]:
        """All trainings for a program; `values` are the inputs and the request."""
        *values, request = values
        yield from self.answered(request, lambda stop: self._all(values, [], stop), moments.told_of_all, messages.said)

    @staticmethod
    def _one(values: list[Any], runs: Runs, stop: threading.Event) -> Iterator[Moment]:
        return moments.training(check_learn(*values), runs, stop, TRAIN_SECONDS)

    @staticmethod
    def _all(values: list[Any], runs: Runs, stop: threading.Event) -> Iterator[Moment]:
        return moments.sweep(check_each(*values), runs, stop)

    def _shown(self, trainings: Iterator[Moment]) -> Iterator[Outputs]:
        """What the page shows of moments."""
        for moment in trainings:
            run, runs = moment.run, moment.runs
            if run is None:
                yield self.only_status(moment.words, moment.kind)
                continue
            settings, step = run.settings, len(run.losses)
            status = messages.status(moment.words, step, settings.num_steps, kind=moment.kind)
            if moment.kind != "running" and moment.past is None:
                yield self.outputs(status)
                continue
            if moment.frame == 0:
                panels, least = Panels(settings), run.least_loss()
            loss = report.loss(run.losses, settings, least, runs)
            if moment.past is not None:
                pictures = panels.html(run, moment.drawn)
                yield (status, loss, report.numbers(moment.past), pictures, dilemma(settings, runs), runs)
                continue
            pictures = gr.skip()
            if moment.frame == 0 or moment.frame % FRAMES_PER_PICTURE == 1:
                pictures = panels.html(run if moment.frame else None)
            yield self.outputs(status, loss, gr.skip(), pictures)
