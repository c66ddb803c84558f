"""Cells: products of noised intervals, however finely a cell is cut, and right where everything underflows."""

import math

import pytest
import torch
from scipy.stats import norm

from ncsn_pipeline.densities import CellDensity

F64 = torch.float64
EXTENT = (-1.0, 2.0, 0.0, 1.0)
WEIGHTS = torch.tensor([[1.0, 0.0, 3.0], [0.0, 2.0, 4.0]], dtype=F64)


def test_one_cell_is_a_product():
    x, sigma = torch.randn(20, 2, dtype=F64), 0.7
    width = norm.cdf((x[:, 0] + 1) / sigma) - norm.cdf((x[:, 0] - 2) / sigma)
    height = norm.cdf(x[:, 1] / sigma) - norm.cdf((x[:, 1] - 1) / sigma)
    expected = torch.from_numpy(width * height / 3)
    one = CellDensity(torch.tensor([[5.0]], dtype=F64), EXTENT, sigma)
    torch.testing.assert_close(one.log_prob(x).exp(), expected, rtol=1e-12, atol=0)


@pytest.mark.parametrize("sigma", [0.001, 0.1, 1.0, 20.0])
def test_cutting_cells_changes_nothing(sigma):
    coarse = CellDensity(WEIGHTS, EXTENT, sigma)
    fine = CellDensity(WEIGHTS.repeat_interleave(3, 0).repeat_interleave(4, 1), EXTENT, sigma)
    x = torch.cat([coarse.sample(20), 4 * torch.randn(20, 2, dtype=F64)])
    torch.testing.assert_close(fine.log_prob(x), coarse.log_prob(x), rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(fine.score(x), coarse.score(x), rtol=1e-8, atol=1e-8 / sigma)


def test_histogram_without_noise():
    cells = CellDensity(WEIGHTS, EXTENT)
    x = torch.tensor([[-0.5, 0.2], [0.5, 0.7], [1.5, 0.9], [0.5, 0.2], [2.5, 0.2], [1.5, -0.1]], dtype=F64)
    expected = torch.tensor([1.0, 2.0, 4.0, 0.0, 0.0, 0.0], dtype=F64) / 10 / 0.5
    torch.testing.assert_close(cells.log_prob(x), expected.log(), rtol=1e-14, atol=0)
    # Inside a cell, far from its edges, tiny noise changes nothing.
    torch.testing.assert_close(cells.noised(0.01).log_prob(x[:3]), expected[:3].log(), rtol=1e-12, atol=0)
    with pytest.raises(ValueError, match=r"call .noised\(sigma\) first"):
        cells.score(x)


def test_samples_fill_the_cells_by_weight():
    n = 20_000
    x = CellDensity(WEIGHTS, EXTENT).sample(n)
    for i in range(2):
        for j in range(3):
            here = (x[:, 0].add(1).floor() == j) & ((2 * x[:, 1]).floor() == i)
            p = WEIGHTS[i, j].item() / 10
            assert here.double().mean().item() == pytest.approx(p, abs=5 * math.sqrt(p * (1 - p) / n))


@pytest.mark.parametrize(("dtype", "rtol"), [(F64, 1e-10), (torch.float32, 1e-4)])
def test_mass_beyond_underflow_is_the_far_cells_alone(dtype, rtol):
    """Empty cells all around, the only mass hundreds of sigma away: as if the empty cells were not there."""
    weights = torch.zeros(20, 30, dtype=dtype)
    weights[3, 7] = 1.0
    grid = CellDensity(weights, (0.0, 30.0, 0.0, 20.0), 0.02)
    alone = CellDensity(torch.ones(1, 1, dtype=dtype), (7.0, 8.0, 3.0, 4.0), 0.02)
    x = torch.tensor([[25.3, 15.2], [7.5, 15.0], [-4.0, 3.5], [7.4, 3.3], [8.2, 4.1]], dtype=dtype, requires_grad=True)
    torch.testing.assert_close(grid.log_prob(x), alone.log_prob(x), rtol=rtol, atol=rtol)
    torch.testing.assert_close(grid.score(x), alone.score(x), rtol=rtol, atol=rtol)
    (gradient,) = torch.autograd.grad(grid.log_prob(x).sum(), x)
    torch.testing.assert_close(grid.score(x).detach(), gradient, rtol=10 * rtol, atol=10 * rtol)


def test_integers_are_counts():
    cells = CellDensity(torch.tensor([[1, 3]]), (0, 2, 0, 1))
    assert cells.weights.tolist() == [[0.25, 0.75]]
    assert cells.sample(2).dtype == torch.get_default_dtype()


@pytest.mark.parametrize(
    ("weights", "extent", "message"),
    [
        (torch.zeros(2, 2), EXTENT, "not all 0"),
        (torch.tensor([[1.0, -1.0]]), EXTENT, "at least 0"),
        (torch.tensor([[1.0, math.nan]]), EXTENT, "finite"),
        (torch.ones(3), EXTENT, r"\(H, W\); got shape \(3,\)"),
        (torch.ones(0, 3), EXTENT, "weights"),
        (torch.ones(2, 2), (0, 0, 0, 1), "extent"),
        (torch.ones(2, 2), (0, 1, 1, 0), "extent"),
        (torch.ones(2, 2), (0, 1, 0), "extent"),
        (torch.ones(2, 2), (0, math.inf, 0, 1), "extent"),
    ],
)
def test_bad_cells_are_refused(weights, extent, message):
    with pytest.raises(ValueError, match=message):
        CellDensity(weights, extent)
