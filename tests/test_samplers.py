"""Every sampler has a name that commands take, and starts from a model's own noise levels."""

import argparse

import pytest
import torch

from ncsn_pipeline import ConsistentAnnealedScheduler, NCSNPipeline, ScoreUNet
from ncsn_pipeline.pipelines import pipeline_ncsn
from ncsn_pipeline.samplers import SAMPLERS, sampler_for, sampler_name

SOLVERS = {name: sampler.scheduler for name, sampler in SAMPLERS.items() if sampler.is_solver}


def test_the_names_are_those_of_all_that_the_pipeline_accepts():
    assert set(SOLVERS.values()) == set(pipeline_ncsn._SOLVERS)
    from ncsn_pipeline.sampling import scheduling_annealed

    ours = {name for name in vars(scheduling_annealed) if name.endswith("Scheduler") and not name.startswith("_")}
    assert {sampler.scheduler for sampler in SAMPLERS.values()} - set(SOLVERS.values()) == ours - {"AnnealedScheduler"}


@pytest.mark.parametrize("name", SAMPLERS)
def test_each_draws_from_the_models_levels_or_from_its_own_start(name):
    torch.manual_seed(3)
    network = ScoreUNet(8, 1, (8, 16), sigma_data=0.4, sigma_max=5.0)
    pipe = NCSNPipeline(network, ConsistentAnnealedScheduler(sigmas=[4.0, 2.0, 1.0, 0.5]))
    pipe.set_progress_bar_config(disable=True)
    own = pipe.scheduler
    for sigma_max in (None, 3.0):
        pipe.scheduler = sampler_for(own, sampler_name(name), sigma_max)
        assert type(pipe.scheduler) is SAMPLERS[name].scheduler_class
        images = pipe(2, torch.Generator().manual_seed(0), 6, output_type="raw").images
        assert images.isfinite().all()
        sigmas = pipe.scheduler.sigmas if name in SOLVERS else pipe.scheduler.timesteps
        assert float(sigmas[0]) == pytest.approx(sigma_max or 4.0, rel=1e-5)
        if name in ("heun", "euler", "dpm", "deis", "unipc"):  # spaced as the model's levels are
            levels = sigmas[sigmas > 0].double().unique()
            assert (levels[1:] / levels[:-1]).std() < 1e-4


def test_names_are_spelled_as_they_come_and_others_are_refused():
    assert sampler_name("predictor-corrector") == sampler_name("PredictorCorrectorScheduler") == "predictor_corrector"
    assert sampler_name("langevin") == "annealed_langevin" and sampler_name("default") == "default"
    with pytest.raises(argparse.ArgumentTypeError, match="unknown sampler 'ddim'; there are: default, consistent"):
        sampler_name("ddim")
