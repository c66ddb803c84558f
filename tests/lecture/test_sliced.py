"""The variance of both forms on Gaussian data, against the formulas of the docstring."""

import pytest
import torch

from ncsn_pipeline.densities import GaussianMixture
from ncsn_pipeline.lecture.sliced import UNIT_LENGTH, flat_gaussian, residuals


def standard_error_of_variance(values):
    return float((values - values.mean()).square().std() / len(values) ** 0.5)


@pytest.mark.parametrize("flat", [True, False])
def test_rademacher_variances(flat):
    generator = torch.Generator().manual_seed(0)
    density = flat_gaussian(6, thickness=0.3)
    if not flat:
        density = GaussianMixture(torch.zeros(1, 6), torch.eye(6)[None] + 0.5)
    precision = density.covariances[0].double().inverse()
    off_diagonal = precision - precision.diagonal().diag()
    a = off_diagonal.square().sum()
    diagonal = precision.diagonal()
    b = diagonal.sum() ** 2 - diagonal.square().sum()
    found = dict(residuals(density.score, density.sample(40_000, generator=generator), 0.03, generator))
    for form, expected in (("reduced", 2 * a), ("plain", a + b / 2)):
        values = found[f"Rademacher, {form}"]
        error = standard_error_of_variance(values)
        assert error < 0.1 * expected
        assert float(values.var()) == pytest.approx(float(expected), abs=5 * error)


@pytest.mark.parametrize("dimension", [2, 8])
def test_a_flat_gaussian_is_thin_in_one_direction_and_unit_in_the_others(dimension):
    spectrum = torch.linalg.eigvalsh(flat_gaussian(dimension, thickness=0.1).covariances[0])
    torch.testing.assert_close(spectrum, torch.tensor([0.01] + [1.0] * (dimension - 1)), rtol=1e-4, atol=1e-6)


def test_directions_of_length_one_miss_all_but_one_part_of_the_trace():
    """E v v^T = I / D: what is found is tr / D, here of the score -P x."""
    generator = torch.Generator().manual_seed(0)
    density = flat_gaussian(6, thickness=0.3)
    trace = -density.covariances[0].double().inverse().trace()
    found = dict(residuals(density.score, density.sample(20_000, generator=generator), 0.03, generator))
    values = found[UNIT_LENGTH]
    error = float(values.std()) / len(values) ** 0.5
    assert float(values.mean()) == pytest.approx(float(trace / 6 - trace), abs=4 * error)
    assert error < 0.01 * abs(trace)
