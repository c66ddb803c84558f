"""What every estimator needs: scores of the right shape, and inner products sample by sample.

Samples are `(B, *D)`, any number of dimensions after the first; x, s(x) and v are vectors of D numbers whatever shape
those have, and <a, b> sums over all of it.
"""

import torch
from torch import Tensor

from ncsn_pipeline.densities.density import ScoreFn


def inner(a: Tensor, b: Tensor, *, batch_dims: int = 1) -> Tensor:
    """<a, b>: the sum of the products over all but the first `batch_dims` dimensions.

    Args:
        a: shape `(B, *D)`, or `(n, B, *D)` with `batch_dims=2`.
        b: a shape that broadcasts with it.
        batch_dims: how many dimensions are kept.

    Returns:
        Shape `(B,)` or `(n, B)`; in float32 for half precision, whose sums of squares end at 65,504.
    """
    wide = torch.promote_types(torch.promote_types(a.dtype, b.dtype), torch.float32)
    return (a.to(wide) * b.to(wide)).flatten(batch_dims).sum(batch_dims)


def check_samples(x: Tensor) -> None:
    """Refuses what is no batch of samples.

    Raises:
        ValueError: unless x is a floating point tensor of shape `(B, *D)`, with *D at least one number.
    """
    if x.dim() < 2 or 0 in x.shape[1:] or not x.is_floating_point():
        raise ValueError(
            f"x must hold floating point samples of shape (B, *D); got {x.dtype} of shape {tuple(x.shape)}. "
            "*D is at least one dimension and none of size 0: numbers on a line are (B, 1). Integers want .float()."
        )


def check_shape(values: Tensor, x: Tensor, name: str) -> Tensor:
    """Returns `values`, one number for each number of x.

    Raises:
        ValueError: for another shape, which broadcasting would let through without a word.
    """
    if values.shape != x.shape:
        raise ValueError(f"{name} must have the shape of x, {tuple(x.shape)}; got {tuple(values.shape)}.")
    return values


def evaluate(score_fn: ScoreFn, x: Tensor) -> Tensor:
    """s(x), whose shape is checked.

    Raises:
        ValueError: for a score of another shape than x.
    """
    return check_shape(score_fn(x), x, "The score that score_fn returns")
