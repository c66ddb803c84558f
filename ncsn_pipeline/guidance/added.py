"""A score given a function: by Bayes' rule its gradient is added.

    s(x, sigma | c) = s(x, sigma) + w grad_x log p(c | x, sigma)

The function is that gradient, of a classifier on noised images for instance (Dhariwal & Nichol 2021), of any reward, or
of another density with which the first is multiplied.
"""

import math
from collections.abc import Callable

from torch import Tensor

from ncsn_pipeline.densities import NoisyScoreFn


def added(fn: NoisyScoreFn, weight: float = 1.0) -> Callable[[NoisyScoreFn], NoisyScoreFn]:
    """The transform s -> s + w fn.

    Args:
        fn: `(x (B, *D), sigma ()) -> (B, *D)`, the gradient of a log density at x noised by sigma;
            it may differentiate under `torch.enable_grad()`.  Methods that differentiate the score (dps, pigdm, mmps)
            differentiate fn too, so there its own gradients need `create_graph=True`.
        weight: w, finite; 1 is Bayes' rule.

    Raises:
        ValueError: for a weight that is not finite; when it is used, for a gradient of another shape than x.
    """
    if not math.isfinite(weight):
        raise ValueError(f"weight must be finite; got {weight}.")

    def given(score: NoisyScoreFn) -> NoisyScoreFn:
        def summed(x: Tensor, sigma: Tensor) -> Tensor:
            gradient = fn(x, sigma)
            if gradient.shape != x.shape:
                raise ValueError(
                    f"The added function returned shape {tuple(gradient.shape)} for samples {tuple(x.shape)}; it must "
                    "return one gradient per sample, of the same shape."
                )
            return score(x, sigma).add(gradient, alpha=weight)

        return summed

    return given
