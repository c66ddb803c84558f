"""How events reach a browser: a slow one, a phone's for instance, has to keep up with what a run sends.

Gradio hands the page all values that have come at once, and the page hears no click before it has shown the last of
them: a browser that needs longer for a value than the server does falls behind for good, and cannot stop the run.
"""

from typing import Any

# No output is marked as waiting: Gradio marks all, of every event so far, anew with each value that a run sends.
QUIET: dict[str, Any] = {"show_progress": "hidden", "show_progress_on": []}
# Not queued, and no endpoint.
PRIVATE: dict[str, Any] = QUIET | {"api_visibility": "private", "queue": False}
# Values as they were sent: what Gradio refuses by itself, it refuses in its own words, and shows no later preview.
CHECKED_BY_US: dict[str, Any] = QUIET | {"preprocess": False}
# Figures of settings that change: one at a time, and only the last ones matter.
PREVIEW: dict[str, Any] = CHECKED_BY_US | {
    "trigger_mode": "always_last",
    "concurrency_id": "plots",
    "concurrency_limit": 1,
}

LEAST_PAUSE, MOST_PAUSE = 0.2, 1.0
SHARE_OF_A_RUN = 0.1


def pause_between_frames(elapsed: float) -> float:
    """Seconds from one frame of a run to the next: a fifth at first, later more, so that who is behind catches up.

    Args:
        elapsed: seconds since the run began.
    """
    return min(max(SHARE_OF_A_RUN * elapsed, LEAST_PAUSE), MOST_PAUSE)
