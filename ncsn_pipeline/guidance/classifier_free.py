"""Classifier-free guidance: further towards a class (Ho & Salimans 2022, eq. 6, whose w is this w - 1).

    s(x, sigma | class) <- s_null + w (s_class - s_null)

w = 1 is the class's score, 0 the unconditional one, the null class's.  Both come from one evaluation of twice the
batch.  Guided between two noise levels alone, samples keep more of their variety (Kynkäänniemi et al. 2024): above, one
class has many shapes and w > 1 leaves some out; below, the class is plain already.
"""

from collections.abc import Callable
from numbers import Real

import torch
from torch import Tensor

from ncsn_pipeline.densities import NoisyScoreFn

Scale = float | Tensor | None | Callable[[], float | None]


def classifier_free(
    labels: Tensor, null: int, scale: Scale = None, interval: tuple[float, float] | None = None
) -> Callable[[Callable[..., Tensor]], NoisyScoreFn]:
    """The transform of a score with classes, `score(x, sigma, class_labels=...)`, into one without.

    Args:
        labels: the class of each sample, shape `(B,)`.
        null: index of the null class.
        scale: w, or one of each sample, `(B, 1, ..., 1)`; 1 and `None` use the class's score alone.  A function is
            asked at every evaluation.
        interval: the smallest and the largest noise level that are guided; `None` for all.  Where no sample's is, only
            the class's score is evaluated.
    """

    def given(score: Callable[..., Tensor]) -> NoisyScoreFn:
        def guided(x: Tensor, sigma: Tensor) -> Tensor:
            w = scale() if callable(scale) else scale
            if w is None or (isinstance(w, Real) and w == 1):
                return score(x, sigma, class_labels=labels)
            if interval is not None:
                inside = (interval[0] <= sigma) & (sigma <= interval[1])
                if not inside.any():
                    return score(x, sigma, class_labels=labels)
                if sigma.dim():
                    w = torch.where(inside.reshape(-1, *[1] * (x.dim() - 1)), w, 1.0)
            both = torch.cat([torch.full_like(labels, null), labels])
            sigma = sigma.repeat(2) if sigma.dim() else sigma
            unconditional, conditional = score(torch.cat([x, x]), sigma, class_labels=both).chunk(2)
            w = w.to(unconditional.dtype) if isinstance(w, Tensor) else w
            return torch.lerp(unconditional, conditional, w)

        return guided

    return given
