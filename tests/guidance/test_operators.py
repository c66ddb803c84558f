"""Operators: a function becomes a matrix, keeps its form or is called nonlinear; the inverses are the inverses."""

from itertools import pairwise

import pytest
import torch

from ncsn_pipeline.guidance import operators
from ncsn_pipeline.guidance.krylov import conjugate_gradients, gmres
from ncsn_pipeline.guidance.measurements import (
    average_pooling,
    fourier_mask,
    gaussian_blur,
    grey,
    mask,
    random_projections,
)
from ncsn_pipeline.guidance.operators import LinearOperator, MatrixOperator, Operator, as_operator

LIKE = torch.zeros((), dtype=torch.float64)
KEPT = torch.arange(36).reshape(6, 6) % 5 < 2
MEASUREMENTS = {
    "mask": (mask(KEPT), (1, 6, 6)),
    "average_pooling": (average_pooling(3), (1, 6, 6)),
    "gaussian_blur": (gaussian_blur(0.8), (2, 6, 6)),
    "grey": (grey, (3, 4, 4)),
    "fourier_mask of complex images": (fourier_mask(KEPT), (2, 6, 6)),
    "fourier_mask of real images": (fourier_mask(KEPT), (1, 6, 6)),
    "random_projections": (random_projections(5, 36, torch.Generator().manual_seed(0)), (1, 6, 6)),
}


def normal(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


class Physics:
    """What deepinv's physics look like: methods, no function."""

    def A(self, x):
        return 2 * x[:, :, ::2]

    def A_adjoint(self, y):
        x = y.new_zeros(len(y), y.shape[1], 2 * y.shape[2], y.shape[3])
        x[:, :, ::2] = 2 * y
        return x

    def A_dagger(self, y):
        return self.A_adjoint(y) / 4


@pytest.mark.parametrize("name", MEASUREMENTS)
def test_a_linear_function_becomes_its_matrix(name):
    measure, shape = MEASUREMENTS[name]
    operator = as_operator(measure, shape, LIKE)
    x = normal(5, *shape)
    assert isinstance(operator, MatrixOperator)
    torch.testing.assert_close(operator(x), operators.flat(measure(x)))


@pytest.mark.parametrize("large", [False, True])
@pytest.mark.parametrize("name", MEASUREMENTS)
def test_inverses_are_those_of_the_matrix(name, large, monkeypatch):
    """In both forms, the matrix and the function: adjoint, weighed inverse and pseudo-inverse."""
    measure, shape = MEASUREMENTS[name]
    matrix = as_operator(measure, shape, LIKE).matrix
    monkeypatch.setattr(operators, "MOST_MATRIX_INPUTS", 3 if large else 4096)
    operator = as_operator(measure, shape, LIKE)
    assert type(operator) is (LinearOperator if large else MatrixOperator)
    r = normal(2, len(matrix))
    torch.testing.assert_close(operator.adjoint(r), (r @ matrix).reshape(2, *shape))
    gram = 0.3 * matrix @ matrix.mT + 0.2 * torch.eye(len(matrix)).double()
    expected = torch.linalg.solve(gram, r.mT).mT
    torch.testing.assert_close(operator.weighed(r, 0.3, 0.2), expected, rtol=1e-4, atol=1e-5)
    r = operator.linear_part(normal(2, *shape, seed=1))  # what some x gives
    pseudo = (r @ torch.linalg.pinv(matrix).mT).reshape(2, *shape)
    torch.testing.assert_close(operator.pseudo_inverse(r), pseudo, rtol=1e-3, atol=1e-3 * float(pseudo.abs().max()))


def test_a_matrix_of_many_rows_is_not_factored_where_noise_makes_that_needless(monkeypatch):
    """The singular values of one with 3,072 rows take half a minute: conjugate gradients find the same."""
    operator = as_operator(gaussian_blur(0.8), (2, 6, 6), LIKE)
    r = normal(3, 72)
    expected = operator.weighed(r, 0.3, 0.01)
    monkeypatch.setattr(operators, "MOST_FACTORED_ROWS", 71)
    monkeypatch.setattr(MatrixOperator, "_factors", property(lambda self: pytest.fail("factored")))
    error = operator.weighed(r, 0.3, 0.01) - expected
    # Residuals of 1e-6 |r|, and the matrix has no eigenvalue below 0.01; as much again for rounding.
    assert (error.norm(dim=1) < 2e-6 * r.norm(dim=1) / 0.01).all()


def test_objects_with_an_adjoint_are_used_by_their_methods():
    operator = as_operator(Physics(), (1, 4, 4), LIKE)
    x, r = normal(3, 1, 4, 4), normal(3, 8, seed=1)
    torch.testing.assert_close(operator(x), 2 * x[:, :, ::2].flatten(1))
    torch.testing.assert_close((operator(x) * r).sum(), (x * operator.adjoint(r)).sum())
    torch.testing.assert_close(operator.weighed(r, 0.5, 0.1), r / (0.5 * 4 + 0.1))
    torch.testing.assert_close(operator(operator.pseudo_inverse(r)), r)


def test_a_constant_is_told_from_the_linear_part():
    operator = as_operator(lambda x: 3 - 2 * x[:, :1], (2,), LIKE)
    assert operator.linear and operator.matrix.tolist() == [[-2, 0]] and operator.offset.tolist() == [3]
    assert operator.range(0.0, 1.0) == (torch.tensor([1]).double(), torch.tensor([3]).double())


@pytest.mark.parametrize("make", [lambda: torch.tensor([[1.0, 2.0]]), lambda: Pair(), lambda: lambda x: x.square()])
def test_units_are_composed_with(make):
    """x = -1 + 4 x_given: measuring it as the model has it is measuring what was given."""
    operator = as_operator(make(), (2,), LIKE)
    inside = operator.in_model_space(-1.0, 4.0)
    given = normal(3, 2)
    torch.testing.assert_close(inside(4 * given - 1), operator(given))
    if operator.linear:
        r = normal(3, 1, seed=1)
        torch.testing.assert_close((inside.linear_part(given) * r).sum(), (given * inside.adjoint(r)).sum())
        torch.testing.assert_close(inside.linear_part(inside.pseudo_inverse(r)), r)


class Pair:
    def A(self, x):
        return x[:, :1] + 2 * x[:, 1:]

    def A_adjoint(self, y):
        return torch.cat([y, 2 * y], dim=1)

    def A_dagger(self, y):
        return self.A_adjoint(y) / 5


def test_random_projections_are_on_directions_of_length_1_that_a_generator_draws():
    measure = random_projections(200, 48, torch.Generator().manual_seed(1))
    directions = measure(torch.eye(48).reshape(48, 3, 4, 4)).mT
    torch.testing.assert_close(directions.norm(dim=1), torch.ones(200))
    drawn = torch.randn(200, 48, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(directions * drawn.norm(dim=1, keepdim=True), drawn)


def test_nonlinear_functions_are_called_so():
    operator = as_operator(lambda x: x.square(), (3,), LIKE)
    assert type(operator) is Operator and not operator.linear


@pytest.mark.parametrize(
    ("operator", "message"),
    [
        (lambda x: x * torch.nan, "values that are not finite"),
        (lambda x: x @ torch.ones(7, 2).double(), r"does not take samples of shape \(B, 4\)"),
        (lambda x: x.sum(), r"one measurement per sample, shape \(B, ...\); of one, got shape \(\)"),
        (lambda x: 3, "of one, got int"),
        (torch.ones(2, 5), r"of shape \(m, 4\) .* got shape \(2, 5\)"),
        (torch.full((2, 4), torch.inf), "must be finite"),
        ("blur", "a function x -> A\\(x\\), a matrix, or an object with A and A_adjoint; got str"),
        (MatrixOperator(torch.ones(2, 3), torch.zeros(2), (3,)), r"measures samples of shape \(3,\)"),
    ],
)
def test_bad_operators_are_refused(operator, message):
    with pytest.raises(ValueError, match=message):
        as_operator(operator, (4,), LIKE)


def test_gmres_solves_as_many_equations_as_it_takes_products():
    """Unsymmetric systems, one a row, one of them with r in a smaller space; with fewer, the residual never grows."""
    s = torch.eye(6).double() + 0.7 * normal(4, 6, 6)
    r = normal(4, 6, seed=1)
    s[3] = torch.diag(torch.tensor([2.0, 2, 2, 5, 5, 5]).double())  # solved after two products

    def apply(p):
        return (s @ p[:, :, None])[:, :, 0]

    def solved(products):
        return torch.einsum("bk,kbm->bm", *gmres(apply, r, products))

    torch.testing.assert_close(solved(6), torch.linalg.solve(s, r), rtol=1e-8, atol=1e-8)
    left = [(apply(solved(products)) - r).norm(dim=1) for products in range(1, 7)]
    rounding = 1e-12  # what is left of a system that is solved already
    assert all((after <= before * (1 + 1e-9) + rounding).all() for before, after in pairwise(left))
    assert left[1][3] < 1e-12 < left[0][3]


def test_gmres_stops_where_it_is_done():
    products = []
    gmres(lambda p: products.append(1) or 3 * p, normal(2, 50), 40)
    assert len(products) == 1


def test_conjugate_gradients_find_the_smallest_solution_of_a_singular_system():
    factor = normal(5, 3)
    s = factor @ factor.mT
    r = normal(2, 5, seed=1) @ s
    torch.testing.assert_close(conjugate_gradients(lambda p: p @ s, r, 1e-12), r @ torch.linalg.pinv(s))


@pytest.mark.parametrize("rows", [3, 16, 64])
def test_little_noise_does_not_magnify_rounding(rows):
    """Of a matrix that reaches all of y, of few and of many rows; a residual of 1e-7 over w = 1e-8 was ten."""
    matrix = normal(rows, 16).float() / 4
    r = (normal(5, 16, seed=1).float() @ matrix.mT) + 1e-4 * normal(5, rows, seed=2).float()
    found = as_operator(matrix, (16,)).weighed(r, 1.0, 1e-8)
    exact = as_operator(matrix.double(), (16,), LIKE).weighed(r.double(), 1.0, 1e-8)
    by_x, expected = found @ matrix, exact @ matrix.double()
    assert (by_x - expected).norm() < 0.02 * expected.norm()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_keeps_all_of_a_matrix(dtype):
    matrix = normal(16, 1024).to(dtype)
    operator = as_operator(matrix, (1024,))
    assert operator.matrix.dtype == torch.float32 and len(operator._factors[1]) == 16
    y = normal(2, 16).float()
    torch.testing.assert_close(operator(operator.pseudo_inverse(y)), y, rtol=1e-4, atol=1e-4)
    assert as_operator(average_pooling(2), (1, 4, 4), torch.zeros((), dtype=dtype)).linear


def test_a_complex_matrix_is_that_of_real_and_imaginary_parts():
    matrix, x = torch.complex(normal(3, 4), normal(3, 4, seed=1)), normal(5, 4, seed=2)
    operator = as_operator(matrix.conj(), (4,), LIKE)
    assert operator.measurement_shape == (3,)
    torch.testing.assert_close(operator(x), operators.flat(x.to(matrix) @ matrix.conj().mT))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: mask(torch.tensor([1, 0, 1, 0])), "booleans, True for what is kept; got torch.int64"),
        (lambda: fourier_mask(KEPT.float()), "booleans, True for what is kept; got torch.float32"),
        (lambda: as_operator(fourier_mask(KEPT), (3, 6, 6)), "1 channel, or 2 for complex ones; got 3"),
        (lambda: as_operator(mask(KEPT < 0), (1, 6, 6)), "measures nothing"),
        (lambda: as_operator(torch.zeros(0, 4), (4,)), "must be finite, of shape .m, 4."),
    ],
)
def test_measurements_of_something_else_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_factors_are_computed_where_there_is_float64():
    """And handed out in the type of what they are applied to, converted once."""
    operator = as_operator(normal(3, 4).float(), (4,))
    assert all(factor.dtype == torch.float64 and factor.device.type == "cpu" for factor in operator._factors)
    r = torch.ones(1, 3)
    assert operator._factors_like(r) is operator._factors_like(2 * r)
    assert {factor.dtype for factor in operator._factors_like(r)} == {torch.float32}


RANK_DEFICIENT = {
    "Fourier": (fourier_mask(torch.ones(4, 4, dtype=torch.bool)), (1, 4, 4)),
    "two views": (lambda x: torch.cat([x, 2 * x], 1), (3,)),
    "sums of rows and of columns": (lambda x: torch.cat([x.sum(2), x.sum(3)], 2), (1, 4, 4)),
}


@pytest.mark.parametrize("name", RANK_DEFICIENT)
def test_a_measurement_that_no_x_gives_is_met_as_near_as_can_be(name, monkeypatch):
    """By the functions as by the matrix: conjugate gradients of M M' diverge for what lies outside of M's range."""
    measure, shape = RANK_DEFICIENT[name]
    matrix = as_operator(measure, shape, LIKE).matrix.float()
    monkeypatch.setattr(operators, "MOST_MATRIX_INPUTS", 2)
    operator = as_operator(measure, shape)
    r = normal(3, len(matrix)).float()
    inverse = torch.linalg.pinv(matrix)
    torch.testing.assert_close(operator.pseudo_inverse(r).flatten(1), r @ inverse.mT, rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(operator.weighed(r, 0.5, 0.0), 2 * r @ inverse.mT @ inverse, rtol=1e-3, atol=1e-3)


def test_a_large_operator_that_torch_cannot_differentiate_is_refused():
    operator = as_operator(lambda x: torch.from_numpy(2 * x.detach().numpy()), (1, 65, 64))
    with pytest.raises(ValueError, match="more than 4,096 values need an operator that torch can differentiate"):
        operator.adjoint(torch.ones(1, 65 * 64))


def test_conjugate_gradients_keep_the_best_of_what_diverges():
    """Of a right-hand side that S cannot give, no p is worse than p = 0."""
    factor = normal(40, 20).float()
    s, r = factor @ factor.mT, normal(3, 40, seed=1).float()
    found = conjugate_gradients(lambda p: p @ s, r)
    assert ((found @ s - r).norm(dim=1) <= r.norm(dim=1)).all()


def test_without_noise_an_inexact_inverse_of_an_object_does_not_bend_the_measurement():
    physics = Physics()
    physics.A_dagger = lambda r: physics.A_adjoint(r) / 7
    operator = as_operator(physics, (1, 4, 4), LIKE)
    r = operator.linear_part(normal(2, 1, 4, 4))
    torch.testing.assert_close(operator.linear_part(operator.adjoint(operator.weighed(r, 1.0, 0.0))), r)


def test_nan_is_not_taken_for_nothing():
    operator = as_operator(Physics(), (1, 4, 4), LIKE)
    operator.dagger, operator.adjoint = None, lambda r: torch.full((len(r), 1, 4, 4), torch.nan).double()
    assert operator.pseudo_inverse(normal(2, 8)).isnan().all()
