"""Densities on curves: closed forms of a straight line and of a circle, and independence of how a curve is cut."""

import math
from itertools import pairwise

import pytest
import torch
from scipy.special import i0e, i1e
from scipy.stats import norm

from ncsn_pipeline.densities import CurveDensity, ring

F64 = torch.float64


@pytest.mark.parametrize("d", [1, 2, 3])
def test_segment_is_gaussian_across_and_a_noised_interval_along(d):
    ends = torch.zeros(2, d, dtype=F64)
    ends[1, 0] = 2.0
    x, sigma = torch.randn(20, d, dtype=F64), 0.6
    along = norm.cdf((x[:, 0]) / sigma) - norm.cdf((x[:, 0] - 2) / sigma)
    expected = torch.from_numpy(along / 2) * torch.from_numpy(norm.pdf(x[:, 1:], scale=sigma)).prod(1)
    torch.testing.assert_close(CurveDensity(ends, sigma=sigma).log_prob(x).exp(), expected, rtol=1e-12, atol=0)


@pytest.mark.parametrize("sigma", [0.01, 0.3, 10.0])
def test_cutting_a_segment_changes_nothing(sigma):
    corners = torch.tensor([[0.0, 0.0, 0.0], [1.0, 2.0, 0.5], [-1.0, 1.0, 1.0]], dtype=F64)
    fractions = torch.tensor([0.0, 0.001, 0.3, 0.3, 0.35, 0.9, 1.0], dtype=F64)[:, None]  # one of no length among them
    cut = torch.cat([a + fractions * (b - a) for a, b in pairwise(corners)])
    whole, pieces = CurveDensity(corners, sigma=sigma), CurveDensity(cut, sigma=sigma)
    x = torch.cat([whole.sample(20), 3 * torch.randn(20, 3, dtype=F64), cut])
    assert pieces.length == pytest.approx(whole.length, rel=1e-14)
    torch.testing.assert_close(pieces.log_prob(x), whole.log_prob(x), rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(pieces.score(x), whole.score(x), rtol=1e-8, atol=1e-8 / sigma)
    torch.testing.assert_close(pieces.distance(x), whole.distance(x), rtol=1e-10, atol=1e-10)


def test_pieces_weigh_by_their_length():
    short, long = torch.tensor([[0.0, 0.0], [1.0, 0.0]]), torch.tensor([[0.0, 9.0], [3.0, 9.0]])
    both = CurveDensity([short.double(), long.double()])
    assert both.length == 4
    n = 20_000
    share = (both.sample(n)[:, 1] == 9).double().mean().item()
    assert share == pytest.approx(0.75, abs=5 * math.sqrt(0.75 * 0.25 / n))
    near_the_short_one = torch.tensor([[0.5, 0.0]], dtype=F64)
    alone = CurveDensity(short.double(), sigma=0.1).log_prob(near_the_short_one)
    torch.testing.assert_close(both.noised(0.1).log_prob(near_the_short_one), alone + math.log(0.25))


@pytest.mark.parametrize("sigma", [0.2, 1.0])
def test_ring_is_the_noised_circle(sigma):
    """p(x) = exp(-(r² + R²) / (2 sigma²)) I_0(r R / sigma²) / (2 pi sigma²), r = |x|."""
    radius, n = 1.5, 2000
    x = 2 * torch.randn(50, 2, dtype=F64)
    r = x.norm(dim=1)
    k = (r * radius / sigma**2).numpy()
    expected = -((r - radius) ** 2) / (2 * sigma**2) + torch.from_numpy(i0e(k)).log() - math.log(2 * math.pi * sigma**2)
    slope = -r / sigma**2 + radius / sigma**2 * torch.from_numpy(i1e(k) / i0e(k))
    density = ring(radius, num_segments=n, sigma=sigma, dtype=F64)
    # Chords are nearer to the centre than the circle, by at most 2e-6 here: times the radial derivatives.
    torch.testing.assert_close(density.log_prob(x), expected, rtol=0, atol=2e-6 * (r.max().item() + 2) / sigma**2)
    torch.testing.assert_close(density.score(x), slope[:, None] * x / r[:, None], rtol=0, atol=1e-4)


def test_distance():
    square = CurveDensity(torch.tensor([[0.0, 0.0], [1.0, 0.0], [1.0, 1.0], [0.0, 1.0]], dtype=F64), closed=True)
    x = torch.tensor([[0.5, 0.4], [0.1, 0.5], [2.0, 2.0], [0.3, 0.0], [0.5, -3.0]], dtype=F64)
    torch.testing.assert_close(square.distance(x), torch.tensor([0.4, 0.1, math.sqrt(2), 0.0, 3.0], dtype=F64))
    assert square.length == 4
    assert square.distance(square.sample(100)).max() < 1e-12
    opened = CurveDensity(torch.tensor([[0.0, 0.0], [1.0, 0.0], [1.0, 1.0], [0.0, 1.0]], dtype=F64))
    torch.testing.assert_close(opened.distance(x[1:2]), torch.tensor([0.5], dtype=F64))


def test_blocks_of_points_are_put_together():
    """More points than one block holds: 2^20 / (3 segments x 2) of them."""
    curve = CurveDensity(torch.tensor([[0.0, 0.0], [1.0, 0.0], [1.0, 1.0], [0.0, 1.0]]), sigma=0.5)
    x = torch.rand(180_000, 2)
    some = torch.tensor([0, 90_000, 179_999])
    torch.testing.assert_close(curve.score(x)[some], curve.score(x[some]))
    torch.testing.assert_close(curve.log_prob(x)[some], curve.log_prob(x[some]))
    torch.testing.assert_close(curve.distance(x)[some], curve.distance(x[some]))


def test_bare_curve_has_no_score():
    curve = ring()
    for function in (curve.log_prob, curve.score):
        with pytest.raises(ValueError, match=r"call .noised\(sigma\) first"):
            function(torch.zeros(1, 2))


@pytest.mark.parametrize(
    ("points", "message"),
    [
        (torch.zeros(1, 2), "two different vertices; got 1"),
        (torch.ones(5, 2), "two different vertices; got 5"),
        (torch.zeros(3), "vertices must be"),
        (torch.zeros(3, 2, dtype=torch.int64), "floating"),
        (torch.tensor([[0.0, math.nan], [1.0, 1.0]]), "finite"),
        ([], "got none"),
        ([torch.rand(3, 2), torch.rand(3, 3)], "same d"),
    ],
)
def test_bad_curves_are_refused(points, message):
    with pytest.raises(ValueError, match=message):
        CurveDensity(points)


@pytest.mark.parametrize("gap", [0.0, 1e-23, 1e-45])
def test_neighbours_may_coincide_or_nearly(gap):
    x = torch.tensor([[0.3, 0.4]])
    curve = CurveDensity(torch.tensor([[1.0, 0.0], [1.0, gap], [0.0, 1.0]]), sigma=0.1)
    straight = CurveDensity(torch.tensor([[1.0, 0.0], [0.0, 1.0]]), sigma=0.1)
    for name in ("log_prob", "score", "distance"):
        torch.testing.assert_close(getattr(curve, name)(x), getattr(straight, name)(x))


def test_half_precision_is_float32_rounded():
    x = torch.tensor([[0.3, 0.4], [1.0, 2.0]])
    for dtype in (torch.float16, torch.bfloat16):
        score = ring(sigma=0.5).score(x.to(dtype))
        assert score.dtype == dtype
        torch.testing.assert_close(score.float(), ring(sigma=0.5).score(x.to(dtype).float()), rtol=0.05, atol=0.05)
