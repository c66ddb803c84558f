"""Implicit score matching: the Fisher divergence without the true score.

    l(x) = 1/2 || s(x) ||² + tr(ds/dx)        (Hyvärinen 2005, theorem 1)

Integration by parts turns the term of the divergence that holds the true score into one that does not,

    E <s, s*> = int <s, grad p> dx = - int p div s dx = - E tr(ds/dx),

for a differentiable density p and p s -> 0 at infinity, so that

    E l(x) = E 1/2 || s - s* ||² - E 1/2 || s* ||²,

and the last term does not depend on s.  The trace is exact and needs a backward pass for each of the D dimensions: the
right choice up to a few tens of them.
"""

from numbers import Integral

from torch import Tensor

from ncsn_pipeline.densities.density import ScoreFn
from ncsn_pipeline.score_matching.jacobian import DEFAULT_CHUNK_SIZE, evaluate_for_derivatives, exact_trace
from ncsn_pipeline.score_matching.per_sample import check_samples, inner


def implicit_score_matching(score_fn: ScoreFn, x: Tensor, *, chunk_size: int | None = None) -> Tensor:
    """1/2 ||s||² + tr(ds/dx) with the exact trace, differentiable in the parameters of the network behind `score_fn`.

    The time grows in proportion to D, and so does the memory where gradients are switched on.

    Source: Hyvärinen 2005, theorem 1.

    Args:
        score_fn: s, `(B, *D) -> (B, *D)`, in inverse data units.  Each sample's score must depend on that sample alone.
        x: samples, shape `(B, *D)`, in data units.
        chunk_size: how many of the D directions share a vectorised backward pass, at least 1; `None` for 16.  It
            trades memory for speed, one direction at a time being slowest, and changes no value.

    Returns:
        One value a sample, shape `(B,)`, summed over dimensions.

    Raises:
        ValueError: for an x that is no batch of samples, a score of another shape than x or without a derivative in x,
            or a `chunk_size` below 1.
    """
    chunk_size = DEFAULT_CHUNK_SIZE if chunk_size is None else chunk_size
    if not isinstance(chunk_size, Integral) or isinstance(chunk_size, bool) or chunk_size < 1:
        raise ValueError(f"chunk_size must be an integer of at least 1, or None; got {chunk_size}.")
    check_samples(x)
    x, score = evaluate_for_derivatives(score_fn, x)
    return 0.5 * inner(score, score) + exact_trace(score, x, int(chunk_size))
