"""Where two fields are near each other."""

import pytest
import torch

from ncsn_pipeline.lecture.full_support import TOLERANCE, FullSupportParams, near


def test_a_field_is_near_another_up_to_the_tolerance_of_its_square():
    other = torch.tensor([[3.0, 4.0]], dtype=torch.float64).expand(4, 2)
    factor = 1 + TOLERANCE**0.5 * torch.tensor([0.0, 0.99, -0.99, 1.01], dtype=torch.float64)[:, None]
    assert near(factor * other, other, other).tolist() == [True, True, True, False]


def test_the_unit_is_the_mean_of_the_squares():
    """|| a - b ||² is 1 here, and a tenth of the mean of || a ||² = 1 and || b ||² = 19 is 1: just near."""
    a, b = torch.tensor([[0.0, 1.0]]), torch.tensor([[1.0, 1.0]])
    large = torch.tensor([[19.0**0.5, 0.0]])
    assert near(a, b, a, 1.001 * large).item() and not near(a, b, a, 0.99 * large).item()
    assert not near(a, b, a, a).item()


def test_the_zero_field_is_near_nothing_but_itself():
    zero, one = torch.zeros(1, 2), torch.ones(1, 2)
    assert not near(zero, one, one).item() and near(zero, zero, zero).item()


def test_levels_increase():
    with pytest.raises(ValueError, match="sigmas must be at least 2 values; got \\(1.0,\\)"):
        FullSupportParams(sigmas=(1.0,))
