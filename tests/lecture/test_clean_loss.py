"""What is taken off a loss before its spread is measured."""

import pytest
import torch

from ncsn_pipeline.lecture.clean_loss import detrended


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
