"""What log p gains along a loop: exact for fields that are linear along its segments."""

import pytest
import torch

from ncsn_pipeline.diagnostics import circle, circulation
from ncsn_pipeline.lecture.conservative import gain


@pytest.fixture
def loop():
    return circle(torch.tensor([0.3, -0.2], dtype=torch.float64), 1.5, 40)


def test_gain_of_a_gradient_is_the_difference_of_the_log_density(loop):
    precision = torch.tensor([[2.0, 0.5], [0.5, 1.0]], dtype=torch.float64)
    log_p = -0.5 * ((loop @ precision) * loop).sum(1)
    gained = gain(lambda x: -x @ precision, loop)
    torch.testing.assert_close(gained[:-1], log_p - log_p[0], rtol=0, atol=1e-12)
    assert abs(gained[-1]) < 1e-12


def test_gain_of_a_rotation_is_twice_the_area_so_far(loop):
    gained = gain(lambda x: torch.stack([-x[:, 1], x[:, 0]], 1), loop)
    x, y = torch.cat([loop, loop[:1]]).T
    area = 0.5 * (x[:-1] * y[1:] - x[1:] * y[:-1]).cumsum(0)
    torch.testing.assert_close(gained[1:], 2 * area, rtol=0, atol=1e-12)


def test_gain_around_the_whole_loop_converges_to_the_circulation():
    def field(x):
        return torch.stack([-(x[:, 1] ** 3), x[:, 0].sin()], 1)

    errors = []
    for num_points in (50, 100):
        polygon = circle(torch.tensor([0.3, -0.2], dtype=torch.float64), 1.5, num_points)
        errors.append(abs(gain(field, polygon)[-1].item() - circulation(field, polygon)))
    assert errors[1] == pytest.approx(errors[0] / 4, rel=0.05)
