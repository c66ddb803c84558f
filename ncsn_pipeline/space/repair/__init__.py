"""The Repair tab: marked parts of an image painted anew, images made from a sketch, and images given a measurement.

settings   checked, and what they cost
canvas     the pixels to paint and mark on, in the browser; `examples/` holds test images of MNIST
controls   sliders and menus
measuring  tasks that know a picture by a measurement alone: y = A x + noise
spread     what the results say together: mean, where they differ, fidelity to y
call       from settings to a call of the pipeline, and the Python that does the same
handlers   the functions behind the events
"""

from .tab import RepairTab

__all__ = ["RepairTab"]
