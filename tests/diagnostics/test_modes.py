"""Weights and variances of modes: counted right, with standard errors that hold."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ncsn_pipeline.diagnostics import mode_variances, mode_weights, nearest_mode

MEANS = torch.tensor([[5.0, 5.0], [-5.0, -5.0]], dtype=torch.float64)
SPREAD = torch.tensor([1.0, 0.5], dtype=torch.float64)


def two_modes(n):
    mode = (torch.rand(n, dtype=torch.float64) > 0.8).long()
    return MEANS[mode] + SPREAD[mode][:, None] * torch.randn(n, 2, dtype=torch.float64)


def test_weights_are_shares():
    x = torch.tensor([[4.0, 4.0], [6.0, 5.0], [-1.0, -1.0], [0.1, 0.0]])
    weights = mode_weights(x, MEANS)
    assert weights.weights.tolist() == [0.75, 0.25]
    assert weights.standard_errors.tolist() == pytest.approx([math.sqrt(0.1875 / 4)] * 2)


def test_variance_and_its_standard_error_by_hand():
    """Mean squares of four points 2, 1, 1, 2: their sum over n - 1 = 3, their deviation 1 / sqrt(3) by sqrt(4) / 3."""
    x = torch.tensor([[2.0, 0.0], [-1.0, 1.0], [1.0, -1.0], [-2.0, 0.0]]) + torch.tensor([7.0, 4.0])
    found = mode_variances(x, torch.tensor([[7.0, 4.0], [-7.0, -4.0]]))
    assert found.variances[0].item() == pytest.approx(2, rel=1e-12)
    assert found.standard_errors[0].item() == pytest.approx(2 / 3 / math.sqrt(3), rel=1e-12)


def test_weights_and_their_errors_on_a_mixture():
    repeats = [mode_weights(two_modes(500), MEANS) for _ in range(400)]
    found = torch.stack([repeat.weights[0] for repeat in repeats])
    claimed = torch.stack([repeat.standard_errors[0] for repeat in repeats]).mean()
    assert found.mean().item() == pytest.approx(0.8, abs=5 * math.sqrt(0.16 / 500 / 400))
    assert found.std().item() == pytest.approx(claimed.item(), rel=5 / math.sqrt(2 * 400))


def test_variances_and_their_errors_on_a_mixture():
    repeats = [mode_variances(two_modes(500), MEANS) for _ in range(400)]
    found = torch.stack([repeat.variances for repeat in repeats])
    claimed = torch.stack([repeat.standard_errors for repeat in repeats]).mean(0)
    for k in range(2):
        assert found[:, k].mean().item() == pytest.approx(SPREAD[k].item() ** 2, abs=5 * found[:, k].std().item() / 20)
        assert found[:, k].std().item() == pytest.approx(claimed[k].item(), rel=5 / math.sqrt(2 * 400))


@settings(deadline=None, max_examples=25, derandomize=True)
@given(seed=st.integers(0, 2**31), modes=st.integers(1, 5))
def test_order_of_modes_and_place_of_the_origin_do_not_matter(seed, modes):
    generator = torch.Generator().manual_seed(seed)
    x, means = (torch.randn(n, 3, generator=generator, dtype=torch.float64) for n in (60, modes))
    order = torch.randperm(modes, generator=generator)
    shift = 10 * torch.randn(3, generator=generator, dtype=torch.float64)
    weights = mode_weights(x, means).weights
    assert weights.sum().item() == pytest.approx(1, abs=1e-12)
    assert torch.equal(mode_weights(x + shift, means[order] + shift).weights, weights[order])
    torch.testing.assert_close(
        mode_variances(x + shift, means[order] + shift).variances,
        mode_variances(x, means).variances[order],
        equal_nan=True,
    )


def test_a_mode_without_samples_has_weight_zero_and_no_variance():
    x = MEANS[:1] + torch.randn(10, 2, dtype=torch.float64)
    assert mode_weights(x, MEANS).weights.tolist() == [1, 0]
    variances = mode_variances(x, MEANS)
    assert variances.counts.tolist() == [10, 0]
    assert variances.variances[0].item() == pytest.approx(x.var(0).mean().item(), rel=1e-12)
    assert variances.variances[1].isnan() and variances.standard_errors[1].isnan()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_far_from_the_origin_the_nearest_mean_is_still_found(dtype):
    means = torch.tensor([[1e4, 0.0], [1e4 + 0.1, 0.0]], dtype=dtype)
    assert nearest_mode(means + 0.01, means).tolist() == [0, 1]


@pytest.mark.parametrize(
    "x", [torch.zeros(3), torch.zeros(3, 1), torch.zeros(0, 2), torch.full((1, 2), math.nan), torch.zeros(1, 2, 2)]
)
def test_bad_input_is_refused(x):
    with pytest.raises(ValueError, match="x must"):
        mode_weights(x, MEANS)


def test_two_samples_have_no_standard_error_and_means_must_be_finite():
    found = mode_variances(torch.tensor([[0.0], [1.0]]), torch.zeros(1, 1))
    assert found.variances.item() == 0.5
    assert found.standard_errors.isnan().all()
    with pytest.raises(ValueError, match="means must be finite"):
        mode_weights(torch.zeros(3, 1), torch.tensor([[0.0], [math.nan]]))
