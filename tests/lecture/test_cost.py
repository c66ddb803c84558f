"""Operations against their formulas; times by whose turn it is."""

import pytest
import torch

from ncsn_pipeline.lecture.cost import count_operations, median_cpu_seconds, training_step
from ncsn_pipeline.lecture.free_field import new_field, score_of
from ncsn_pipeline.score_matching import explicit_score_matching, implicit_score_matching, sliced_score_matching

BATCH, D, H = 32, 8, 16


def test_a_matrix_product_takes_two_operations_an_entry():
    a, b = torch.randn(3, 4), torch.randn(4, 5)
    assert count_operations(lambda: a @ b) == 2 * 3 * 4 * 5
    assert count_operations(lambda: a + a) == 0


def test_a_step_of_each_loss():
    """Of n weights, n_1 in the first layer: n forward, n for the weights' gradients, n - n_1 for the activations'.

    A derivative of s along one direction takes n more, and what differentiates it 2 n; a trace takes D of them.
    """
    generator = torch.Generator().manual_seed(0)
    network = new_field(D, hidden_features=H, generator=generator)
    score_fn, x = score_of(network), torch.randn(BATCH, D, generator=generator)
    n, n_1 = 2 * D * H + 2 * H * H, D * H
    explicit = training_step(network, lambda: explicit_score_matching(score_fn, x, -x))
    assert count_operations(explicit) == 2 * BATCH * (3 * n - n_1)
    sliced = training_step(network, lambda: sliced_score_matching(score_fn, x, generator=generator))
    assert count_operations(sliced) == 2 * BATCH * (6 * n - n_1)
    implicit = training_step(network, lambda: implicit_score_matching(score_fn, x))
    assert count_operations(implicit) == pytest.approx((D + 1) * count_operations(explicit), rel=0.02)
    assert all(parameter.grad.abs().sum() > 0 for parameter in network.parameters())


def test_steps_take_turns():
    turns = []
    steps = {name: lambda name=name: turns.append(name) for name in "ab"}
    seconds = median_cpu_seconds(steps, 3)
    assert turns == list("ab" * 4)  # the first two to warm up
    assert seconds.keys() == set("ab") and all(value >= 0 for value in seconds.values())


def test_weights_follow_from_the_generator_and_leave_the_global_one_alone():
    torch.manual_seed(5)
    state = torch.get_rng_state()
    first, again = (
        new_field(D, hidden_features=H, generator=torch.Generator().manual_seed(seed)).out.weight for seed in (0, 0)
    )
    other = new_field(D, hidden_features=H, generator=torch.Generator().manual_seed(1)).out.weight
    assert first.equal(again) and not first.equal(other)
    assert torch.get_rng_state().equal(state)
