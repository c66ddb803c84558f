"""Densities of which everything is known in closed form: samples, log density, score, at every noise level.

Read `density.py` first, for the interface; then the densities, from the simplest to the most curious:

    gaussian_mixture   a few Gaussians
    empirical          the data themselves, one Gaussian on each
    curve              uniform along a curve: data on a one-dimensional manifold
    cells              constant on the cells of a grid: a histogram, a checkerboard, a picture
    shapes             moons, rings, spirals, checkerboards, pictures, ready made

`interval` holds what noise does to a uniform stretch of mass, `drawing` how indices and uniform numbers are drawn.
"""

from ncsn_pipeline.densities.cells import CellDensity
from ncsn_pipeline.densities.curve import CurveDensity
from ncsn_pipeline.densities.density import Density, NoisyScoreFn, ScoreFn, exact_score_function
from ncsn_pipeline.densities.empirical import EmpiricalDensity
from ncsn_pipeline.densities.gaussian_mixture import GaussianMixture
from ncsn_pipeline.densities.shapes import checkerboard, from_image, ring, spiral, swiss_roll, two_moons

__all__ = [
    "CellDensity",
    "CurveDensity",
    "Density",
    "EmpiricalDensity",
    "GaussianMixture",
    "NoisyScoreFn",
    "ScoreFn",
    "checkerboard",
    "exact_score_function",
    "from_image",
    "ring",
    "spiral",
    "swiss_roll",
    "two_moons",
]
