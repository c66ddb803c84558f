"""Transforms of scores: what is added, and what a class adds."""

import math

import pytest
import torch

from ncsn_pipeline import GaussianMixture, exact_score_function
from ncsn_pipeline.guidance import added, classifier_free
from ncsn_pipeline.sampling import AnnealedLangevinScheduler, follow, last_sample


def test_the_gradient_of_a_posterior_is_that_of_prior_and_likelihood():
    """Gaussians multiply: N(0, 1 + sigma²) times N(x; 2, 1) at each sigma, sampled at one level."""
    prior = exact_score_function(GaussianMixture(torch.zeros(1, 1).double(), 1.0, torch.ones(1).double()))
    score = added(lambda x, sigma: 2 - x)(prior)
    sigma = torch.tensor(0.5).double()
    x = torch.randn(50, 1).double()
    precision = 1 / 1.25 + 1
    torch.testing.assert_close(score(x, sigma), -precision * (x - 2 / precision))


def test_the_weight_multiplies_what_is_added():
    score = added(lambda x, sigma: torch.ones_like(x), weight=-2.5)(lambda x, sigma: x)
    assert score(torch.ones(2, 3), torch.tensor(1.0)).unique().tolist() == [-1.5]


def test_samples_follow_the_sum():
    """N(0, 1) given a pull to 2 of precision 1: N(1, 1 / 2) as sigma goes to 0; rows a, b leave v (1 - a p)² + b²."""
    n, start = 20_000, torch.randn(20_000, 1).double() * 4
    prior = exact_score_function(GaussianMixture(torch.zeros(1, 1).double(), 1.0, torch.ones(1).double()))
    score = added(lambda x, sigma: (2 - x) / (1 + sigma**2 / (1 + sigma**2)))(prior)
    table = AnnealedLangevinScheduler(30, sigma_min=0.02, sigma_max=4.0, steps_per_level=10).table
    mean, variance = 0.0, 16.0
    for row in table:
        pull = 1 / (1 + row.sigma**2 / (1 + row.sigma**2))
        kept = 1 - row.a * (pull + 1 / (1 + row.sigma**2))
        mean, variance = kept * mean + 2 * row.a * pull, kept**2 * variance + row.b**2
    assert mean == pytest.approx(1, abs=0.02) and variance == pytest.approx(0.5, rel=0.12)
    x = last_sample(follow(score, start, table))
    assert abs(x.mean() - mean) < 5 * math.sqrt(variance / n)
    assert abs(x.var() - variance) < 5 * variance * math.sqrt(2 / n)


def test_bad_additions_are_refused():
    with pytest.raises(ValueError, match="finite; got nan"):
        added(torch.sin, weight=math.nan)
    score = added(lambda x, sigma: x.sum())(lambda x, sigma: x)
    with pytest.raises(ValueError, match=r"returned shape \(\) for samples \(2, 3\)"):
        score(torch.ones(2, 3), torch.tensor(1.0))


def labelled(x, sigma, class_labels):
    return x * 0 + class_labels.to(x.dtype).reshape(-1, 1)


@pytest.mark.parametrize(("scale", "expected"), [(None, 3.0), (1, 3.0), (0.0, 5.0), (2.0, 1.0), (lambda: 0.5, 4.0)])
def test_guidance_goes_from_the_null_class_towards_the_class(scale, expected):
    score = classifier_free(torch.tensor([3, 3]), 5, scale)(labelled)
    assert score(torch.zeros(2, 4), torch.tensor(1.0)).unique().tolist() == [expected]


def test_every_sample_may_have_a_sigma_of_its_own():
    score = classifier_free(torch.tensor([3, 3]), 5, 2.0)(lambda x, sigma, class_labels: x * sigma[:, None])
    assert score(torch.ones(2, 1), torch.tensor([1.0, 4.0])).flatten().tolist() == [1.0, 4.0]


def test_guidance_is_one_evaluation():
    calls = []

    def counted(x, sigma, class_labels):
        calls.append(class_labels.tolist())
        return labelled(x, sigma, class_labels)

    classifier_free(torch.tensor([1, 2]), 9, 1.5)(counted)(torch.zeros(2, 4), torch.tensor(1.0))
    assert calls == [[9, 9, 1, 2]]


def test_a_weight_for_each_sample_may_be_wider_than_the_samples():
    labels, x = torch.tensor([0, 1]), torch.ones(2, 3, dtype=torch.float16)
    transform = classifier_free(labels, null=2, scale=torch.tensor([[1.0], [3.0]]))
    guided = transform(lambda x, sigma, class_labels: x * class_labels[:, None].half())(x, torch.tensor(1.0))
    assert guided.dtype == torch.float16
    assert guided.tolist() == [[0.0] * 3, [-1.0] * 3]  # 2 + 1 (0 - 2) and 2 + 3 (1 - 2)
