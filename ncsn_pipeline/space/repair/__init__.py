"""The Repair tab: marked parts of an image painted anew, several ways at once, and images made from a sketch.

limits     its settings, checked, and what they cost
canvas     the pixels to paint and mark on, in the browser; `examples/` holds test images of MNIST
controls   sliders and menus
call       from settings to a call of the pipeline, and the Python that does the same
handlers   the functions behind the events
"""

from .tab import RepairTab

__all__ = ["RepairTab"]
