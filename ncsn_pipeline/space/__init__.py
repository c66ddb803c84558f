"""The Space: a page on which a score network can be watched at work, a tab a file.

limits      what a visitor may ask for: every input is checked there, once
model       the network, loaded once
call, run   from settings to a call of the pipeline, and that call in a thread that can be stopped
plots       figures; grid: images as one picture; report: what is said about settings
playground  the first tab: Langevin particles in the browser
generate    the second tab, with its controls and presets
learn       the tab where a small network learns a score in the plane: its data, runs, plots and words beside it
page        the tabs put together
"""

from .page import build_page, launch_options

__all__ = ["build_page", "launch_options"]
