"""Measurements y = A x + noise: what the posterior methods ask of an operator, and how a plain function becomes one.

With c = A(0), A(x) = M x + c; the methods need M, its adjoint M' and two inverses,

    (v M M' + w I)^-1 r        the residual, weighed by prior variance v and noise variance w
    M^+ r                      the smallest x that changes the measurement by r

A linear function of up to 4,096 numbers becomes the matrix M = U diag(s) V', a larger one keeps its form: the adjoint
is its derivative and both inverses are conjugate gradients.  A nonlinear one has none of this; `dps` alone takes it.
Complex measurements are pairs of real numbers, so a noise level is that of the real and of the imaginary part.
"""

import math
from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from ncsn_pipeline.guidance.krylov import conjugate_gradients

MOST_MATRIX_INPUTS = 4096
MOST_FACTORED_ROWS = 1024  # 3,072 take half a minute to factor, conjugate gradients with noise a second
_CHUNK = 256  # columns of a matrix that are measured at once


class Operator:
    """A measurement of any kind; alone it is nonlinear.

    Args:
        measure: A, `x (B, *D) -> (B, *M)`.
        shape: D, of one x.
        measurement_shape: M as the user's y has it, of one measurement.
    """

    linear = False

    def __init__(self, measure: Callable[[Tensor], Tensor], shape: Sequence[int], measurement_shape: Sequence[int]):
        self.measure, self.shape, self.measurement_shape = measure, tuple(shape), tuple(measurement_shape)

    def __call__(self, x: Tensor) -> Tensor:
        """A(x), shape `(B, m)`, m real numbers each."""
        return flat(self.measure(x)).to(x)

    def in_model_space(self, shift: float, scale: float) -> "Operator":
        """The same measurement of x = shift + scale x_given, which is what the network sees."""
        return Operator(lambda x: self.measure((x - shift) / scale), self.shape, self.measurement_shape)


class LinearOperator(Operator):
    """M x + c by its functions; both inverses by conjugate gradients.

    Args:
        measure: A, `x (B, *D) -> (B, *M)`.
        adjoint: M', `r (B, m) -> (B, *D)`.
        shape: D.
        measurement_shape: M.
        dagger: M^+, `r (B, m) -> (B, *D)`; by conjugate gradients where it is `None`.
    """

    linear = True

    def __init__(
        self,
        measure: Callable[[Tensor], Tensor],
        adjoint: Callable[[Tensor], Tensor],
        shape: Sequence[int],
        measurement_shape: Sequence[int],
        dagger: Callable[[Tensor], Tensor] | None = None,
    ) -> None:
        super().__init__(measure, shape, measurement_shape)
        self.adjoint, self.dagger = adjoint, dagger

    def linear_part(self, x: Tensor) -> Tensor:
        """M x, shape `(B, m)`."""
        return self(x) - self(torch.zeros_like(x[:1]))

    def weighed(self, r: Tensor, prior_variance: float, noise_variance: float) -> Tensor:
        """(v M M' + w I)^-1 r, shape `(B, m)`; at w = 0 the smallest solution, v > 0 then."""
        if noise_variance == 0:  # nothing solves it for a part of r that no x gives
            r = self.linear_part(self._least_squares(r))
        return conjugate_gradients(lambda p: prior_variance * self.linear_part(self.adjoint(p)) + noise_variance * p, r)

    def pseudo_inverse(self, r: Tensor) -> Tensor:
        """M^+ r, shape `(B, *D)`."""
        return self._least_squares(r) if self.dagger is None else self.dagger(r).to(r)

    def _least_squares(self, r: Tensor) -> Tensor:
        """The smallest solution of M' M x = M' r, which has one for every r."""
        back = self.adjoint(r)
        normal = conjugate_gradients(
            lambda x: self.adjoint(self.linear_part(x.reshape(back.shape))).flatten(1), back.flatten(1)
        )
        return normal.reshape(back.shape)

    def in_model_space(self, shift: float, scale: float) -> "LinearOperator":
        """The same measurement of x = shift + scale x_given."""
        dagger = None if self.dagger is None else lambda r: self.dagger(r) * scale
        return LinearOperator(
            lambda x: self.measure((x - shift) / scale),
            lambda r: self.adjoint(r) / scale,
            self.shape,
            self.measurement_shape,
            dagger,
        )


class MatrixOperator(LinearOperator):
    """M x + c by a matrix, and its inverses by the singular values; of many rows, with noise, by conjugate gradients.

    Args:
        matrix: M, shape `(m, d)`, d the number of values of x; singular values that are 0 to its rounding are left out.
        offset: c, shape `(m,)`.
        shape: D.
        measurement_shape: M as the user's y has it; by default `(m,)`.
    """

    def __init__(
        self, matrix: Tensor, offset: Tensor, shape: Sequence[int], measurement_shape: Sequence[int] | None = None
    ) -> None:
        self.matrix, self.offset = matrix.detach(), offset.detach()
        self._converted: dict[tuple[torch.device, torch.dtype], tuple[Tensor, Tensor, Tensor]] = {}
        measurement_shape = (len(matrix),) if measurement_shape is None else measurement_shape
        super().__init__(lambda x: self.linear_part(x) + self.offset.to(x), self._transposed, shape, measurement_shape)

    @cached_property
    def _factors(self) -> tuple[Tensor, Tensor, Tensor]:
        """U `(m, k)`, s `(k,)` and V' `(k, d)` in float64, on the CPU: not every device has it."""
        u, s, v = torch.linalg.svd(self.matrix.cpu().double(), full_matrices=False)
        kept = s > s.max() * max(self.matrix.shape) * torch.finfo(self.matrix.dtype).eps
        return u[:, kept], s[kept], v[kept]

    def _factors_like(self, r: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The same in the type and on the device of r."""
        key = r.device, r.dtype
        if key not in self._converted:
            self._converted[key] = tuple(factor.to(r.dtype).to(r.device) for factor in self._factors)
        return self._converted[key]

    def linear_part(self, x: Tensor) -> Tensor:
        """M x, shape `(B, m)`."""
        return x.flatten(1) @ self.matrix.mT.to(x)

    def _transposed(self, r: Tensor) -> Tensor:
        return (r @ self.matrix.to(r)).reshape(-1, *self.shape)

    def weighed(self, r: Tensor, prior_variance: float, noise_variance: float) -> Tensor:
        """(v M M' + w I)^-1 r, shape `(B, m)`; at w = 0 the smallest solution, v > 0 then."""
        if len(self.matrix) > MOST_FACTORED_ROWS and noise_variance > 0:
            return super().weighed(r, prior_variance, noise_variance)
        u, s, _ = self._factors_like(r)
        inside = ((r @ u) / (prior_variance * s**2 + noise_variance)) @ u.mT
        if noise_variance == 0 or u.shape[0] == u.shape[1]:
            return inside
        for _ in range(2):  # twice, so that rounding, which a small noise variance magnifies, leaves nothing along U
            r = r - (r @ u) @ u.mT
        return inside + r / noise_variance

    def pseudo_inverse(self, r: Tensor) -> Tensor:
        """M^+ r, shape `(B, *D)`."""
        u, s, v = self._factors_like(r)
        return (((r @ u) / s) @ v).reshape(-1, *self.shape)

    def in_model_space(self, shift: float, scale: float) -> "MatrixOperator":
        """The same measurement of x = shift + scale x_given."""
        offset = self.offset - self.matrix.sum(1) * (shift / scale)
        return MatrixOperator(self.matrix / scale, offset, self.shape, self.measurement_shape)

    def range(self, low: float, high: float) -> tuple[Tensor, Tensor]:
        """The smallest and the largest value of each number of y that x in [low, high] can give, shape `(m,)`."""
        up, down = self.matrix.clamp(min=0).sum(1), self.matrix.clamp(max=0).sum(1)
        return up * low + down * high + self.offset, up * high + down * low + self.offset


def as_operator(operator: Any, shape: Sequence[int], like: Tensor | None = None) -> Operator:
    """What the methods use, from what a user has.

    Args:
        operator: a matrix `(m, d)`; a function `x (B, *D) -> (B, *M)`, differentiable unless it is linear and small; an
            object with `A`, `A_adjoint` and, if it has one, `A_dagger`, as the physics of deepinv, which is linear; or
            what this function returned.
        shape: D, of one x.
        like: a tensor of the type and device that the operator works with; float32 on the CPU by default.

    Raises:
        ValueError: for an operator of another kind, that does not fit the shape, or returns what is not finite.
    """
    shape = tuple(shape)
    if isinstance(operator, Operator):
        if operator.shape != shape:
            raise ValueError(f"The operator measures samples of shape {operator.shape}; these have shape {shape}.")
        return operator
    like = torch.zeros(()) if like is None else like
    like = like.new_zeros((), dtype=_at_least_single(like))
    d = math.prod(shape)
    if isinstance(operator, Tensor):
        if operator.dim() != 2 or operator.shape[1] != d or not len(operator) or not operator.isfinite().all():
            raise ValueError(
                f"A matrix operator must be finite, of shape (m, {d}) for samples of shape {shape}; got shape "
                f"{tuple(operator.shape)}."
            )
        count = len(operator)
        if operator.is_complex():  # real and imaginary part of each number, as `flat` has them
            operator = torch.view_as_real(operator.resolve_conj()).transpose(1, 2).flatten(0, 1)
        matrix = operator.to(like.device, _at_least_single(operator))
        return MatrixOperator(matrix, matrix.new_zeros(len(matrix)), shape, (count,))
    physics = all(callable(getattr(operator, name, None)) for name in ("A", "A_adjoint"))
    measure = operator.A if physics else operator
    if not callable(measure):
        raise ValueError(
            "operator must be a function x -> A(x), a matrix, or an object with A and A_adjoint; got "
            f"{type(operator).__name__}."
        )
    probes = _probes(measure, shape, like)
    zero = probes[0]
    measurement_shape = zero.shape[1:]
    if physics:
        dagger = (lambda r: operator.A_dagger(unflat(r, zero))) if hasattr(operator, "A_dagger") else None
        return LinearOperator(measure, lambda r: operator.A_adjoint(unflat(r, zero)), shape, measurement_shape, dagger)
    if not _is_linear(*probes):
        return Operator(measure, shape, measurement_shape)
    if d > MOST_MATRIX_INPUTS:
        return LinearOperator(measure, _derivative(measure, shape), shape, measurement_shape)
    offset = flat(zero)
    columns = []
    for part in torch.eye(d, dtype=like.dtype, device=like.device).split(_CHUNK):
        columns.append(flat(_measured(measure, part.reshape(-1, *shape))) - offset)
    return MatrixOperator(torch.cat(columns).mT.contiguous(), offset[0], shape, measurement_shape)


def flat(y: Tensor) -> Tensor:
    """Measurements `(B, *M)` as real numbers `(B, m)`."""
    return (torch.view_as_real(y.resolve_conj()) if y.is_complex() else y).flatten(1)


def _at_least_single(tensor: Tensor) -> torch.dtype:
    """The type to compute with: half precision cannot tell singular values from rounding."""
    return torch.promote_types(tensor.dtype, torch.float32) if tensor.is_floating_point() else torch.float32


def unflat(r: Tensor, like: Tensor) -> Tensor:
    """The inverse of :func:`flat`, in the form of `like`, `(1, *M)`."""
    if like.is_complex():
        return torch.view_as_complex(r.reshape(-1, *like.shape[1:], 2).contiguous())
    return r.reshape(-1, *like.shape[1:])


def _measured(measure: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    with torch.no_grad():
        return measure(x)


def _probes(measure: Callable[[Tensor], Tensor], shape: tuple[int, ...], like: Tensor) -> list[Tensor]:
    """What is measured at 0, at two random points x and z, and at x - 2 z, `(1, *M)` each."""
    x, z = torch.randn(2, 1, *shape, generator=torch.Generator().manual_seed(0)).to(like)
    try:
        found = [_measured(measure, point) for point in (torch.zeros_like(x), x, z, x - 2 * z)]
    except (RuntimeError, IndexError) as error:
        raise ValueError(
            f"The operator does not take samples of shape (B, {', '.join(map(str, shape))}): {error}"
        ) from error
    for y in found:
        if not isinstance(y, Tensor) or y.dim() < 1 or len(y) != 1:
            what = f"shape {tuple(y.shape)}" if isinstance(y, Tensor) else type(y).__name__
            raise ValueError(
                f"The operator must return one measurement per sample, shape (B, ...); of one, got {what}."
            )
        if not y.numel():
            raise ValueError("The operator measures nothing: what it returns is empty. Keep at least one number.")
        if not y.isfinite().all():
            raise ValueError("The operator returned values that are not finite (NaN or infinite). Correct it.")
    return found


def _is_linear(zero: Tensor, x: Tensor, z: Tensor, both: Tensor) -> bool:
    """Whether A(x - 2 z) - A(0) is what an A = M x + c has, to 0.01 %."""
    expected = x + 2 * (zero - z)
    return bool((both - expected).abs().max() <= 1e-4 * max((x - zero).abs().max(), (z - zero).abs().max()))


def _derivative(measure: Callable[[Tensor], Tensor], shape: tuple[int, ...]) -> Callable[[Tensor], Tensor]:
    """M' of a linear function, by automatic differentiation."""

    def adjoint(r: Tensor) -> Tensor:
        with torch.enable_grad():
            x = r.new_zeros(len(r), *shape).requires_grad_()
            y = flat(measure(x))
            if not y.requires_grad:
                raise ValueError(
                    f"Samples of more than {MOST_MATRIX_INPUTS:,} values need an operator that torch can differentiate "
                    "for its adjoint. Write it in operations of torch, or give an object with A and A_adjoint."
                )
            return torch.autograd.grad(y, x, r)[0]

    return adjoint
