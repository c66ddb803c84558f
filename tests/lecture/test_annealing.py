"""The null of the annealed chain: plain Langevin dynamics from a uniform start."""

import torch

from ncsn_pipeline.lecture.annealing import Params, plain_weights
from ncsn_pipeline.lecture.toy import corner_mixture


def test_plain_chains_end_with_the_share_of_the_square_that_lies_on_the_mode_s_side():
    params = Params(budgets=(20, 100, 200))
    weights = plain_weights(corner_mixture().score, 2000, params, torch.Generator().manual_seed(0))
    assert len(weights) == 3
    # The line between the modes halves the square; the larger mode draws a little over it.
    assert all(abs(weight - 0.5) < 4 * (0.25 / 2000) ** 0.5 + 0.02 for weight in weights)
    assert abs(weights[2] - weights[1]) <= 0.002
