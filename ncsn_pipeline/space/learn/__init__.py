"""The Learn tab: a small network learns the score of a density in the plane, at one noise level or at all.

data        the densities
limits      its settings, checked
presets     settings worth looking at
objectives  what is minimised, by which network
run         training, measuring and drawing
plots       figures of the fields, the errors and the loss
dilemma     what one noise level costs, over sigma, and what all of them come to
report      what else is said, as HTML
handlers    the functions behind the events
"""

from .tab import LearnTab

__all__ = ["LearnTab"]
