"""The Space: a page on which a score network can be watched at work, a tab a folder.

page         the tabs put together
playground   Langevin particles in the browser
generate     images from noise, as they form
repair       marked parts of an image painted anew, and images from a sketch
learn        a small network learns a score in the plane
lecture      the lecture's claims, each with its experiment to run again
about        equations, limits, the page as an API

What they share:

limits, budget     every input is checked on the server: numbers, counts, choices, and what a run costs
model, models      networks, loaded once
samplers           the samplers by name
work, run          a thread that can be stopped, one at a time; a call of the pipeline in it
recording          what is kept of such a call
sessions, guard    a run for each visitor, which he can stop; failures and uploads: nobody sees a raw exception
events             how events reach a browser, and how often: a slow one must keep up
sharing            settings in the page's address
grid, pictures     images as one picture, as files
plots, messages    figures; what is said of a run
presets, seeds     settings worth looking at, a button each; the same run again, or another
programs           the Python of a run, to take along
"""

from .page import build_page, launch_options

__all__ = ["build_page", "launch_options"]
