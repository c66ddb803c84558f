"""The matrix of errors, and what is read off it."""

import pytest
import torch

from ncsn_pipeline.densities import GaussianMixture, exact_score_function
from ncsn_pipeline.lecture.wrong_sigma import WrongSigmaParams, error_matrix, neighbour, wrong_over_right


def test_the_matrix_of_exact_scores_of_a_gaussian():
    """E_ij of s_j = -x / v_j at data of variance v_i is (v_i / v_j - 1)²: rows are data, columns what is told."""
    density = GaussianMixture(torch.zeros(1, 2, dtype=torch.float64), 1.0)
    levels = torch.tensor([2.0, 1.0, 0.5], dtype=torch.float64)
    generator = torch.Generator().manual_seed(0)
    found = error_matrix(exact_score_function(density), density, levels, 100, generator)
    v = 1 + levels**2
    torch.testing.assert_close(found, (v[:, None] / v - 1).square(), rtol=1e-6, atol=1e-12)


def test_a_score_that_is_not_told_has_rows_of_one_number():
    density = GaussianMixture(torch.zeros(1, 2), 1.0)
    generator = torch.Generator().manual_seed(0)
    found = error_matrix(lambda x, _: -x / 2, density, torch.tensor([2.0, 0.5]), 100, generator)
    assert found[0, 0] == found[0, 1] and found[1, 0] == found[1, 1] and found[0, 0] != found[1, 0]
    assert wrong_over_right(found) == [1.0, 1.0]


def test_what_is_read_off_a_row():
    errors = torch.tensor([[1.0, 4.0, 2.0], [9.0, 3.0, 6.0], [0.5, 8.0, 2.0]], dtype=torch.float64)
    assert wrong_over_right(errors) == [2.0, 2.0, 0.25]
    assert neighbour(errors).tolist() == [4.0, 6.0, 8.0]


def test_one_level_is_too_few():
    with pytest.raises(ValueError, match="num_levels must be at least 2; got 1"):
        WrongSigmaParams(num_levels=1)
