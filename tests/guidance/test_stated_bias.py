"""The table in `ncsn_pipeline.guidance.posterior`: measured again, row by row, on Gaussian data with exact scores."""

import math
import sys
from collections import deque

import pytest
import torch

import ncsn_pipeline.guidance.posterior  # noqa: F401, the function of that name hides it
from ncsn_pipeline import AnnealedLangevinScheduler, ConsistentAnnealedScheduler
from ncsn_pipeline.guidance import posterior
from ncsn_pipeline.sampling import follow
from ncsn_pipeline.sampling.particles import TwistedSteps
from ncsn_pipeline.sampling.posterior import with_v_noise
from tests.known_posteriors import HeunSteps, gaussian, random_matrix, run, stated

LEVELS = torch.logspace(math.log10(15), math.log10(0.005), 50).double().tolist()
ANCESTRAL = ConsistentAnnealedScheduler(sigmas=LEVELS).table
NOISE_STD = 0.1


def seeded(seed):
    return torch.Generator().manual_seed(seed)


def step_length(sigma):
    """a of the ancestral row at this level."""
    return min(ANCESTRAL, key=lambda row: abs(row.sigma - sigma)).a


def error_of(known):
    """r²(sigma) of a Gaussian."""
    variances = torch.linalg.eigvalsh(known.density.covariances[0])
    return lambda sigma: float((sigma**2 * variances / (sigma**2 + variances)).mean())


def followed(method, steps, **settings):
    """The bias of 2,000 samples by a method and a sampler's steps."""

    def bias(known):
        error = error_of(known)
        chosen = settings | ({"denoiser_error": error} if method in ("pigdm", "mmps") else {})
        score = posterior(known.y[None], known.operator, NOISE_STD, method, shape=(8,), **chosen)(known.score)
        z = torch.randn(2000, 8, generator=seeded(9), dtype=torch.float64)
        return known.bias(run(score, steps(error), z, seeded(5), start=method != "dps"))

    return bias


def twisted(known):
    """That of 32 runs of 64 particles."""
    steps = TwistedSteps(known.y.expand(32, -1), known.operator, NOISE_STD, ANCESTRAL, 64, None)
    score, generator = steps.given(known.score), seeded(5)
    states = follow(score, steps.start(score, generator), steps, generator)
    return known.bias(steps.draw(deque(states, maxlen=1)[0].sample, 64, generator))


def langevin(error):
    return AnnealedLangevinScheduler(sigmas=LEVELS[::2], steps_per_level=8).table


def heun(error):
    return HeunSteps(LEVELS)


def v_noise(error):
    return with_v_noise(ANCESTRAL, error)


ROWS = {
    "annealed, Heun": followed("annealed", heun),
    "annealed, 8 Langevin steps": followed("annealed", langevin),
    "dps, zeta = 0.1, ancestral": followed("dps", lambda error: ANCESTRAL, scale=0.1, step=step_length),
    "dps, zeta = 0.5, ancestral": followed("dps", lambda error: ANCESTRAL, scale=0.5, step=step_length),
    "pigdm, Heun": followed("pigdm", heun),
    "pigdm, ancestral with V noise": followed("pigdm", v_noise),
    "mmps, Heun": followed("mmps", heun, iterations=3),
    "mmps, ancestral with V noise": followed("mmps", v_noise, iterations=3),
    "twisted particles, ancestral": twisted,
}


def test_every_row_is_measured():
    assert list(stated(sys.modules["ncsn_pipeline.guidance.posterior"].__doc__)) == list(ROWS)


SECONDS = ("annealed, Heun", "pigdm, ancestral with V noise")  # the others take longer


@pytest.mark.fixed_seed
@pytest.mark.parametrize(
    "name", [name if name in SECONDS else pytest.param(name, marks=pytest.mark.check) for name in ROWS]
)
def test_a_row_is_what_is_measured(name):
    """The worst of two problems, for deviations from 1 to 0.5 and from 1 to 0.1, to the second digit."""
    found = []
    for low in (0.5, 0.1):
        biases = [ROWS[name](gaussian(random_matrix(3, 8, seed), NOISE_STD, low, seed)) for seed in (0, 1)]
        found += [max(bias[part] for bias in biases) for part in (0, 1)]
    expected = stated(sys.modules["ncsn_pipeline.guidance.posterior"].__doc__)[name]
    assert found == pytest.approx(expected, abs=0.015)
