"""Derivatives of a score function along directions, differentiable once more in the network's parameters.

The estimators that know the Jacobian ds/dx, `(B, D, D)`, only by its quadratic forms,

    <v, (ds/dx) v> = <v, grad_x <v, s(x)>>        v held fixed,

need one backward pass a direction v, and n of them are cheaper in one vectorised pass.  A pass differentiates the sum
over the batch, so the score of a sample must not depend on the others (no batch normalisation in training mode).
"""

import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from ncsn_pipeline.densities.density import ScoreFn
from ncsn_pipeline.score_matching.per_sample import evaluate, inner

# Directions in one backward pass.  For multilayer perceptrons on a CPU 8 to 32 are fastest, from D = 16 to D = 784.
DEFAULT_CHUNK_SIZE = 16


def evaluate_for_derivatives(score_fn: ScoreFn, x: Tensor) -> tuple[Tensor, Tensor]:
    """x and s(x), `(B, *D)` each, with the graph between them, also under `torch.no_grad()`.

    Raises:
        ValueError: for a score of another shape than x.
    """
    x = x if x.requires_grad else x.detach().requires_grad_()
    # The fused attention kernels have no second derivative; the plain one has.
    with torch.enable_grad(), sdpa_kernel(SDPBackend.MATH):
        return x, evaluate(score_fn, x)


def quadratic_forms(score: Tensor, x: Tensor, vectors: Tensor) -> Tensor:
    """<v, (ds/dx) v> for n directions per sample.

    Args:
        score: s(x), shape `(B, *D)`.
        x: what it was computed from, shape `(B, *D)`.
        vectors: v, shape `(n, B, *D)`.

    Returns:
        Shape `(n, B)`; differentiable wherever gradients are switched on.

    Raises:
        ValueError: for a score that was not computed from x by differentiable operations.
    """
    return inner(vectors, _vector_jacobian_products(score, x, vectors), batch_dims=2)


def exact_trace(score: Tensor, x: Tensor, chunk_size: int = DEFAULT_CHUNK_SIZE) -> Tensor:
    """tr(ds/dx), the sum of <e_i, (ds/dx) e_i> over the D unit vectors.

    Args:
        score: s(x), shape `(B, *D)`.
        x: what it was computed from, shape `(B, *D)`.
        chunk_size: how many directions share a vectorised pass, at least 1.

    Returns:
        Shape `(B,)`; differentiable wherever gradients are switched on.
    """
    dimensions = torch.arange(x.shape[1:].numel(), device=x.device)
    trace = x.new_zeros(len(x))
    for chunk in dimensions.split(chunk_size):
        e = (chunk[:, None] == dimensions).to(x.dtype)  # rows of the identity
        e = e.reshape(-1, 1, *x.shape[1:]).expand(-1, *x.shape)
        trace = trace + quadratic_forms(score, x, e).sum(0)
    return trace


def _vector_jacobian_products(score: Tensor, x: Tensor, vectors: Tensor) -> Tensor:
    """v^T ds/dx, `(n, B, *D)`."""
    if len(vectors) == 1:
        return _gradient(score, x, vectors[0], batched=False).unsqueeze(0)
    try:
        return _gradient(score, x, vectors, batched=True)
    except RuntimeError:
        # Not every operation can be vectorised here (the second derivative of GroupNorm cannot, as of torch 2.13): one
        # direction at a time then.  An error of any other cause comes again.
        return torch.stack([_gradient(score, x, v, batched=False) for v in vectors])


def _gradient(score: Tensor, x: Tensor, vectors: Tensor, *, batched: bool) -> Tensor:
    gradient = None
    if score.requires_grad:
        (gradient,) = torch.autograd.grad(
            score,
            x,
            vectors,
            retain_graph=True,
            create_graph=torch.is_grad_enabled(),
            allow_unused=True,
            is_grads_batched=batched,
        )
    if gradient is None:
        raise ValueError(
            "The score does not depend on x by differentiable operations, so ds/dx cannot be computed. Let score_fn "
            "compute it from the x it is given, without detach(), no_grad() or inference_mode()."
        )
    return gradient
