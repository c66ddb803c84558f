"""What is taken off a loss before its spread is measured."""

import pytest
import torch

from ncsn_pipeline.lecture.clean_loss import bumps, change, detrended


def test_a_parabola_is_all_trend():
    t = torch.arange(200, dtype=torch.float64)
    torch.testing.assert_close(
        detrended(3 - 2 * t + 0.5 * t**2), torch.zeros(200, dtype=torch.float64), rtol=0, atol=1e-9
    )


def test_what_is_left_holds_no_trend_and_keeps_the_bumps():
    t = torch.arange(1000, dtype=torch.float64)
    noise = torch.randn(1000, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    left = detrended(1e-3 * t**2 - t + noise)
    torch.testing.assert_close(detrended(left), left)
    torch.testing.assert_close(left, detrended(noise))
    assert (left @ torch.stack([t**0, t, t**2], dim=1)).abs().max().item() < 1e-3  # of 1e9, the last power's sum
    assert left.std().item() == pytest.approx(noise.std().item(), rel=0.01)  # 3 of 1,000 degrees of freedom


def test_bumps_are_relative_to_the_level_whatever_the_scale():
    noise = torch.randn(4000, generator=torch.Generator().manual_seed(0))
    assert bumps(noise - 10) == pytest.approx(0.1, rel=4 / 4000**0.5)  # the deviation of 2,000 values
    assert bumps(1000 * (noise - 10)) == pytest.approx(bumps(noise - 10), rel=1e-4)


def test_the_change_is_that_of_the_last_two_fifths():
    losses = torch.full((100,), 7.0)
    losses[60:80], losses[80:] = -3.0, -4.0
    assert change(losses) == 0.25
    losses[:60] = 1e6
    assert change(losses) == 0.25
