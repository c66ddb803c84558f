"""Sliced score matching: unbiased for the implicit loss, and how far its projections scatter."""

import itertools
import math

import pytest
import torch

from ncsn_pipeline.score_matching import draw_projections, implicit_score_matching, sliced_score_matching

DISTRIBUTIONS = ["rademacher", "gaussian", "sphere"]


def test_reference_values(reference):
    network, tensors = reference
    x, v = tensors["x"], tensors["vectors"]
    reduced = sliced_score_matching(network, x, projections=v).mean()
    torch.testing.assert_close(reduced, tensors["ssm_vr"], rtol=1e-5, atol=1e-5)
    unit = v / v.norm(dim=1, keepdim=True)
    plain = sliced_score_matching(network, x, projections=unit, variance_reduced=False).mean()
    torch.testing.assert_close(plain, tensors["ssm_unit_sphere"], rtol=1e-5, atol=1e-5)


def every_projection(distribution, dimension):
    """Points `(n, D)` whose plain mean has the distribution's moments up to the third: E over v without chance."""
    if distribution == "rademacher":  # the whole distribution
        return torch.tensor(list(itertools.product((-1.0, 1.0), repeat=dimension)), dtype=torch.float64)
    axes = math.sqrt(dimension) * torch.eye(dimension, dtype=torch.float64)  # a spherical 3-design
    return torch.cat([axes, -axes])


@pytest.mark.parametrize("variance_reduced", [True, False])
@pytest.mark.parametrize("distribution", ["rademacher", "sphere"])
def test_mean_over_all_projections_is_the_implicit_loss(distribution, variance_reduced, make_network, gradient_of):
    network, x = make_network(4), torch.randn(3, 4, dtype=torch.float64)
    v = every_projection(distribution, 4)[:, None, :].expand(-1, 3, -1)
    sliced = sliced_score_matching(network, x, projections=v, variance_reduced=variance_reduced)
    implicit = implicit_score_matching(network, x)
    torch.testing.assert_close(sliced, implicit, rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(
        gradient_of(sliced.sum(), network), gradient_of(implicit.sum(), network), rtol=1e-9, atol=1e-10
    )


@pytest.mark.parametrize("variance_reduced", [True, False])
@pytest.mark.parametrize("distribution", DISTRIBUTIONS)
def test_unbiased_with_drawn_projections(distribution, variance_reduced, make_network, gradient_of):
    """One sample, many projections: the mean within five standard errors, and so the gradient along one direction."""
    n = 20_000
    network, x = make_network(3), torch.randn(1, 3, dtype=torch.float64)
    options = {"distribution": distribution, "variance_reduced": variance_reduced}
    implicit = implicit_score_matching(network, x)
    losses = sliced_score_matching(network, x.expand(n, -1), **options)
    standard_error = losses.std().item() / math.sqrt(n)
    assert losses.std() > 1e-3
    assert losses.mean().item() == pytest.approx(implicit.item(), abs=5 * standard_error)

    exact = gradient_of(implicit.sum(), network)
    batch = x.expand(400, -1)
    parts = torch.stack(
        [gradient_of(sliced_score_matching(network, batch, **options).mean(), network) for _ in range(50)]
    )
    along = parts @ (exact / exact.norm())
    assert along.mean().item() == pytest.approx(exact.norm().item(), abs=5 * along.std().item() / math.sqrt(50))


@pytest.mark.parametrize("distribution", DISTRIBUTIONS)
def test_drawn_projections_have_the_moments_that_unbiasedness_needs(distribution):
    n, shape = 50_000, (2, 3)
    v = draw_projections(torch.zeros(2, *shape, dtype=torch.float64), n, distribution)
    assert v.shape == (n, 2, *shape)
    assert v.dtype == torch.float64
    v = v.flatten(2)
    for sample in (0, 1):
        products = v[:, sample, :, None] * v[:, sample, None, :]
        for values, expected in ((v[:, sample], torch.zeros(6)), (products, torch.eye(6)), (v[:, 0] * v[:, 1], 0.0)):
            standard_error = values.std(0) / math.sqrt(n)
            assert ((values.mean(0) - expected).abs() <= 5 * standard_error + 1e-12).all()
    if distribution == "rademacher":
        assert v.unique().tolist() == [-1, 1]
    if distribution == "sphere":
        torch.testing.assert_close(v.norm(dim=2), torch.full((n, 2), math.sqrt(6), dtype=torch.float64))


@pytest.mark.parametrize("distribution", DISTRIBUTIONS)
def test_variance_of_the_quadratic_form_is_the_closed_one(distribution):
    """For s = A x at x = 0 nothing but <v, A v> is left; A is not symmetric."""
    n, dimension = 100_000, 4
    a = torch.randn(dimension, dimension, dtype=torch.float64)
    symmetric = (a + a.T) / 2
    frobenius, trace = symmetric.square().sum().item(), a.trace().item()
    expected = {
        "rademacher": 2 * (frobenius - symmetric.diagonal().square().sum().item()),
        "gaussian": 2 * frobenius,
        "sphere": 2 * dimension / (dimension + 2) * (frobenius - trace**2 / dimension),
    }[distribution]
    x = torch.zeros(n, dimension, dtype=torch.float64)
    squares = (sliced_score_matching(lambda x: x @ a.T, x, distribution=distribution) - trace) ** 2
    assert squares.mean().item() == pytest.approx(expected, abs=5 * squares.std().item() / math.sqrt(n))


@pytest.mark.parametrize("dimension", [1, 4, 16])
def test_variance_at_the_true_score_of_a_gaussian(dimension):
    """s = -x, N(0, I), Rademacher: var <v, s>²/2 = D²/2 for the plain form, var ||s||²/2 = D/2 for the reduced."""
    n = 100_000
    x = torch.randn(n, dimension, dtype=torch.float64)
    for variance_reduced, expected in ((True, dimension / 2), (False, dimension**2 / 2)):
        loss = sliced_score_matching(lambda x: -x, x, variance_reduced=variance_reduced)
        squares = (loss + dimension / 2) ** 2  # the mean of both is -D/2
        assert squares.mean().item() == pytest.approx(expected, abs=5 * squares.std().item() / math.sqrt(n))


def test_more_projections_are_averaged(make_network):
    network, x = make_network(3), torch.randn(5, 3, dtype=torch.float64)
    v = draw_projections(x, 4, "gaussian")
    for variance_reduced in (True, False):
        one_by_one = [sliced_score_matching(network, x, projections=w, variance_reduced=variance_reduced) for w in v]
        at_once = sliced_score_matching(network, x, projections=v, variance_reduced=variance_reduced)
        torch.testing.assert_close(at_once, torch.stack(one_by_one).mean(0), rtol=1e-12, atol=1e-12)


def test_given_projections_are_used_as_they_are():
    """Twice as long a v: four times both of its terms."""
    x, v = torch.randn(2, 5, 2, 3, dtype=torch.float64)
    once = sliced_score_matching(lambda x: -x, x, projections=v, variance_reduced=False)
    expected = 0.5 * (v * x).flatten(1).sum(1) ** 2 - v.square().flatten(1).sum(1)
    torch.testing.assert_close(once, expected)
    twice = sliced_score_matching(lambda x: -x, x, projections=2 * v, variance_reduced=False)
    torch.testing.assert_close(twice, 4 * once)


@pytest.mark.parametrize("distribution", DISTRIBUTIONS)
def test_generator_decides_the_projections(distribution):
    x = torch.randn(4, 1, 2, 2)
    one, two, other = (
        sliced_score_matching(
            lambda x: x.roll(1, -1) ** 2,
            x,
            distribution=distribution,
            num_projections=3,
            generator=torch.Generator().manual_seed(seed),
        )
        for seed in (1, 1, 2)
    )
    assert torch.equal(one, two)
    assert not torch.equal(one, other)


def test_values_of_a_sample_do_not_depend_on_its_batch(make_network):
    network, x = make_network(3), torch.randn(5, 3, dtype=torch.float64)
    v = draw_projections(x, 2)
    together = sliced_score_matching(network, x, projections=v)
    alone = [sliced_score_matching(network, x[i : i + 1], projections=v[:, i : i + 1]) for i in range(5)]
    torch.testing.assert_close(together, torch.cat(alone), rtol=1e-12, atol=1e-12)


def test_bad_input_is_refused():
    x, score = torch.randn(4, 3), lambda x: -x
    for shape in [(4, 2), (3,), (0, 4, 3), (2, 3, 3), (1, 2, 4, 3)]:
        with pytest.raises(ValueError, match=r"projections must have the shape of x, \(4, 3\)"):
            sliced_score_matching(score, x, projections=torch.ones(shape))
    for num_projections in (0, 1.5, True):
        with pytest.raises(ValueError, match="num_projections must be an integer of at least 1"):
            sliced_score_matching(score, x, num_projections=num_projections)
    with pytest.raises(ValueError, match="one of rademacher, gaussian, sphere; got 'normal'"):
        sliced_score_matching(score, x, distribution="normal")
    with pytest.raises(ValueError, match=r"\(4, 3\); got \(4, 1\)"):
        sliced_score_matching(lambda x: x[:, :1], x)
    with pytest.raises(ValueError, match="does not depend on x"):
        sliced_score_matching(lambda x: -x.detach(), x, num_projections=2)
