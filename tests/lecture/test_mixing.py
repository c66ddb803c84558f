"""Chains that start in the modes: how many start where, and where both kinds end."""

import pytest
import torch

from ncsn_pipeline.diagnostics import mode_weights
from ncsn_pipeline.lecture.mixing import Params, run, start_in_modes
from ncsn_pipeline.lecture.toy import corner_mixture


@pytest.mark.parametrize("share", [0.2, 0.5, 0.77])
def test_a_start_has_its_share_exactly_and_the_spread_of_its_modes(share):
    density = corner_mixture(0.5)
    x = start_in_modes(density, share, 2000, torch.Generator().manual_seed(0))
    assert float(mode_weights(x, density.means).weights[0]) == round(share * 2000) / 2000
    spread = (x - density.means[(torch.arange(2000) >= round(share * 2000)).long()]).std()
    assert float(spread) == pytest.approx(0.5, abs=4 * 0.5 / 8000**0.5)


def test_plain_keeps_every_start_and_annealed_forgets_it():
    result = run(Params(num_particles=1000, num_steps=300))
    assert result.plain == [0.2, 0.5, 0.8] and result.plain_crossings == 0
    # 300 steps leave a bias of about -0.02.
    assert all(abs(share - 0.78) < 4 * result.standard_error for share in result.annealed)
    # Of those who start with share s and forget it, s (1 - 0.78) + (1 - s) 0.78 end in the other mode.
    expected = sum(s * 0.22 + (1 - s) * 0.78 for s in (0.2, 0.5, 0.8)) * 1000
    assert result.annealed_crossings == pytest.approx(expected, abs=4 * (3000 * 0.25) ** 0.5)
