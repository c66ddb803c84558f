"""Sliced score matching: the trace of implicit score matching, estimated along random directions.

With v drawn so that E v v^T = I (see :mod:`.projections`), once or n times for every x,

    plain             l(x) = <v, (ds/dx) v> + 1/2 <v, s(x)>²        (Song et al. 2019, SSM)
    variance-reduced  l(x) = <v, (ds/dx) v> + 1/2 || s(x) ||²       (Song et al. 2019, SSM-VR)

have the expectation over v of the implicit loss, 1/2 || s ||² + tr(ds/dx).  The second form knows its square exactly.
One direction costs two backward passes instead of one, whatever D is.
"""

import torch
from torch import Tensor

from ncsn_pipeline.densities.density import ScoreFn
from ncsn_pipeline.score_matching.jacobian import evaluate_for_derivatives, quadratic_forms
from ncsn_pipeline.score_matching.per_sample import inner
from ncsn_pipeline.score_matching.projections import check_projections, draw_projections


def sliced_score_matching(
    score_fn: ScoreFn,
    x: Tensor,
    *,
    projections: Tensor | None = None,
    distribution: str = "rademacher",
    num_projections: int = 1,
    variance_reduced: bool = True,
    generator: torch.Generator | None = None,
) -> Tensor:
    """The sliced loss of every sample, the mean over its projections; unbiased for the implicit loss.

    Source: Song, Garg, Shi & Ermon 2019, "Sliced score matching", section 3: SSM and SSM-VR.

    Args:
        score_fn: s, `(B, *D) -> (B, *D)`, in inverse data units.  Each sample's score must depend on that sample alone.
        x: samples, shape `(B, *D)`, in data units.
        projections: v, shape `(B, *D)` or `(n, B, *D)`, used as they are; the next two arguments and `generator` then
            have no effect.  Unbiased where E v v^T = I.
        distribution: how v is drawn: "rademacher", "gaussian" or "sphere" (of radius sqrt(D)).
        num_projections: n, how many v are drawn a sample, at least 1.
        variance_reduced: whether the square is the exact 1/2 ||s||² or 1/2 <v, s>².
        generator: source of randomness for v.

    Returns:
        One value a sample, shape `(B,)`, summed over dimensions.

    Raises:
        ValueError: for an x that is no batch of samples, a score of another shape than x or without a derivative in x,
            projections of another shape, a count below 1, or an unknown distribution.
    """
    if projections is None:
        v = draw_projections(x, num_projections, distribution, generator)
    else:
        v = check_projections(projections, x)
    x, score = evaluate_for_derivatives(score_fn, x)
    square = inner(score, score) if variance_reduced else inner(v, score, batch_dims=2) ** 2
    return (quadratic_forms(score, x, v) + 0.5 * square).mean(0)
