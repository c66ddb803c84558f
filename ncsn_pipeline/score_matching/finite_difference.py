"""Finite-difference score matching: the sliced loss from two evaluations of the score and no derivative.

With v uniform on the sphere of radius sqrt(D), so that E v v^T = I, and s± = s(x ± epsilon v),

    l(x) = 1/2 || (s+ + s-) / 2 ||² + <v, s+ - s-> / (2 epsilon)

(Pang et al. 2020, FD-SSM in its form for models of the score with reduced variance; they write || s+ + s- ||² / 8).
The mean of the two scores stands for s(x) and their difference for (ds/dx) v, both to second order: for small epsilon

    l(x) = 1/2 || s(x) ||² + <v, (ds/dx) v> + O(epsilon²),

the variance-reduced sliced loss, and exactly that for a score linear in x.  The two evaluations are independent of each
other and only an ordinary backward pass follows.

epsilon is here the size of the displacement in each coordinate, about; the paper's is the length of the whole of it,
sqrt(D) times as much.
"""

import math

import torch
from torch import Tensor

from ncsn_pipeline.densities.density import ScoreFn
from ncsn_pipeline.score_matching.per_sample import evaluate, inner
from ncsn_pipeline.score_matching.projections import check_projections, draw_projections


def finite_difference_score_matching(
    score_fn: ScoreFn,
    x: Tensor,
    *,
    epsilon: float,
    projections: Tensor | None = None,
    generator: torch.Generator | None = None,
) -> Tensor:
    """The finite-difference loss of every sample, the mean over its projections.

    Source: Pang et al. 2020, "Efficient learning of generative models via finite-difference score matching".

    Args:
        score_fn: s, `(B, *D) -> (B, *D)`, in inverse data units.  It is called twice a projection, with B samples.
        x: samples, shape `(B, *D)`, in data units.
        epsilon: the displacement, finite and > 0, in data units (see above for the paper's).  Well below the distance
            over which the score bends, and in float32 not below a thousandth of the size of x, where rounding takes
            over: the difference is divided by it.
        projections: v, shape `(B, *D)` or `(n, B, *D)`, used as they are; unbiased to second order where E v v^T = I.
            Without them, one v a sample is drawn from the sphere of radius sqrt(D), as in the paper.
        generator: source of randomness for v.

    Returns:
        One value a sample, shape `(B,)`, summed over dimensions.

    Raises:
        ValueError: for an epsilon that is not finite and positive, an x that is no batch of samples, a score of another
            shape than x, or projections of another shape.
    """
    if not (math.isfinite(epsilon) and epsilon > 0):
        raise ValueError(
            f"epsilon must be finite and > 0, in data units; got {epsilon}. Try a hundredth of the data's size."
        )
    if projections is None:
        vectors = draw_projections(x, 1, "sphere", generator)
    else:
        vectors = check_projections(projections, x)
    loss = x.new_zeros(len(x))
    for v in vectors:
        # Two calls rather than one of 2 B samples, so that score_fn may hold a class or a sigma for each sample.
        plus, minus = evaluate(score_fn, x + epsilon * v), evaluate(score_fn, x - epsilon * v)
        mean, difference = (plus + minus) / 2, plus - minus
        loss = loss + 0.5 * inner(mean, mean) + inner(v, difference) / (2 * epsilon)
    return loss / len(vectors)
