"""What holds for every density: score and log density agree, mass is 1, noise is convolution, samples follow it."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ncsn_pipeline.densities import (
    CellDensity,
    CurveDensity,
    Density,
    EmpiricalDensity,
    GaussianMixture,
    checkerboard,
    exact_score_function,
    two_moons,
)

F64 = torch.float64
POINTS = torch.tensor([[-1.5, -0.5], [0.2, 1.1], [1.3, -0.8], [-0.4, 0.3]], dtype=F64)
COVARIANCES = torch.tensor([[[0.3, 0.1], [0.1, 0.2]], [[0.1, -0.05], [-0.05, 0.4]]], dtype=F64)
WEIGHTS = torch.tensor([[0.0, 1.0, 2.0], [3.0, 0.0, 0.5]], dtype=F64)

# Every density at its barest.
BARE = {
    "isotropic mixture": GaussianMixture(POINTS, torch.tensor([0.2, 0.3, 0.4, 0.25], dtype=F64)),
    "mixture": GaussianMixture(POINTS[:2], COVARIANCES, torch.tensor([0.7, 0.3], dtype=F64)),
    "empirical": EmpiricalDensity(POINTS, chunk_size=3),
    "curve": CurveDensity(POINTS),
    "closed curve": CurveDensity(POINTS, closed=True),
    "moons": two_moons(num_segments=12, dtype=F64),
    "cells": CellDensity(WEIGHTS, (-1.0, 2.0, -1.5, 1.0)),
    "checkerboard": checkerboard(extent=(-2.0, 1.0, -1.0, 2.0), dtype=F64),
}
every_density = pytest.mark.parametrize("bare", [pytest.param(density, id=name) for name, density in BARE.items()])

# The trapezoid rule on a grid of spacing 0.15 is exact to 1e-15 for what noise of sigma >= 0.25 has smoothed: its error
# is about exp(-2 pi² (sigma / spacing)²).  Beyond +-6 there is nothing: 3.5 is 10 standard deviations of 0.35.
AXIS = torch.arange(-40, 41, dtype=F64) * 0.15
GRID = torch.cartesian_prod(AXIS, AXIS)
CELL = 0.15**2


@every_density
@pytest.mark.parametrize("sigma", [0.02, 0.3, 4.0])
def test_score_is_the_gradient_of_log_prob(bare, sigma):
    density = bare.noised(sigma)
    x = torch.cat([density.sample(20), GRID[::97], POINTS, 30 * torch.randn(20, 2, dtype=F64)]).requires_grad_()
    (gradient,) = torch.autograd.grad(density.log_prob(x).sum(), x)
    scale = 1 / sigma  # of a score near the data
    torch.testing.assert_close(density.score(x).detach(), gradient, rtol=1e-8, atol=1e-8 * scale)


@every_density
def test_score_can_be_differentiated(bare):
    """The Jacobian, which score matching takes, against central differences of the score; it is symmetric."""
    density = bare.noised(0.3)
    x = torch.cat([density.sample(3), POINTS, torch.zeros(1, 2, dtype=F64)])
    jacobian = torch.autograd.functional.jacobian(lambda x: density.score(x).sum(0), x).permute(1, 0, 2)
    torch.testing.assert_close(jacobian, jacobian.mT, rtol=1e-9, atol=1e-9)
    step = 1e-5
    for i in range(2):
        ahead = step * torch.eye(2, dtype=F64)[i]
        difference = (density.score(x + ahead) - density.score(x - ahead)) / (2 * step)
        torch.testing.assert_close(jacobian[:, :, i], difference, rtol=1e-6, atol=1e-6)


@every_density
def test_mass_is_one(bare):
    assert float(bare.noised(0.3).log_prob(GRID).exp().sum()) * CELL == pytest.approx(1, abs=1e-12)


@every_density
def test_noise_is_convolution(bare):
    """p_0.5(x) = int p_0.3(y) N(x; y, 0.4²) dy, by quadrature."""
    x = torch.cat([POINTS, bare.sample(4)])
    kernel = torch.exp(-torch.cdist(x, GRID).square() / (2 * 0.4**2)) / (2 * math.pi * 0.4**2)
    convolved = kernel @ bare.noised(0.3).log_prob(GRID).exp() * CELL
    torch.testing.assert_close(bare.noised(0.5).log_prob(x).exp(), convolved, rtol=1e-10, atol=0)


@every_density
def test_samples_follow_the_density(bare):
    """The means of cos <k, x> and sin <k, x> over bare samples plus noise, and over noised samples, by quadrature."""
    n, sigma = 20_000, 0.3
    k = torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.5, 1.5], [2.0, -1.0]], dtype=F64)
    mass = bare.noised(sigma).log_prob(GRID).exp() * CELL
    waves = lambda x: torch.cat([(x @ k.T).cos(), (x @ k.T).sin()], 1)  # noqa: E731
    expected = mass @ waves(GRID)
    generator = torch.Generator().manual_seed(1)
    noised_by_hand = bare.sample(n, generator=generator) + sigma * torch.randn(n, 2, dtype=F64, generator=generator)
    for x in (noised_by_hand, bare.noised(sigma).sample(n, generator=generator)):
        assert x.shape == (n, 2)
        standard_errors = waves(x).std(0) / math.sqrt(n)
        assert ((waves(x).mean(0) - expected).abs() < 5 * standard_errors).all()


@pytest.mark.parametrize("name", ["empirical", "curve", "closed curve", "moons", "cells", "checkerboard"])
def test_noised_samples_are_bare_ones_and_noise_of_deviation_sigma(name):
    """To the bit: from one generator the bare sample is drawn first, then its noise."""
    bare, generator = BARE[name], torch.Generator().manual_seed(4)
    by_hand = bare.sample(9, generator=generator) + 0.3 * torch.randn(9, 2, dtype=F64, generator=generator)
    assert torch.equal(bare.noised(0.3).sample(9, generator=torch.Generator().manual_seed(4)), by_hand)


@every_density
def test_noised_twice_is_noised_once(bare):
    x = torch.cat([bare.sample(10), GRID[::301]])
    twice, once = bare.noised(0.3).noised(0.4), bare.noised(0.5)
    torch.testing.assert_close(twice.log_prob(x), once.log_prob(x), rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(twice.score(x), once.score(x), rtol=1e-12, atol=1e-12)
    unchanged = bare.noised(0.3).noised(0.0)
    torch.testing.assert_close(unchanged.score(x), bare.noised(0.3).score(x), rtol=1e-12, atol=0)


@every_density
def test_every_sample_stands_alone(bare):
    density, x = bare.noised(0.1), torch.cat([bare.sample(5), POINTS, 50 * POINTS])
    for i in range(len(x)):
        torch.testing.assert_close(density.score(x)[i], density.score(x[i : i + 1])[0], rtol=1e-12, atol=1e-12)
        torch.testing.assert_close(density.log_prob(x)[i], density.log_prob(x[i : i + 1])[0], rtol=1e-12, atol=1e-12)
    assert density.log_prob(x[:0]).shape == (0,)
    assert density.score(x[:0]).shape == (0, 2)


@every_density
def test_dtype_of_the_points_is_that_of_the_result(bare):
    density, x = bare.noised(0.3), torch.cat([bare.sample(20), POINTS])
    for function in (density.log_prob, density.score):
        assert function(x).dtype == F64
        assert function(x.float()).dtype == torch.float32
        torch.testing.assert_close(function(x.float()).double(), function(x), rtol=1e-4, atol=1e-4)


@every_density
def test_generator_decides_the_samples(bare):
    density = bare.noised(0.2)
    one, two, other = (density.sample(9, generator=torch.Generator().manual_seed(seed)) for seed in (1, 1, 2))
    assert torch.equal(one, two)
    assert not torch.equal(one, other)


@every_density
@pytest.mark.parametrize(("dtype", "distance"), [(F64, 1e6), (torch.float32, 1e4)])
def test_far_away_the_score_points_home(bare, dtype, distance):
    """At a distance r the log density is about -r² / (2 sigma²): finite, with a score of r / sigma² inwards."""
    sigma = 0.1
    directions = torch.randn(16, 2, dtype=F64)
    x = (distance * directions / directions.norm(dim=1, keepdim=True)).to(dtype)
    density = bare.noised(sigma)
    log_prob, score = density.log_prob(x), density.score(x)
    assert log_prob.isfinite().all() and score.isfinite().all()
    if not isinstance(bare, GaussianMixture):
        torch.testing.assert_close(score, -x / sigma**2, rtol=10 / distance, atol=10 / sigma**2)
        torch.testing.assert_close(log_prob, -x.square().sum(1) / (2 * sigma**2), rtol=10 / distance, atol=0)
    assert ((score * x).sum(1) < -0.5 * score.norm(dim=1) * x.norm(dim=1)).all()


@every_density
def test_is_a_density_and_refuses_what_it_cannot_do(bare):
    assert isinstance(bare, Density)
    for sigma in (-0.1, math.nan, math.inf):
        with pytest.raises(ValueError, match="sigma must be"):
            bare.noised(sigma)
    noised = bare.noised(0.5)
    for x in (torch.zeros(3, 3), torch.zeros(2), torch.zeros(3, 2, dtype=torch.int64), torch.zeros(3, 2, 1)):
        for function in (noised.log_prob, noised.score):
            with pytest.raises(ValueError, match="points must be"):
                function(x)


# Noise has no preferred place or direction: moving the density moves its scores.

MOVABLE = {
    "isotropic mixture": lambda move, turn: GaussianMixture(move(POINTS), 0.3),
    "mixture": lambda move, turn: GaussianMixture(move(POINTS[:2]), turn @ COVARIANCES @ turn.T),
    "empirical": lambda move, turn: EmpiricalDensity(move(POINTS)),
    "curve": lambda move, turn: CurveDensity(move(POINTS)),
    "closed curve": lambda move, turn: CurveDensity([move(POINTS[:3]), move(POINTS)], closed=True),
}


@pytest.mark.parametrize("make", [pytest.param(make, id=name) for name, make in MOVABLE.items()])
@settings(max_examples=15, deadline=None, derandomize=True)
@given(
    angle=st.floats(-math.pi, math.pi),
    mirrored=st.booleans(),
    shift=st.tuples(st.floats(-20, 20), st.floats(-20, 20)),
    sigma=st.floats(0.05, 5),
)
def test_turning_and_shifting(make, angle, mirrored, shift, sigma):
    turn = torch.tensor([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]], dtype=F64)
    turn = turn * torch.tensor([-1.0 if mirrored else 1.0, 1.0], dtype=F64)
    move = lambda x: x @ turn.T + torch.tensor(shift, dtype=F64)  # noqa: E731
    x = torch.cat([POINTS + 0.1, 3 * POINTS])
    here = make(lambda x: x, torch.eye(2, dtype=F64)).noised(sigma)
    there = make(move, turn).noised(sigma)
    torch.testing.assert_close(there.log_prob(move(x)), here.log_prob(x), rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(there.score(move(x)), here.score(x) @ turn.T, rtol=1e-8, atol=1e-8)


@settings(max_examples=15, deadline=None, derandomize=True)
@given(shift=st.tuples(st.floats(-20, 20), st.floats(-20, 20)), quarters=st.integers(0, 3), sigma=st.floats(0.05, 5))
def test_turning_and_shifting_cells(shift, quarters, sigma):
    """Cells turn by quarters only: `rot90` from columns to rows, counterclockwise with row 0 at the bottom."""
    turn = torch.linalg.matrix_power(torch.tensor([[0.0, -1.0], [1.0, 0.0]], dtype=F64), quarters)
    shift = torch.tensor(shift, dtype=F64)
    corners = torch.tensor([[-1.0, -1.5], [2.0, 1.0]], dtype=F64) @ turn.T + shift
    (x_min, y_min), (x_max, y_max) = corners.amin(0).tolist(), corners.amax(0).tolist()
    here = BARE["cells"].noised(sigma)
    there = CellDensity(torch.rot90(WEIGHTS, -quarters), (x_min, x_max, y_min, y_max)).noised(sigma)
    x = torch.cat([POINTS, 3 * POINTS])
    torch.testing.assert_close(there.log_prob(x @ turn.T + shift), here.log_prob(x), rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(there.score(x @ turn.T + shift), here.score(x) @ turn.T, rtol=1e-8, atol=1e-8)


# The function of (x, sigma)


def test_exact_score_function_serves_one_level_a_sample():
    density = BARE["mixture"]
    score, x = exact_score_function(density), torch.randn(6, 2, dtype=F64)
    sigma = torch.tensor([0.1, 2.0, 0.1, 0.7, 2.0, 0.1], dtype=F64)
    one_by_one = torch.cat([density.noised(s).score(x[i : i + 1]) for i, s in enumerate(sigma.tolist())])
    torch.testing.assert_close(score(x, sigma), one_by_one, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(score(x, torch.tensor(0.7)), density.noised(0.7).score(x), rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(score(x, 0.7), density.noised(0.7).score(x), rtol=1e-12, atol=0)
    with pytest.raises(ValueError, match=r"shape \(\), or one a sample, shape \(6,\); got \(3,\)"):
        score(x, sigma[:3])


def test_exact_score_function_keeps_the_shape_of_images():
    density = EmpiricalDensity(torch.rand(5, 1, 3, 3))
    x = torch.rand(4, 1, 3, 3)
    assert exact_score_function(density)(x, torch.tensor([1.0, 2.0, 1.0, 3.0])).shape == x.shape


def test_exact_score_function_can_be_differentiated():
    x = torch.randn(4, 2, dtype=F64, requires_grad=True)
    sigma = torch.tensor([0.5, 1.0, 0.5, 2.0], dtype=F64)
    score = exact_score_function(BARE["mixture"])
    (at_once,) = torch.autograd.grad(score(x, sigma).square().sum(), x)
    for i in range(4):
        (alone,) = torch.autograd.grad(score(x[i : i + 1], sigma[i : i + 1]).square().sum(), x)
        torch.testing.assert_close(at_once[i], alone[i])
