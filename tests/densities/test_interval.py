"""The noised stretch of mass, in each of its regimes and across their borders."""

import math

import numpy as np
import pytest
import torch
from scipy.special import erfcx, log_ndtr, logsumexp

from ncsn_pipeline.densities.interval import noised_interval

NODES, NODE_WEIGHTS = np.polynomial.legendre.leggauss(200)


def reference(t, h):
    """log q and its slope, relative to phi at the nearer end: by 200 positive terms, or where q has but one end."""
    side, t = math.copysign(1, t), abs(t)
    u = t - h
    log_phi = -0.5 * u**2 - 0.5 * math.log(2 * math.pi)
    if h * (t + h) < 40:
        log_terms = np.log(NODE_WEIGHTS * h) - h * (1 + NODES) * (2 * t + h * (NODES - 1)) / 2
        log_rest = logsumexp(log_terms)
        return log_phi + log_rest, -side * (np.exp(log_terms - log_rest) @ (t + h * NODES))
    one_end = log_ndtr(-u)
    if u < 0:
        log_q = one_end + math.log1p(-math.exp(log_ndtr(-t - h) - one_end))
        return log_q, -side * math.exp(log_phi - log_q) * -math.expm1(-2 * h * t)
    return one_end, -side * math.sqrt(2 / math.pi) / erfcx(u / math.sqrt(2))


@pytest.mark.parametrize("h", [1e-6, 1e-3, 0.02, 0.049, 0.051, 0.5, 3.0, 40.0, 1e3])
@pytest.mark.parametrize(("dtype", "rtol"), [(torch.float64, 1e-11), (torch.float32, 3e-5)])
def test_value_and_slope(h, dtype, rtol):
    t = torch.tensor([0.0, 1e-6, 0.03, 0.5, 0.99, 1.01, 2.0, 7.0, 30.0, 900.0, 1100.0, 1e4], dtype=dtype)
    t = torch.cat([-t, t])
    half = torch.tensor(h, dtype=dtype)
    log_q, slope = noised_interval(t, half)
    expected = torch.tensor([reference(value, half.item()) for value in t.tolist()], dtype=torch.float64)
    torch.testing.assert_close(log_q.double(), expected[:, 0], rtol=rtol, atol=rtol)
    torch.testing.assert_close(slope.double(), expected[:, 1], rtol=rtol, atol=1e-15)


@pytest.mark.parametrize("h", [1e-3, 0.3, 3.0, 40.0])
def test_slope_is_the_derivative(h):
    t = torch.cat([torch.linspace(-60, 60, 241), torch.tensor([h, -h])]).double().requires_grad_()
    log_q, slope = noised_interval(t, torch.tensor(h, dtype=torch.float64))
    (derivative,) = torch.autograd.grad(log_q.sum(), t)
    torch.testing.assert_close(slope.detach(), derivative, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("h", [1e-3, 0.3, 3.0])
def test_slope_can_be_differentiated_in_the_middle(h):
    """At t = 0, where the pieces of an even function meet, the slope's derivative is -2 h phi(h) / q."""
    t, half = torch.zeros(1, dtype=torch.float64, requires_grad=True), torch.tensor(h, dtype=torch.float64)
    (curvature,) = torch.autograd.grad(noised_interval(t, half)[1].sum(), t)
    phi = math.exp(-(h**2) / 2) / math.sqrt(2 * math.pi)
    assert curvature.item() == pytest.approx(-2 * h * phi / math.erf(h / math.sqrt(2)), rel=1e-12)
