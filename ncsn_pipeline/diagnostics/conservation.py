"""Is a vector field the gradient of anything?  Around a loop, and at a point.

The score is a gradient, s = grad log p: along any closed loop log p comes back to where it started, and the Jacobian
ds/dx is a Hessian, hence symmetric.  A free-form network promises neither.  Measured are

    circulation    the line integral of s . dx around a closed polyline; in the plane, the curl inside (Green)
    relative       | circulation | / (mean of || s || along the loop  x  its length), between 0 and 1
    asymmetry      || J - J^T ||_F / || J ||_F at a point: 0 for a gradient, 2 for a pure rotation.

Each segment of the polyline is integrated by Gauss-Legendre quadrature with n nodes, exact where s is a polynomial of
degree 2 n - 1 along it.
"""

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from ncsn_pipeline.densities import ScoreFn


def circle(centre: Sequence[float] | Tensor, radius: float, num_points: int = 64) -> Tensor:
    """The regular polygon on a circle in the plane, counterclockwise, as a loop to integrate around.

    Args:
        centre: shape `(2,)`, in data units; a tensor's dtype and device become the loop's.
        radius: finite and > 0, in data units.
        num_points: vertices, at least 3.

    Returns:
        Shape `(num_points, 2)`; the loop closes from the last vertex to the first.

    Raises:
        ValueError: for a centre, radius or number of points out of range.
    """
    centre = torch.as_tensor(centre)
    if not centre.is_floating_point():
        centre = centre.to(torch.get_default_dtype())
    if centre.shape != (2,) or not (math.isfinite(radius) and radius > 0) or num_points < 3:
        raise ValueError(
            "a circle needs a centre of shape (2,), a finite radius > 0 and at least 3 points; "
            f"got {tuple(centre.shape)}, {radius} and {num_points}."
        )
    angle = torch.arange(num_points, dtype=torch.float64) * (2 * math.pi / num_points)
    return centre + (radius * torch.stack([angle.cos(), angle.sin()], dim=1)).to(centre)


def circulation(score_fn: ScoreFn, loop: Tensor, *, num_nodes: int = 8) -> float:
    """The line integral of `s . dx` around a closed polyline, by Gauss-Legendre quadrature on each segment.

    For a gradient it is 0, up to rounding and the quadrature's error.  In the plane it is the integral of the curl
    over the area inside, positive for a loop run counterclockwise.

    Args:
        score_fn: `(B, d) -> (B, d)`.
        loop: vertices, shape `(M, d)`, M at least 3; the last joins the first.
        num_nodes: quadrature nodes a segment, at least 1.

    Returns:
        The circulation, without unit: a difference of log density.

    Raises:
        ValueError: for a loop of fewer than three points or fewer than one node.
    """
    return _line_integrals(score_fn, loop, num_nodes)[0]


def relative_circulation(score_fn: ScoreFn, loop: Tensor, *, num_nodes: int = 8) -> float:
    """`| circulation |` over the integral of `|| s ||` along the loop (mean score norm times length).

    Args:
        score_fn: `(B, d) -> (B, d)`.
        loop: vertices, shape `(M, d)`, M at least 3; the last joins the first.
        num_nodes: quadrature nodes a segment, at least 1.

    Returns:
        From 0, for a gradient, to 1, for a field that points along the loop everywhere; 0 for the zero field.

    Raises:
        ValueError: for a loop of fewer than three points or fewer than one node.
    """
    along, norm = _line_integrals(score_fn, loop, num_nodes)
    return 0.0 if norm == 0 else abs(along) / norm


def _line_integrals(score_fn: ScoreFn, loop: Tensor, num_nodes: int) -> tuple[float, float]:
    """The integrals of `s . dx` and of `|| s || |dx|` around the loop."""
    if loop.ndim != 2 or len(loop) < 3 or num_nodes < 1:
        raise ValueError(
            "loop must have shape (M, d) with at least 3 points, and num_nodes must be at least 1; "
            f"got {tuple(loop.shape)} and {num_nodes}."
        )
    loop = loop if loop.is_floating_point() else loop.to(torch.get_default_dtype())
    nodes, weights = map(torch.from_numpy, np.polynomial.legendre.leggauss(num_nodes))
    nodes, weights = nodes.to(loop), weights.to(loop.device)
    segments = loop.roll(-1, 0) - loop
    points = loop[:, None] + (nodes[:, None] + 1) / 2 * segments[:, None]  # (M, n, d)
    score = score_fn(points.flatten(0, 1)).detach().reshape(points.shape).double()
    weights, segments = weights / 2, segments.double()
    along = torch.einsum("n,mnd,md->", weights, score, segments)
    norm = torch.einsum("n,mn,m->", weights, score.norm(dim=2), segments.norm(dim=1))
    return along.item(), norm.item()


def jacobian_asymmetry(score_fn: ScoreFn, x: Tensor) -> Tensor:
    """`|| J - J^T ||_F / || J ||_F` with J = ds/dx, at each point.

    One backward pass a dimension, and a D x D matrix a sample.

    Args:
        score_fn: `(B, *D) -> (B, *D)`, differentiable, each sample on its own.
        x: points, shape `(B, *D)`, of a floating type.

    Returns:
        From 0 (symmetric, as a gradient's is) to 2 (antisymmetric), shape `(B,)`; 0 where J is zero.

    Raises:
        ValueError: where the score does not depend on x by differentiable operations.
    """
    with torch.enable_grad():
        x = x.detach().clone().requires_grad_()
        score = score_fn(x).reshape(len(x), -1)
        rows = []
        for component in score.unbind(1):
            row = None
            if score.requires_grad:
                (row,) = torch.autograd.grad(component.sum(), x, retain_graph=True, allow_unused=True)
            if row is None:
                raise ValueError(
                    "score_fn has no derivative with respect to x, so its Jacobian is unknown; "
                    "remove no_grad or detach inside it (a constant field has no Jacobian to look at)."
                )
            rows.append(row.detach().reshape(len(x), -1))
    jacobian = torch.stack(rows, dim=1)
    norm = jacobian.flatten(1).norm(dim=1)
    asymmetry = (jacobian - jacobian.mT).flatten(1).norm(dim=1)
    return torch.where(norm == 0, 0.0, asymmetry / norm)
