"""The slope on logarithmic axes and the points off the circle, in closed form."""

import pytest
import torch

from ncsn_pipeline.densities import ring
from ncsn_pipeline.lecture.manifold import log_log_slope, points_off_the_circle, shuffle_pixels


@pytest.mark.parametrize("power", [0.0, 1.0, 2.5])
def test_the_slope_of_a_power_is_its_exponent(power):
    sigmas = (0.9, 0.3, 0.05, 0.02)
    assert log_log_slope(sigmas, [3 * sigma**-power for sigma in sigmas]) == pytest.approx(power, abs=1e-12)


def test_the_points_lie_at_the_distance_on_both_sides():
    x = points_off_the_circle(0.25)
    fine = ring(num_segments=20_000)
    torch.testing.assert_close(fine.distance(x), torch.full((len(x),), 0.25), rtol=0, atol=1e-5)
    assert (x.norm(dim=1) < 1).sum() == len(x) // 2


def test_the_exact_score_off_the_circle_explodes_with_the_square_of_one_over_sigma():
    """The first order, d / sigma²; beyond it the curvature adds 1 / (2 r), of no weight as sigma goes to zero."""
    x, sigmas = points_off_the_circle(0.25).double(), (0.04, 0.02, 0.01)
    curve = ring(num_segments=4096, dtype=torch.float64)
    norms = [float(curve.noised(sigma).score(x).norm(dim=1).mean()) for sigma in sigmas]
    assert norms == pytest.approx([0.25 / sigma**2 for sigma in sigmas], rel=2e-3)
    assert log_log_slope(sigmas, norms) == pytest.approx(2, abs=1e-3)


def test_shuffled_pixels_keep_their_values_and_tell_nothing_of_each_other():
    generator = torch.Generator().manual_seed(0)
    common = torch.randn(4000, 1, 1, 1, generator=generator)
    images = common + 0.1 * torch.randn(4000, 1, 2, 3, generator=generator)
    shuffled = shuffle_pixels(images, generator)
    assert shuffled.shape == images.shape
    torch.testing.assert_close(shuffled.flatten(1).sort(0).values, images.flatten(1).sort(0).values)
    correlation = torch.corrcoef(shuffled.flatten(1).T) - torch.eye(6)
    assert correlation.abs().max() < 5 / 4000**0.5
