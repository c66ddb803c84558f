"""Distances between sets of samples: closed forms for Gaussians, and no difference where there is none."""

import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import quad
from scipy.special import ndtr
from scipy.stats import binom, wasserstein_distance

from ncsn_pipeline.diagnostics import distances, maximum_mean_discrepancy, sliced_wasserstein


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def normal(*shape, generator=None):
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


# Sliced Wasserstein


@pytest.mark.parametrize(("n", "m"), [(7, 7), (5, 8), (1, 6), (12, 4)])
def test_in_one_dimension_it_is_scipys(n, m):
    x, y = normal(n, 1), normal(m, 1) + 1
    expected = wasserstein_distance(x[:, 0].numpy(), y[:, 0].numpy())
    assert sliced_wasserstein(x, y, num_projections=2) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("dimension", [1, 2, 5])
def test_shifted_sets(dimension):
    """Every slice is shifted by v . c: SW_2² = |c|² / d and SW_1 = |c| Gamma(d/2) / (sqrt(pi) Gamma((d+1)/2))."""
    x, c, slices = normal(4, dimension), normal(dimension), 50_000
    length = c.norm().item()
    squared = sliced_wasserstein(x, x + c, p=2, num_projections=slices) ** 2
    variance = length**4 * (3 / (dimension * (dimension + 2)) - 1 / dimension**2)
    assert squared == pytest.approx(length**2 / dimension, abs=5 * math.sqrt(variance / slices) + 1e-12)
    first = length * math.exp(math.lgamma(dimension / 2) - math.lgamma((dimension + 1) / 2)) / math.sqrt(math.pi)
    variance = length**2 / dimension - first**2
    found = sliced_wasserstein(x, x + c, p=1, num_projections=slices)
    assert found == pytest.approx(first, abs=5 * math.sqrt(max(variance, 0) / slices) + 1e-12)


def test_gaussians_of_two_widths():
    """W_2 = |s - 1| and W_1 = |s - 1| sqrt(2 / pi) in every direction, to the accuracy of the samples."""
    n, s = 40_000, 2.0
    x, y = normal(n, 3), s * normal(n, 3)
    # The mean of |x| has the standard error sqrt((1 - 2/pi) / n) times the width; both sets scatter.
    tolerance = 5 * math.sqrt((1 + s**2) / n)
    assert sliced_wasserstein(x, y, p=2, num_projections=16) == pytest.approx(s - 1, abs=tolerance)
    assert sliced_wasserstein(x, y, p=1, num_projections=16) == pytest.approx(math.sqrt(2 / math.pi), abs=tolerance)


@settings(deadline=None, max_examples=30, derandomize=True)
@given(seed=st.integers(0, 2**31), p=st.sampled_from([1, 2]), scale=st.floats(1e-3, 1e3))
def test_it_is_a_distance(seed, p, scale):
    generator = seeded(seed)
    x, y, z = normal(6, 3, generator=generator), normal(9, 3, generator=generator), normal(4, 3, generator=generator)

    def between(a, b):
        return sliced_wasserstein(a, b, num_projections=20, p=p, generator=seeded(seed))

    assert between(x, x[torch.randperm(6, generator=generator)]) == pytest.approx(0, abs=1e-12)
    assert between(x, x.repeat(3, 1)) == pytest.approx(0, abs=1e-12)
    assert between(x, y) == pytest.approx(between(y, x), rel=1e-12)
    assert between(x, z) <= between(x, y) + between(y, z) + 1e-12
    assert between(scale * x + 1, scale * y + 1) == pytest.approx(scale * between(x, y), rel=1e-9)
    shorter = sliced_wasserstein(x, y, num_projections=20, p=1, generator=seeded(seed))
    assert shorter <= between(x, y) + 1e-12


def test_two_sets_of_one_gaussian_are_apart_by_chance():
    """E SW_1 = int E |X - Y| / n, X and Y the counts below t: 1.76 deviations / sqrt(n) at n = 100.

    Where counts are normal, at large n, it is 2 / sqrt(pi) int sqrt(F (1 - F)) = 1.82.
    """
    integral, _ = quad(lambda t: math.sqrt(ndtr(t) * ndtr(-t)), -12, 12)
    assert 2 / math.sqrt(math.pi) * integral == pytest.approx(1.82, abs=5e-3)
    n, dimension, repeats, std = 100, 64, 60, 0.3
    counts, t = np.arange(n + 1), np.linspace(-5, 5, 101)
    below = binom.pmf(counts, n, ndtr(t)[:, None])
    apart_at_t = np.einsum("ti,ij,tj->t", below, np.abs(counts[:, None] - counts), below) / n
    factor = math.sqrt(n) * np.trapezoid(apart_at_t, t)
    assert factor == pytest.approx(1.76, abs=5e-3)
    pairs = (std * normal(2, n, dimension) for _ in range(repeats))
    apart = torch.tensor([sliced_wasserstein(x, y, num_projections=64) for x, y in pairs], dtype=torch.float64)
    standard_error = apart.std().item() / math.sqrt(repeats)
    assert apart.mean().item() == pytest.approx(factor * std / math.sqrt(n), abs=4.5 * standard_error)
    assert 4.5 * standard_error < 0.05 * factor * std / math.sqrt(n)


def test_images_and_generators():
    x, y = torch.rand(2, 5, 1, 4, 4)
    flat = sliced_wasserstein(x.flatten(1), y.flatten(1), generator=seeded())
    assert sliced_wasserstein(x, y, generator=seeded()) == flat
    assert sliced_wasserstein(x, y, generator=seeded(1)) != flat


# Maximum mean discrepancy


def test_the_definition_whatever_the_blocks(monkeypatch):
    x, y, h = normal(7, 2), normal(5, 2) + 1, 0.8
    k = lambda a, b: torch.exp(-torch.cdist(a, b).square() / (2 * h**2))  # noqa: E731
    within = [(k(a, a).sum() - len(a)) / (len(a) * (len(a) - 1)) for a in (x, y)]
    expected = (sum(within) - 2 * k(x, y).mean()).item()
    whole = maximum_mean_discrepancy(x, y, bandwidth=h)
    assert whole.value == pytest.approx(expected, rel=1e-10)
    # The U-centred matrix in full.
    z = torch.cat([x, y])
    n = len(z)
    kernel = k(z, z).fill_diagonal_(0)
    row = kernel.sum(1) / (n - 2)
    centred = (kernel - row[:, None] - row + kernel.sum() / ((n - 1) * (n - 2))).fill_diagonal_(0)
    variance = 2 * centred.square().sum() / (n * (n - 3)) * (1 / 42 + 1 / 20 + 2 / 35)
    assert whole.null_standard_deviation == pytest.approx(variance.sqrt().item(), rel=1e-10)
    assert maximum_mean_discrepancy(x, y).bandwidth == pytest.approx(torch.pdist(z).median().item(), rel=1e-12)
    monkeypatch.setattr(distances, "_BLOCK_ELEMENTS", 30)
    assert maximum_mean_discrepancy(x, y, bandwidth=h).value == pytest.approx(whole.value, rel=1e-10)


@pytest.mark.parametrize(("n", "m"), [(4, 3), (2, 5), (5, 3)])
def test_over_all_ways_to_share_the_samples_out_the_mean_is_0_and_the_variance_as_stated(n, m):
    """Exact: which of the pooled samples are x and which y is chance where both have one density."""
    pooled, everyone = normal(n + m, 2), set(range(n + m))
    shares = [(list(x), list(everyone - set(x))) for x in itertools.combinations(range(n + m), n)]
    found = [maximum_mean_discrepancy(pooled[x], pooled[y], bandwidth=1.0) for x, y in shares]
    values = torch.tensor([each.value for each in found], dtype=torch.float64)
    assert values.mean().item() == pytest.approx(0, abs=1e-14)
    for each in found:
        assert each.null_standard_deviation**2 == pytest.approx(values.square().mean().item(), rel=1e-10)


def test_shifted_gaussians():
    """E k = (h² / (h² + 2))^(d/2) exp(-|c|² / (2 (h² + 2))) between unit Gaussians a vector c apart."""
    h, d, c = 1.3, 2, torch.tensor([0.9, -0.4], dtype=torch.float64)
    within = (h**2 / (h**2 + 2)) ** (d / 2)
    expected = 2 * within * (1 - math.exp(-c.square().sum().item() / (2 * (h**2 + 2))))
    values = torch.tensor(
        [maximum_mean_discrepancy(normal(40, d), normal(60, d) + c, bandwidth=h).value for _ in range(300)]
    )
    assert values.mean().item() == pytest.approx(expected, abs=5 * values.std().item() / math.sqrt(300))


@settings(deadline=None, max_examples=25, derandomize=True)
@given(seed=st.integers(0, 2**31), scale=st.floats(1e-3, 1e3))
def test_neither_unit_nor_axes_nor_order_matter(seed, scale):
    """With the median bandwidth, which grows with the data."""
    generator = seeded(seed)
    x, y = normal(8, 3, generator=generator), normal(5, 3, generator=generator)
    rotation = torch.linalg.qr(normal(3, 3, generator=generator)).Q
    plain = maximum_mean_discrepancy(x, y)
    turned = maximum_mean_discrepancy(scale * x @ rotation + 3, scale * y @ rotation + 3)
    swapped = maximum_mean_discrepancy(y, x)
    assert turned.bandwidth == pytest.approx(scale * plain.bandwidth, rel=1e-8)
    for other in (turned, swapped):
        assert other.value == pytest.approx(plain.value, abs=1e-8)
        assert other.null_standard_deviation == pytest.approx(plain.null_standard_deviation, rel=1e-6)


def test_a_missing_mode_is_many_deviations_away():
    modes = torch.tensor([[3.0, 3.0], [-3.0, -3.0]], dtype=torch.float64)
    both = modes[torch.arange(400) % 2] + normal(400, 2)
    one = modes[0] + normal(400, 2)
    found = maximum_mean_discrepancy(both, one)
    assert found.value > 20 * found.null_standard_deviation


@pytest.mark.parametrize(
    "call",
    [
        lambda: sliced_wasserstein(torch.zeros(3, 2), torch.zeros(3, 3)),
        lambda: sliced_wasserstein(torch.zeros(3), torch.zeros(3)),
        lambda: sliced_wasserstein(torch.zeros(0, 2), torch.zeros(3, 2)),
        lambda: sliced_wasserstein(torch.zeros(3, 2), torch.full((3, 2), math.nan)),
        lambda: sliced_wasserstein(torch.zeros(3, 2), torch.zeros(3, 2), p=3),
        lambda: sliced_wasserstein(torch.zeros(3, 2), torch.zeros(3, 2), num_projections=0),
        lambda: maximum_mean_discrepancy(torch.zeros(1, 2), torch.zeros(3, 2)),
        lambda: maximum_mean_discrepancy(torch.zeros(3, 2), torch.zeros(3, 2)),
        lambda: maximum_mean_discrepancy(torch.randn(3, 2), torch.randn(3, 2), bandwidth=-1.0),
    ],
)
def test_bad_input_is_refused(call):
    with pytest.raises(ValueError, match="got|finite"):
        call()
