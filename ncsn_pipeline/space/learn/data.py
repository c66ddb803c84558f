"""The densities of the Learn tab: shapes in the plane of about one size, so that one range of sigma suits them all."""

from dataclasses import dataclass

from ...densities import Density, GaussianMixture, checkerboard, ring, spiral, two_moons
from ...diagnostics.plots.plane import Extent
from ...lecture.one_sigma import eight_modes
from ...lecture.toy import corner_mixture


@dataclass(frozen=True)
class LearnData:
    """What can be learned.

    Args:
        label: its name on the page.
        density: the clean density, without noise.
        extent: `(x_min, x_max, y_min, y_max)` of the pictures, in data units.
        thickness: standard deviation of its finest detail, in data units; 0 for a curve.
    """

    label: str
    density: Density
    extent: Extent
    thickness: float = 0.0

    @property
    def has_clean_score(self) -> bool:
        """Whether there is a score without noise: not on a curve, and not at the edges of squares."""
        return isinstance(self.density, GaussianMixture)


def _corners() -> GaussianMixture:
    """The two Gaussians of Song & Ermon 2019, figure 2, at a quarter of their size."""
    original = corner_mixture()
    return GaussianMixture(original.means / 4, 0.25, original.weights)


DATA = {
    "eight": LearnData("Eight Gaussians", eight_modes(0.1), (-3.2, 3.2, -3.2, 3.2), 0.1),
    "gaussians": LearnData("Two Gaussians", _corners(), (-2.4, 2.4, -2.4, 2.4), 0.25),
    "ring": LearnData("Ring", ring(1.4), (-2.4, 2.4, -2.4, 2.4)),
    "moons": LearnData("Two moons", two_moons(), (-1.7, 2.7, -1.95, 2.45)),
    "spiral": LearnData("Spiral", spiral(2.0, 1.8), (-2.4, 2.4, -2.4, 2.4)),
    "checkerboard": LearnData("Checkerboard", checkerboard(), (-2.6, 2.6, -2.6, 2.6), 0.3),
}
