"""The Fisher divergence with and without the true score: one constant apart, with the same gradient."""

import pytest
import torch
from torch import nn

from ncsn_pipeline import ScoreUNet
from ncsn_pipeline.score_matching import (
    explicit_score_matching,
    finite_difference_score_matching,
    implicit_score_matching,
)


def exact_loss(score_fn, x):
    """1/2 ||s||² + tr(ds/dx) from the whole Jacobian, one sample at a time."""
    losses = []
    for i in range(len(x)):
        jacobian = torch.autograd.functional.jacobian(lambda y: score_fn(y[None]).flatten(), x[i])
        score = score_fn(x[i : i + 1])
        losses.append(0.5 * score.square().sum() + jacobian.reshape(x[i].numel(), -1).trace())
    return torch.stack(losses).detach()


def test_reference_value(reference):
    network, tensors = reference
    loss = implicit_score_matching(network, tensors["x"]).mean()
    torch.testing.assert_close(loss, tensors["exact"], rtol=1e-5, atol=1e-5)


def test_differs_from_the_divergence_by_the_constant_with_the_same_gradient(
    mixture, quadrature, make_network, gradient_of
):
    """Hyvärinen's theorem by quadrature, for two networks, to its 1e-7: the constant knows nothing of them."""
    x, weights = quadrature()
    constant = 0.5 * weights @ mixture.score(x).square().sum(1)
    for _ in range(2):
        network = make_network(2)
        implicit = weights @ implicit_score_matching(network, x)
        explicit = weights @ explicit_score_matching(network, x, mixture.score)
        torch.testing.assert_close(explicit - implicit, constant, rtol=1e-6, atol=0)
        torch.testing.assert_close(gradient_of(implicit, network), gradient_of(explicit, network), rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("dimension", [1, 2, 5])
def test_gaussian_in_closed_form(dimension):
    """For s = -c x and N(0, I): E implicit = D (c²/2 - c), E explicit = D (c - 1)² / 2, least at c = 1."""
    n = 100_000
    x = torch.randn(n, dimension, dtype=torch.float64)
    for c in (0.5, 1.0, 1.5):
        for loss, expected in (
            (implicit_score_matching(lambda x, c=c: -c * x, x), dimension * (c**2 / 2 - c)),
            (explicit_score_matching(lambda x, c=c: -c * x, x, -x), dimension * (c - 1) ** 2 / 2),
        ):
            standard_error = (loss.std() / n**0.5).item()
            assert loss.mean().item() == pytest.approx(expected, abs=5 * standard_error + 1e-12)


def test_explicit_takes_values_or_a_function_and_vanishes_at_the_truth(mixture):
    x = mixture.sample(20)
    score = lambda x: torch.sin(x)  # noqa: E731
    given = explicit_score_matching(score, x, mixture.score(x))
    torch.testing.assert_close(given, 0.5 * (torch.sin(x) - mixture.score(x)).square().sum(1))
    assert torch.equal(given, explicit_score_matching(score, x, mixture.score))
    assert explicit_score_matching(mixture.score, x, mixture.score).max() == 0


@pytest.mark.parametrize("shape", [(1,), (7,), (2, 3), (1, 3, 4)])
def test_any_shape_against_the_whole_jacobian(shape):
    network = nn.Sequential(nn.Flatten(), nn.Linear(12, 12), nn.Tanh(), nn.Linear(12, 12)).double()
    size = torch.Size(shape).numel()
    pad = lambda x: nn.functional.pad(x.flatten(1), (0, 12 - size))  # noqa: E731
    score = lambda x: network(pad(x))[:, :size].reshape(x.shape)  # noqa: E731
    x = torch.randn(4, *shape, dtype=torch.float64)
    torch.testing.assert_close(implicit_score_matching(score, x).detach(), exact_loss(score, x))


def test_chunk_size_changes_neither_value_nor_gradient(make_network, gradient_of):
    network, x = make_network(7), torch.randn(6, 7, dtype=torch.float64)
    expected = implicit_score_matching(network, x)
    slope = gradient_of(expected.sum(), network)
    for chunk_size in (1, 2, 3, 7, 100):
        loss = implicit_score_matching(network, x, chunk_size=chunk_size)
        torch.testing.assert_close(loss, expected, rtol=1e-12, atol=1e-12)
        torch.testing.assert_close(gradient_of(loss.sum(), network), slope, rtol=1e-10, atol=1e-12)


def test_gradient_in_the_parameters_is_the_slope_of_the_loss(make_network, gradient_of):
    network, x = make_network(3), torch.randn(5, 3, dtype=torch.float64)
    slope = gradient_of(implicit_score_matching(network, x).sum(), network)
    direction = torch.randn_like(slope)
    start, h = nn.utils.parameters_to_vector(network.parameters()).detach(), 1e-5
    values = []
    for step in (h, -h):
        nn.utils.vector_to_parameters(start + step * direction, network.parameters())
        values.append(implicit_score_matching(network, x).sum().item())
    assert (slope @ direction).item() == pytest.approx((values[0] - values[1]) / (2 * h), rel=1e-7)


def test_a_network_of_images_with_group_normalisation_and_attention(gradient_of):
    """Neither vectorises its second derivative: checked against central differences along every axis."""
    unet = ScoreUNet(sample_size=8, block_out_channels=(8, 16), norm_num_groups=4, attention_head_dim=8).double()
    for parameter in unet.parameters():
        nn.init.normal_(parameter, std=0.1)
    score = lambda x: unet(x, torch.tensor(0.5), return_dict=False)[0]  # noqa: E731
    x = torch.rand(2, 1, 4, 4, dtype=torch.float64)
    h = 1e-4
    axes = torch.eye(16, dtype=x.dtype).reshape(16, 1, 1, 4, 4).expand(16, *x.shape)
    with torch.no_grad():
        square = 0.5 * score(x).square().flatten(1).sum(1)
        trace = sum(((score(x + h * e) - score(x - h * e)) * e).flatten(1).sum(1) / (2 * h) for e in axes)
    loss = implicit_score_matching(score, x)
    torch.testing.assert_close(loss.detach(), square + trace, rtol=1e-6, atol=1e-6)
    one_by_one = implicit_score_matching(score, x, chunk_size=1)
    torch.testing.assert_close(loss, one_by_one, rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(gradient_of(loss.sum(), unet), gradient_of(one_by_one.sum(), unet))


def test_values_of_a_sample_do_not_depend_on_its_batch(make_network):
    network, x = make_network(3), torch.randn(5, 3, dtype=torch.float64)
    together = implicit_score_matching(network, x)
    alone = torch.cat([implicit_score_matching(network, x[i : i + 1]) for i in range(5)])
    torch.testing.assert_close(together, alone, rtol=1e-12, atol=1e-12)
    assert implicit_score_matching(network, x[:0]).shape == (0,)


def test_gradients_switched_off_or_wanted_in_x(make_network):
    network, x = make_network(3), torch.randn(5, 3, dtype=torch.float64)
    expected = implicit_score_matching(network, x)
    assert expected.requires_grad and not x.requires_grad
    with torch.no_grad():
        loss = implicit_score_matching(network, x)
    assert not loss.requires_grad
    assert torch.equal(loss, expected.detach())
    x.requires_grad_()
    implicit_score_matching(lambda x: x**3, x).sum().backward()
    torch.testing.assert_close(x.grad, (3 * x**5 + 6 * x).detach())  # of x⁶ / 2 + 3 x²


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_dtype_is_that_of_the_samples(dtype):
    x = torch.randn(4, 3).to(dtype)
    assert implicit_score_matching(lambda x: -x, x).dtype == dtype
    assert explicit_score_matching(lambda x: -x, x, x).dtype == dtype


@pytest.mark.parametrize(
    "loss", [implicit_score_matching, lambda s, x: finite_difference_score_matching(s, x, epsilon=0.1)]
)
def test_scores_and_samples_of_a_wrong_shape_are_refused(loss):
    x = torch.randn(4, 3)
    for score in (lambda x: x[:, :1], lambda x: x.sum(1), lambda x: x[None]):
        with pytest.raises(ValueError, match=r"score that score_fn returns .* \(4, 3\); got"):
            loss(score, x)
    for samples in (torch.randn(4), torch.tensor(1.0), torch.ones(4, 3, dtype=torch.long), torch.ones(4, 0)):
        with pytest.raises(ValueError, match=r"\(B, \*D\); got"):
            loss(lambda x: -x, samples)


def test_bad_input_is_refused():
    x = torch.randn(4, 3)
    with pytest.raises(ValueError, match=r"true_score must have the shape of x, \(4, 3\); got \(4, 1\)"):
        explicit_score_matching(lambda x: -x, x, torch.zeros(4, 1))
    for chunk_size in (0, -1, 1.5, True):
        with pytest.raises(ValueError, match="chunk_size must be an integer of at least 1"):
            implicit_score_matching(lambda x: -x, x, chunk_size=chunk_size)
    parameter = torch.randn(3, requires_grad=True)
    for without_derivative in (torch.zeros_like, lambda x: -x.detach(), lambda x: parameter * x.detach()):
        with pytest.raises(ValueError, match="does not depend on x by differentiable operations"):
            implicit_score_matching(without_derivative, x)
