"""A uniform stretch of mass after Gaussian noise: what curves and cells are made of.

In units of sigma, let a stretch of half-width h be centred at 0.  Noised, a point at t sees of it the mass

    q(t, h) = Phi(t + h) - Phi(t - h),        d log q / dt = -(phi(t - h) - phi(t + h)) / q.

The plain difference of two Phi is 0 far away, where log q ~ -(|t| - h)² / 2 still matters, and cancels for short
stretches.  q is even in t, so t >= 0 below, and with u = t - h every regime factors out phi(u) and sums positive terms:

    inside     t <= h               q = (erf((h + t) / √2) + erf((h - t) / √2)) / 2
    outside    t >  h               q = exp(-u² / 2) (erfcx(u / √2) - exp(-2 h t) erfcx((t + h) / √2)) / 2
    short      2 h (t + 1) < 0.1    q = phi(u) h int_-1^1 exp(-h (y + 1) (2 t + h (y - 1)) / 2) dy

where erfcx(y) = exp(y²) erfc(y), and four Gauss-Legendre nodes give the smooth integral to the last digit of float64.
"""

import math

import numpy as np
import torch
from torch import Tensor

_SHORT_BELOW = 0.1
_NODES, _WEIGHTS = (values.tolist() for values in np.polynomial.legendre.leggauss(4))
_ROOT_TWO = math.sqrt(2)
_LOG_ROOT_TWO_PI = 0.5 * math.log(2 * math.pi)


def noised_interval(t: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
    """log q(t, h) and its derivative in t, accurate relative to q at any distance and for any width.

    Args:
        t: position relative to the middle of the stretch, in units of sigma, any shape, finite.
        h: half of the stretch's length, in units of sigma, > 0, of a shape that broadcasts to that of `t`.

    Returns:
        log q and d log q / dt, both of the shape of `t`; both can be differentiated again.
    """
    given, wide = t.dtype, torch.promote_types(t.dtype, torch.float32)  # erfcx knows no half precision
    t, h = t.to(wide), h.to(wide)
    # Not abs and sign: at t = 0 their derivatives are 0, and those of an even function's pieces are not.
    side = torch.where(t < 0, -1.0, 1.0).to(t)
    shape, h = t.shape, h.expand_as(t).flatten()
    t = (side * t).flatten()
    short = 2 * h * (t + 1) < _SHORT_BELOW
    inside = ~short & (t <= h)
    log_q, ratio = torch.empty_like(t), torch.empty_like(t)  # ratio = phi(u) / q
    for here, regime in ((short, _short), (inside, _inside), (~short & ~inside, _outside)):
        places = here.nonzero().squeeze(1)
        if len(places):
            values = regime(t.index_select(0, places), h.index_select(0, places))
            log_q, ratio = (
                whole.index_copy(0, places, part) for whole, part in zip((log_q, ratio), values, strict=True)
            )
    slope = side * (ratio * torch.expm1(-2 * h * t)).reshape(shape)
    return log_q.reshape(shape).to(given), slope.to(given)


def _inside(t: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
    log_q = ((torch.erf((h + t) / _ROOT_TWO) + torch.erf((h - t) / _ROOT_TWO)) / 2).log()
    return log_q, (-((t - h) ** 2) / 2 - _LOG_ROOT_TWO_PI - log_q).exp()


def _outside(t: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
    u = t - h
    near = torch.special.erfcx(u / _ROOT_TWO)
    far = torch.exp(-2 * h * t) * torch.special.erfcx((t + h) / _ROOT_TWO)
    return -(u**2) / 2 + ((near - far) / 2).log(), math.sqrt(2 / math.pi) / (near - far)


def _short(t: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
    integral = sum(
        w * torch.exp(-h * (y + 1) * (2 * t + h * (y - 1)) / 2) for y, w in zip(_NODES, _WEIGHTS, strict=True)
    )
    return -((t - h) ** 2) / 2 - _LOG_ROOT_TWO_PI + (h * integral).log(), 1 / (h * integral)
