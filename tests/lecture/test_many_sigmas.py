"""Angles between fields, and where the points lie at which they are taken."""

import pytest
import torch

from ncsn_pipeline.densities import two_moons
from ncsn_pipeline.lecture.many_sigmas import EDGES, FARTHEST, mean_angle, points_around


@pytest.mark.parametrize("degrees", [0.0, 30.0, 90.0, 180.0])
def test_the_angle_of_a_rotation_whatever_the_lengths(degrees):
    generator = torch.Generator().manual_seed(0)
    a = torch.randn(50, 2, generator=generator, dtype=torch.float64)
    turn = torch.tensor(degrees, dtype=torch.float64).deg2rad()
    rotation = torch.stack([torch.stack([turn.cos(), -turn.sin()]), torch.stack([turn.sin(), turn.cos()])])
    lengths = torch.rand(50, 1, generator=generator, dtype=torch.float64) + 0.1
    assert mean_angle(a, lengths * a @ rotation.T) == pytest.approx(degrees, abs=1e-5)


def test_the_points_around_reach_every_bin_of_distance():
    density = two_moons()
    x = points_around(density, 4000, torch.Generator().manual_seed(0))
    distance = density.distance(x)
    assert distance.max() <= FARTHEST + 1e-4
    assert torch.histogram(distance, torch.tensor(EDGES)).hist.min() > 50
