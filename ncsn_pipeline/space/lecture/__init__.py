"""The Lecture tab: its claims, each with the experiment that measures it.

stops     titles, themes and equations of the claims
results   what the project measured at full size, shown first
knobs     an experiment's parameters as knobs, and the check of what is asked for
run       a run that can be stopped
report    what is said, as HTML
handlers  the functions behind the events
"""

from .tab import LectureTab

__all__ = ["LectureTab"]
