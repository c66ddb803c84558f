"""Section 2 of the lecture, how a score is learned from samples alone: score matching.

A score function s is as good as its Fisher divergence from the data's own score s* is small,

    J(s) = E 1/2 || s(x) - s*(x) ||²,        x from the data.

Read :mod:`.explicit` first, the divergence itself, which needs s*.  The others have the same gradient without knowing
it: :mod:`.implicit` (integration by parts: exact, one derivative per dimension), :mod:`.sliced` (random projections:
unbiased, one derivative per projection), :mod:`.finite_difference` (no derivative, a bias of second order) and
:mod:`.denoising` (no derivatives and unbiased, but for the score of the noised data).  Each takes a score function and
samples and returns one value a sample, which only a training loop averages.  :mod:`.distribution_matching` goes the
other way, from a score to a network that draws samples at once.
"""

from ncsn_pipeline.score_matching.denoising import denoise, denoising_score_matching
from ncsn_pipeline.score_matching.distribution_matching import generate, identity_loss, matching_gradient, within
from ncsn_pipeline.score_matching.explicit import explicit_score_matching
from ncsn_pipeline.score_matching.finite_difference import finite_difference_score_matching
from ncsn_pipeline.score_matching.implicit import implicit_score_matching
from ncsn_pipeline.score_matching.projections import draw_projections
from ncsn_pipeline.score_matching.sliced import sliced_score_matching

__all__ = [
    "explicit_score_matching",
    "implicit_score_matching",
    "draw_projections",
    "sliced_score_matching",
    "finite_difference_score_matching",
    "denoising_score_matching",
    "denoise",
    "generate",
    "identity_loss",
    "matching_gradient",
    "within",
]
