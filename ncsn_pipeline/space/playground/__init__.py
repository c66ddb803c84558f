"""The Playground tab: Langevin particles at one noise level and at many, beside each other, in the browser.

No server work: the page's JavaScript moves and draws the particles.  Its arithmetic is the package's own, see
`tests/space/test_playground.py`.  The files in the order in which they are joined, each using those before it:

langevin    noise levels, step sizes, the step, random numbers
densities   mixtures of Gaussians: score, log density, shares of the modes
shapes      the densities to choose from, and drawn ones
settings    ranges, defaults, and the address of the page
chains      the two chains, plain and annealed
scene       contours and labels of a density
verdict     whether shares and shape are right, beside what is chance
recording   where the particles were, to be looked at again
average     the same settings from several starts
run         the chains, what was kept of them and their average, in the time there is
canvas      a view of the plane
bars        shares of the modes
ladder      the plot whose levels can be dragged
controls    sliders, boxes and buttons of the settings
pointer     clicks and strokes
numbers     what is said about the chains
frames      the loop that goes on while somebody looks
main        the page put together, its buttons, what a frame shows
"""

from .tab import PlaygroundTab

__all__ = ["PlaygroundTab"]
