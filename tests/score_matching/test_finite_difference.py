"""Finite-difference score matching: the sliced loss to second order, and exactly for a linear score."""

import itertools
import math

import pytest
import torch

from ncsn_pipeline.score_matching import (
    draw_projections,
    finite_difference_score_matching,
    implicit_score_matching,
    sliced_score_matching,
)


@pytest.mark.parametrize("shape", [(1,), (5,), (1, 2, 3)])
def test_exact_for_a_linear_score_whatever_epsilon(shape):
    size = torch.Size(shape).numel()
    a, b = torch.randn(size, size, dtype=torch.float64), torch.randn(size, dtype=torch.float64)
    score = lambda x: (x.flatten(1) @ a.T + b).reshape(x.shape)  # noqa: E731
    x = torch.randn(4, *shape, dtype=torch.float64)
    v = draw_projections(x, 3, "gaussian")
    sliced = sliced_score_matching(score, x, projections=v)
    for epsilon in (1e-3, 1.0):
        loss = finite_difference_score_matching(score, x, epsilon=epsilon, projections=v)
        torch.testing.assert_close(loss, sliced, rtol=1e-9, atol=1e-9)


def test_error_is_of_second_order_in_value_and_gradient(make_network, gradient_of):
    """Half the epsilon, a quarter of the error: observed order 2 over two halvings."""
    network, x = make_network(4), torch.randn(6, 4, dtype=torch.float64)
    v = draw_projections(x, 1, "sphere")
    sliced = sliced_score_matching(network, x, projections=v).sum()
    slope = gradient_of(sliced, network)
    errors = []
    for epsilon in (0.08, 0.04, 0.02):
        loss = finite_difference_score_matching(network, x, epsilon=epsilon, projections=v).sum()
        errors.append([(loss - sliced).abs().item(), (gradient_of(loss, network) - slope).norm().item()])
    for coarse, fine in itertools.pairwise(errors):
        for i in range(2):
            assert math.log2(coarse[i] / fine[i]) == pytest.approx(2, abs=0.05)


def test_expectation_over_the_sphere_is_the_implicit_loss(make_network):
    """Within five standard errors; the bias at this epsilon, of order 1e-6, is far below them."""
    n = 40_000
    network, x = make_network(3), torch.randn(1, 3, dtype=torch.float64)
    with torch.no_grad():
        losses = finite_difference_score_matching(network, x.expand(n, -1), epsilon=1e-3)
    standard_error = losses.std().item() / math.sqrt(n)
    assert losses.std() > 1e-3
    assert losses.mean().item() == pytest.approx(implicit_score_matching(network, x).item(), abs=5 * standard_error)


def test_drawn_directions_lie_on_the_sphere():
    """Both evaluations stand at a distance of epsilon sqrt(D) from the sample, on opposite sides."""
    x, points = torch.randn(7, 2, 3, dtype=torch.float64), []
    finite_difference_score_matching(lambda y: points.append(y) or -y, x, epsilon=0.3)
    plus, minus = ((point - x).flatten(1) for point in points)
    torch.testing.assert_close(plus.norm(dim=1), torch.full((7,), 0.3 * math.sqrt(6), dtype=torch.float64))
    torch.testing.assert_close(minus, -plus)


def test_is_the_published_form_with_its_epsilon(make_network):
    """|| s+ + s- ||² / 8 + D <w, s+ - s-> / (2 e²) with a displacement w of length e (Pang et al. 2020)."""
    network, x = make_network(5), torch.randn(6, 5, dtype=torch.float64)
    v = draw_projections(x, 1, "sphere")[0]
    e = 0.1
    w = v / v.norm(dim=1, keepdim=True) * e
    plus, minus = network(x + w), network(x - w)
    published = (plus + minus).square().sum(1) / 8 + 5 / (2 * e**2) * (w * (plus - minus)).sum(1)
    loss = finite_difference_score_matching(network, x, epsilon=e / math.sqrt(5), projections=v)
    torch.testing.assert_close(loss, published, rtol=1e-10, atol=1e-10)


def test_needs_no_derivative_in_x(make_network):
    score = torch.no_grad()(make_network(3))
    x = torch.randn(5, 3, dtype=torch.float64)
    loss = finite_difference_score_matching(score, x, epsilon=0.01)
    assert loss.shape == (5,)
    assert not loss.requires_grad
    assert not torch.equal(loss, finite_difference_score_matching(score, x, epsilon=0.01))


def test_score_function_may_hold_something_for_each_sample():
    """It is called with B samples, never with 2 B."""
    sigma = torch.rand(4, 1, dtype=torch.float64) + 0.1
    x = torch.randn(4, 3, dtype=torch.float64)
    v = draw_projections(x)
    loss = finite_difference_score_matching(lambda x: -x / sigma**2, x, epsilon=0.1, projections=v)
    torch.testing.assert_close(loss, (0.5 * x.square() / sigma**4 - 1 / sigma**2).sum(1))


def test_generator_decides_the_projections():
    x = torch.randn(4, 3)
    one, two, other = (
        finite_difference_score_matching(torch.sin, x, epsilon=0.1, generator=torch.Generator().manual_seed(seed))
        for seed in (1, 1, 2)
    )
    assert torch.equal(one, two)
    assert not torch.equal(one, other)


@pytest.mark.parametrize("epsilon", [0.0, -0.1, math.nan, math.inf])
def test_bad_epsilon_is_refused(epsilon):
    with pytest.raises(ValueError, match="epsilon must be finite and > 0"):
        finite_difference_score_matching(lambda x: -x, torch.randn(4, 3), epsilon=epsilon)


def test_bad_projections_are_refused():
    with pytest.raises(ValueError, match="projections must have the shape of x"):
        finite_difference_score_matching(lambda x: -x, torch.randn(4, 3), epsilon=0.1, projections=torch.ones(4, 2))
