"""Loops and Jacobians of fields that are gradients, of rotations, and of known mixtures of the two."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ncsn_pipeline.diagnostics import circle, circulation, jacobian_asymmetry, relative_circulation

ROTATION = torch.tensor([[0.0, -1.0], [1.0, 0.0]], dtype=torch.float64)


def rotation(x):
    return x @ ROTATION.to(x).T


def gradient(x):
    """Of sin(x) y + x² y³ + exp(-|| x ||²)."""
    a, b = x.unbind(1)
    bump = torch.exp(-a * a - b * b)
    return torch.stack([a.cos() * b + 2 * a * b**3 - 2 * a * bump, a.sin() + 3 * a * a * b * b - 2 * b * bump], 1)


def polygon_area(radius, n):
    return n / 2 * radius**2 * math.sin(2 * math.pi / n)


@pytest.mark.parametrize("n", [3, 4, 64])
@pytest.mark.parametrize("centre", [(0.0, 0.0), (3.0, -1.0)])
def test_rotation_circulates_by_curl_times_area(n, centre):
    loop = circle(torch.tensor(centre, dtype=torch.float64), 1.5, n)
    expected = 2 * polygon_area(1.5, n)  # the curl is 2
    assert circulation(rotation, loop) == pytest.approx(expected, rel=1e-12)
    assert circulation(rotation, loop.flip(0)) == pytest.approx(-expected, rel=1e-12)
    assert circulation(lambda x: 3 * rotation(x) + gradient(x), loop) == pytest.approx(3 * expected, rel=1e-10)


def test_gradient_does_not_circulate():
    for n, nodes in ((64, 8), (5, 30)):
        loop = circle(torch.tensor([0.3, -0.2], dtype=torch.float64), 1.2, n)
        assert abs(circulation(gradient, loop, num_nodes=nodes)) < 1e-12
        assert relative_circulation(gradient, loop, num_nodes=nodes) < 1e-12


def test_quadrature_is_exact_to_degree_2n_minus_1():
    """Around a unit square, (-y³, 0): Green gives the integral of 3 y², 1. Two nodes suffice, one does not."""
    square = torch.tensor([[0.0, 0.0], [1.0, 0.0], [1.0, 1.0], [0.0, 1.0]], dtype=torch.float64)
    field = lambda x: torch.stack([-(x[:, 0] ** 3) * x[:, 1], torch.zeros(len(x))], 1)  # noqa: E731
    assert circulation(field, square, num_nodes=2) == pytest.approx(0.25, abs=1e-14)
    assert abs(circulation(field, square, num_nodes=1) - 0.25) > 0.1


def test_relative_circulation_is_one_along_the_field():
    loop = circle(torch.zeros(2, dtype=torch.float64), 2.0, 2_000)
    assert relative_circulation(rotation, loop) == pytest.approx(1, abs=1e-5)
    assert relative_circulation(lambda x: -5 * rotation(x), loop) == pytest.approx(1, abs=1e-5)
    assert relative_circulation(torch.zeros_like, loop) == 0


@settings(deadline=None, max_examples=30, derandomize=True)
@given(seed=st.integers(0, 2**31), dimension=st.integers(2, 4))
def test_loops_that_share_a_segment_add_up(seed, dimension):
    generator = torch.Generator().manual_seed(seed)
    corners = torch.randn(4, dimension, generator=generator, dtype=torch.float64)
    matrix = torch.randn(dimension, dimension, generator=generator, dtype=torch.float64)
    field = lambda x: (x @ matrix).sin()  # noqa: E731
    whole = circulation(field, corners, num_nodes=40)
    halves = circulation(field, corners[[0, 1, 2]], num_nodes=40) + circulation(field, corners[[0, 2, 3]], num_nodes=40)
    assert whole == pytest.approx(halves, abs=1e-9)
    assert 0 <= relative_circulation(field, corners) <= 1 + 1e-12
    started_elsewhere = circulation(field, corners.roll(1, 0), num_nodes=40)
    assert started_elsewhere == pytest.approx(whole, abs=1e-9)


def test_dtype_and_networks_in_training_are_fine():
    layer = torch.nn.Linear(2, 2)
    loop = circle([0.0, 0.0], 1.0, 200)
    curl = (layer.weight[1, 0] - layer.weight[0, 1]).item()
    assert circulation(layer, loop) == pytest.approx(curl * polygon_area(1.0, 200), abs=1e-5)


def test_circle_lies_on_the_circle_and_runs_counterclockwise():
    loop = circle(torch.tensor([1.0, 2.0], dtype=torch.float64), 3.0, 10)
    assert loop.shape == (10, 2) and loop.dtype == torch.float64
    torch.testing.assert_close((loop - loop.new_tensor([1.0, 2.0])).norm(dim=1), torch.full_like(loop[:, 0], 3.0))
    assert (loop[0] == loop.new_tensor([4.0, 2.0])).all() and loop[1, 1] > loop[0, 1]


@pytest.mark.parametrize("shape", [(2,), (5,), (1, 2, 2)])
def test_asymmetry_of_a_linear_field_is_its_matrix_alone(shape):
    size = math.prod(shape)
    matrix = torch.randn(size, size, dtype=torch.float64)
    field = lambda x: (x.flatten(1) @ matrix.T).reshape(x.shape)  # noqa: E731
    expected = ((matrix - matrix.T).norm() / matrix.norm()).expand(3)
    x = torch.randn(3, *shape, dtype=torch.float64)
    torch.testing.assert_close(jacobian_asymmetry(field, x), expected)
    with torch.no_grad():
        torch.testing.assert_close(jacobian_asymmetry(field, x), expected)


def test_asymmetry_is_0_for_a_gradient_and_2_for_a_rotation():
    x = torch.randn(50, 2, dtype=torch.float64)
    assert jacobian_asymmetry(gradient, x).max() < 1e-12
    torch.testing.assert_close(jacobian_asymmetry(rotation, x), torch.full((50,), 2.0, dtype=torch.float64))


def test_asymmetry_is_each_samples_own():
    layers = torch.nn.Sequential(torch.nn.Linear(3, 16), torch.nn.SiLU(), torch.nn.Linear(16, 3)).double()
    x = torch.randn(6, 3, dtype=torch.float64)
    together = jacobian_asymmetry(layers, x)
    torch.testing.assert_close(together, torch.cat([jacobian_asymmetry(layers, one) for one in x.split(1)]))
    for i in range(6):
        jacobian = torch.autograd.functional.jacobian(lambda point: layers(point[None])[0], x[i])
        torch.testing.assert_close(together[i], (jacobian - jacobian.T).norm() / jacobian.norm())
    assert all(parameter.grad is None for parameter in layers.parameters())


@pytest.mark.parametrize(
    "field", [lambda x: x.detach(), torch.zeros_like, torch.nn.Parameter(torch.ones(4, 2)).mul(2).add]
)
def test_a_field_without_derivative_is_refused_where_it_hides_its_input(field):
    hidden = field if not hasattr(field, "__self__") else lambda x: field(x.detach())
    with pytest.raises(ValueError, match="no derivative"):
        jacobian_asymmetry(hidden, torch.ones(4, 2))


@pytest.mark.parametrize(
    "call",
    [
        lambda: circle([0.0, 0.0, 0.0], 1.0),
        lambda: circle([0.0, 0.0], 0.0),
        lambda: circle([0.0, 0.0], math.nan),
        lambda: circle([0.0, 0.0], 1.0, 2),
        lambda: circulation(rotation, torch.zeros(2, 2)),
        lambda: circulation(rotation, torch.zeros(5)),
        lambda: circulation(rotation, torch.zeros(3, 2), num_nodes=0),
    ],
)
def test_bad_input_is_refused(call):
    with pytest.raises(ValueError, match="got"):
        call()


def test_a_field_that_is_not_finite_is_no_gradient():
    loop = circle((0.0, 0.0), 1.0, 8)
    assert math.isnan(relative_circulation(lambda x: x * math.nan, loop))
    assert math.isnan(relative_circulation(rotation, loop * math.nan))
    assert jacobian_asymmetry(lambda x: x.sqrt().flip(1), -torch.ones(3, 2)).isnan().all()


def test_a_loop_of_whole_numbers_is_that_of_floats():
    square = torch.tensor([[0, 0], [1, 0], [1, 1], [0, 1]])
    assert circulation(rotation, square) == circulation(rotation, square.float()) == pytest.approx(2)
