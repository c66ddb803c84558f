"""Technique 1 against SciPy's pairwise distances."""

import math

import numpy as np
import pytest
import torch
from scipy.spatial.distance import pdist

from ncsn_pipeline.noise_levels import distance, largest_pairwise_distance
from ncsn_pipeline.noise_levels.distance import MOST_PRODUCTS, measured_points, pairwise_distance_quantiles


@pytest.mark.parametrize("shape", [(2, 1), (5,), (300, 7), (1100, 2, 3), (40, 3, 8, 8)])
@pytest.mark.parametrize("offset", [0.0, 1000.0])
def test_maximum_is_that_of_all_pairs(shape, offset):
    data = torch.randn(shape, dtype=torch.float64) + offset
    expected = pdist(data.reshape(shape[0], -1).numpy()).max()
    assert largest_pairwise_distance(data) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("quantile", [0.0, 0.25, 0.5, 0.99, 0.999])
@pytest.mark.parametrize("num_points", [3, 50, 1500])
def test_quantile_is_that_of_all_pairs(quantile, num_points):
    data = torch.rand(num_points, 10, dtype=torch.float64)
    distances = pdist(data.numpy())
    expected = np.quantile(distances, quantile)
    # The bins are at most 2^-20 of twice the largest distance from the mean, itself below the largest distance.
    assert largest_pairwise_distance(data, quantile=quantile) == pytest.approx(expected, abs=distances.max() * 2**-19)


def test_blocks_do_not_change_the_result(monkeypatch):
    data = torch.randn(101, 6, dtype=torch.float64)
    expected = pairwise_distance_quantiles(data, [0.9, 1.0])
    monkeypatch.setattr(distance, "_LEAST_ROWS", 1)
    monkeypatch.setattr(distance, "_BLOCK_ELEMENTS", 60)  # ten rows a block, the last one of a single row
    assert pairwise_distance_quantiles(data, [0.9, 1.0]) == pytest.approx(expected, rel=1e-5)
    assert len(list(distance._distance_blocks(data, data.mean(0), 10))) == 11 * 12 // 2 - 1


def test_groups_of_dimensions_do_not_change_the_result(monkeypatch):
    data = torch.randn(300, 50, dtype=torch.float64) + 10
    expected = pdist(data.numpy())
    monkeypatch.setattr(distance, "_BLOCK_ELEMENTS", 128 * 8)  # seven groups, the last one of two dimensions
    found = pairwise_distance_quantiles(data, [0.5, 1.0])
    assert found[1] == pytest.approx(expected.max(), rel=1e-12)
    assert found[0] == pytest.approx(np.quantile(expected, 0.5), rel=1e-5)


@pytest.mark.parametrize("shape", [(700, 196), (1500, 49), (3000, 12)])
def test_only_so_many_pairs_are_measured_as_take_seconds(shape, monkeypatch):
    """Images of 3x256x256, 3x128x128 and 3x64x64, with a thousandth of their pixels and of the products."""
    pairs, squared_distances = [], distance._squared_distances

    def counted(x, y, mean):
        pairs.append(len(x) * len(y))
        return squared_distances(x, y, mean)

    monkeypatch.setattr(distance, "_squared_distances", counted)
    monkeypatch.setattr(distance, "MOST_PRODUCTS", MOST_PRODUCTS // 1000)
    monkeypatch.setattr(distance, "_BLOCK_ELEMENTS", distance._BLOCK_ELEMENTS // 1000)
    data = torch.rand(shape)
    found, count = largest_pairwise_distance(data), measured_points(shape[1])
    assert 2 < count < len(data)
    assert count * (count - 1) // 2 <= sum(pairs) <= 2 * MOST_PRODUCTS // 1000 / shape[1]
    assert 0.8 * torch.pdist(data).max() < found <= torch.pdist(data).max() * (1 + 1e-6)


def test_the_number_of_measured_points_follows_from_their_size():
    assert [measured_points(dimension) for dimension in (64, 784)] == [10_000, 10_000]
    for dimension in (3 * 32 * 32, 3 * 64 * 64, 3 * 256 * 256, 10**12):
        count = measured_points(dimension)
        products = [n * (n - 1) // 2 * dimension for n in (count, count + 1)]
        assert count == 2 or products[0] <= MOST_PRODUCTS < products[1]
    large = torch.rand(30, 2, 4)
    assert largest_pairwise_distance(large, max_points=30) == largest_pairwise_distance(large)


def test_a_single_outlier_moves_the_maximum_and_not_the_quantile():
    data = torch.rand(500, 4)
    with_outlier = torch.cat([data, torch.full((1, 4), 100.0)])
    assert largest_pairwise_distance(with_outlier) > 190
    assert largest_pairwise_distance(with_outlier, quantile=0.99) == pytest.approx(
        largest_pairwise_distance(data, quantile=0.99), rel=0.05
    )


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.uint8, torch.int64])
def test_every_real_type_is_measured_in_its_own_values(dtype):
    data = torch.tensor([[0, 0], [3, 4], [1, 1]]).to(dtype)
    assert largest_pairwise_distance(data) == pytest.approx(5, rel=1e-14)


def test_a_subset_is_seeded_and_stays_below_the_maximum():
    data = torch.randn(400, 3, dtype=torch.float64)

    def subset(seed):
        return largest_pairwise_distance(data, max_points=20, generator=torch.Generator().manual_seed(seed))

    assert subset(1) == subset(1)
    assert len({subset(seed) for seed in range(5)}) > 1
    assert max(subset(seed) for seed in range(5)) <= largest_pairwise_distance(data)
    # Without a generator too, whatever the global random state.
    first = largest_pairwise_distance(data, max_points=20)
    torch.manual_seed(7)
    assert largest_pairwise_distance(data, max_points=20) == first


def test_more_than_ten_thousand_points_are_sampled():
    """10,001 points on a line: about one in 10,000 is left out, so the distance is within a few spacings."""
    data = torch.arange(10_001, dtype=torch.float64)
    assert 9_990 <= largest_pairwise_distance(data) <= 10_000


def test_equal_points_have_distance_zero():
    assert pairwise_distance_quantiles(torch.full((5, 3), 0.7), [0.5, 1.0]) == [0.0, 0.0]


@pytest.mark.parametrize(
    "data, arguments, message",
    [
        (torch.zeros(1, 3), {}, "at least two points"),
        (torch.tensor(1.0), {}, "at least two points"),
        (torch.zeros(3, 0), {}, "at least one dimension"),
        (torch.zeros(3, 2, dtype=torch.complex64), {}, "must be real"),
        (torch.tensor([[0.0], [math.nan]]), {}, "must be finite"),
        (torch.tensor([[0.0], [math.inf]]), {}, "must be finite"),
        (torch.zeros(3, 2), {"quantile": 1.01}, "quantile must lie"),
        (torch.zeros(3, 2), {"quantile": math.nan}, "quantile must lie"),
        (torch.zeros(3, 2), {"max_points": 1}, "max_points must be"),
    ],
)
def test_bad_arguments_are_refused(data, arguments, message):
    with pytest.raises(ValueError, match=message):
        largest_pairwise_distance(data, **arguments)
