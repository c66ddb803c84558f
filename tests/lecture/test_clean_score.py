"""Which score each loss is least at, by the exact scores themselves."""

import torch

from ncsn_pipeline.lecture.single_level import three_bars
from ncsn_pipeline.score_matching import denoising_score_matching, sliced_score_matching


def test_each_loss_tells_the_two_exact_scores_apart_the_way_that_the_lecture_says():
    """Both losses of both scores on the same draws: the differences are far from 0 in standard errors."""
    density = three_bars()
    sigma = 0.2
    noised = density.noised(sigma)
    x = density.sample(20_000, generator=torch.Generator().manual_seed(0))
    losses = {
        "sliced": lambda score_fn: sliced_score_matching(score_fn, x, generator=torch.Generator().manual_seed(1)),
        "denoising": lambda score_fn: denoising_score_matching(
            score_fn, x, sigma, generator=torch.Generator().manual_seed(1)
        ),
    }
    for name, better, worse in (
        ("sliced", density.score, noised.score),
        ("denoising", noised.score, density.score),
    ):
        difference = (losses[name](worse) - losses[name](better)).detach().double()
        assert difference.mean() > 5 * difference.std() / len(x) ** 0.5, name
