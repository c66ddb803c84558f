"""The Generate tab: images from noise, as they form, with every setting of the sampler at hand.

limits       its settings, checked, and what they cost
presets      settings worth looking at
controls     sliders, boxes and menus
call         from settings to a call of the pipeline, and the Python that does the same
handlers     the functions behind the events
report       figures and notes about the settings and the run
trajectory   the player that scrubs through a run
"""

from .tab import GenerateTab

__all__ = ["GenerateTab"]
