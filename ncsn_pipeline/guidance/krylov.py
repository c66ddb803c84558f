"""Linear systems known by their products alone, many at once, one a row.

    conjugate_gradients     S symmetric and not negative (Hestenes & Stiefel 1952)
    gmres                   any S (Saad & Schultz 1986)

After k products with S, GMRES's p is the combination of r, S r, ..., S^(k-1) r whose residual |S p - r| is least: the
residual never grows, and m products solve m equations.
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor

MOST_ITERATIONS = 200  # of conjugate gradients


def conjugate_gradients(apply: Callable[[Tensor], Tensor], r: Tensor, tolerance: float = 1e-6) -> Tensor:
    """The solution p of S p = r, `(B, m)` each, for a symmetric S >= 0 that `apply` multiplies by.

    It ends when every residual is below `tolerance` of its r, or after 200 iterations, with the p of least residual:
    residuals may grow before they fall, and for ever where rounding or a part of r that no p gives is all that is left.
    """
    p, residual = torch.zeros_like(r), r
    best, least = p, r.square().sum(1, keepdim=True)
    direction, squared = residual, residual.square().sum(1, keepdim=True)
    enough = squared * tolerance**2
    for _ in range(MOST_ITERATIONS):
        active = squared > enough
        if not active.any():
            break
        along = apply(direction)
        curvature = (direction * along).sum(1, keepdim=True)
        alpha = torch.where(active & (curvature > 0), squared / curvature, 0)
        p = p + alpha * direction
        residual = residual - alpha * along
        before, squared = squared, residual.square().sum(1, keepdim=True)
        best, least = torch.where(squared < least, p, best), torch.minimum(squared, least)
        direction = residual + torch.where(active, squared / before, 0) * direction
    return torch.where(least.isnan(), math.nan, best)


def gmres(apply: Callable[[Tensor], Tensor], r: Tensor, iterations: int) -> tuple[Tensor, Tensor]:
    """The solution p of S p = r, one system per row, as a combination of what S was multiplied by.

    Args:
        apply: p -> S p, `(B, m) -> (B, m)`, a matrix S of its own for each row.
        r: right-hand sides, shape `(B, m)`.
        iterations: k >= 1 products at most; more than m are not needed, nor are more where all rows are solved.

    Returns:
        Weights, shape `(B, k)`, and the directions that `apply` was given in turn, `(k, B, m)`: p is their sum, so
        weighed.  What is linear in p is known with it from its values at the directions.
    """
    tiny, eps = torch.finfo(r.dtype).tiny, torch.finfo(r.dtype).eps
    iterations = min(iterations, r.shape[1])
    norm = r.norm(dim=1, keepdim=True)
    basis = [r / norm.clamp(min=tiny)]
    hessenberg = r.new_zeros(len(r), iterations + 1, iterations)
    for k in range(iterations):
        w = apply(basis[k])
        size = w.norm(dim=1)
        for _ in range(2):  # twice, so that rounding leaves nothing of the directions before
            for j, v in enumerate(basis):
                along = (w * v).sum(1)
                hessenberg[:, j, k] += along
                w = w - along[:, None] * v
        # A row whose directions are used up gets 0 for the next one.
        left = w.norm(dim=1)
        left = torch.where(left > 100 * eps * size, left, 0)
        hessenberg[:, k + 1, k] = left
        if not left.any() or k + 1 == iterations:
            break
        basis.append(torch.where(left > 0, 1 / left.clamp(min=tiny), 0)[:, None] * w)
    weights = norm * torch.linalg.pinv(hessenberg[:, : k + 2, : k + 1])[:, :, 0]
    return weights, torch.stack(basis)
