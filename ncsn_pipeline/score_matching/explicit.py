"""Explicit score matching: the Fisher divergence to a score that is known.

    l(x) = 1/2 || s(x) - s*(x) ||²        (Hyvärinen 2005, eq. 2)

Possible where the true score s* is known: for a density in closed form.  The other estimators have the same mean up to
a constant, finite differences up to an error of second order besides, denoising for the noised density.
"""

from torch import Tensor

from ncsn_pipeline.densities.density import ScoreFn
from ncsn_pipeline.score_matching.per_sample import check_samples, check_shape, evaluate, inner


def explicit_score_matching(score_fn: ScoreFn, x: Tensor, true_score: Tensor | ScoreFn) -> Tensor:
    """Half the squared distance to the true score, 1/2 ||s - s*||²; its mean over data is the Fisher divergence.

    Source: Hyvärinen 2005, eq. 2.

    Args:
        score_fn: s, `(B, *D) -> (B, *D)`, in inverse data units.
        x: samples, shape `(B, *D)`, in data units.
        true_score: s* at x, shape `(B, *D)`, or the function that computes it, such as a density's `score`.

    Returns:
        One value a sample, shape `(B,)`, summed over dimensions; at least 0.

    Raises:
        ValueError: for an x that is no batch of samples, or a score of another shape than x.
    """
    check_samples(x)
    score = evaluate(score_fn, x)
    true_score = check_shape(true_score if isinstance(true_score, Tensor) else true_score(x), x, "true_score")
    error = score - true_score
    return 0.5 * inner(error, error)
