"""The Learn tab: a small network learns the score of a density in the plane, at one noise level, while one watches.

data      the densities
limits    its settings, checked
presets   settings worth looking at
run       training and measuring
plots     figures of the fields, the errors and the loss
report    what is said, as HTML
handlers  the functions behind the events
"""

from .tab import LearnTab

__all__ = ["LearnTab"]
