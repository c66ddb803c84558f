"""The Space: a page on which a score network can be watched at work, a tab a folder.

page         the tabs put together
playground   Langevin particles in the browser
generate     images from noise, as they form
repair       marked parts of an image painted anew, images from a sketch, images given a measurement
learn        a small network learns a score in the plane
lecture      the lecture's claims, each with its experiment to run again
about        equations, limits, the page as an API

What they share:

runs         a visitor's run: its inputs checked, its network, its thread, what is said of it
widgets      pictures, figures, presets, seeds, programs
server       failures and uploads; settings in the page's address
"""

from .page import build_page, models_to_show, serve

__all__ = ["build_page", "models_to_show", "serve"]
