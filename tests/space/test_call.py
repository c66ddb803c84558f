"""From settings to a call: the same ladder, the same cost, the same images as the program that the page shows."""

import threading

import numpy as np
import pytest
import torch

from ncsn_pipeline import AnnealedLangevinScheduler, NCSNPipeline, ScoreUNet
from ncsn_pipeline.samplers import SAMPLERS
from ncsn_pipeline.space.generate.call import call_arguments, ladder_of, pipeline_for, python_snippet, table_of
from ncsn_pipeline.space.generate.settings import check_generate
from ncsn_pipeline.space.runs.controls import ModelFacts
from ncsn_pipeline.space.runs.run import SamplingRun

GOOD = {"sampler": "consistent", "ladder": "geometric", "sigma_max": 5.5, "sigma_min": 1 / 30, "num_levels": 7}
GOOD |= {
    "steps_per_level": 3,
    "step_mode": "automatic",
    "step_fraction": 0.1,
    "noise_back": "ancestral",
    "eta": 0.95,
    "predictor": "reverse_diffusion",
    "corrector_steps": 1,
    "signal_to_noise": 0.16,
    "class_label": "each",
    "guidance_scale": 1,
}
GOOD |= {"num_images": 6, "seed": 5}
MODEL = ModelFacts(["zero", "one", "two"])


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    network = ScoreUNet(
        sample_size=8, block_out_channels=(8,), attention_levels=(), num_class_embeds=3, sigma_data=0.3, sigma_max=12
    )
    NCSNPipeline(network, AnnealedLangevinScheduler(sigma_max=12)).save_pretrained(path := tmp_path_factory.mktemp("m"))
    return path


def settings(**changed):
    return check_generate(GOOD | changed, MODEL)


def last_frame(pipeline, chosen):
    run = SamplingRun(pipeline_for(chosen, pipeline, MODEL), call_arguments(chosen, MODEL), threading.Event(), 100.0)
    return run, list(run.frames())[-1]


@pytest.mark.parametrize(
    "changed",
    [
        *({"sampler": name} for name in SAMPLERS),
        *({"sampler": name, "ladder": "karras"} for name in SAMPLERS),
        {"sampler": "annealed_langevin", "step_mode": "fraction", "step_fraction": 0.3, "ladder": "uniform"},
        {"noise_back": "ode"},
        {"noise_back": "eta"},
        {"sampler": "predictor_corrector", "predictor": "ancestral", "corrector_steps": 2, "signal_to_noise": 0.1},
        {"class_label": "drawn", "guidance_scale": 2.3},
        {"class_label": "2"},
        {"class_label": "none"},
    ],
)
def test_the_program_gives_the_images_of_the_page(folder, changed):
    chosen = settings(**changed)
    run, frame = last_frame(NCSNPipeline.from_pretrained(folder), chosen)
    names = {}
    exec(python_snippet(chosen, MODEL, str(folder)), names)
    images = np.stack([np.asarray(image)[..., None] for image in names["images"]])
    np.testing.assert_array_equal(images, np.round(255 * frame.samples).astype(np.uint8))
    assert frame.evaluation == frame.evaluations == chosen.evaluations == len(run.recording.sigmas)


@pytest.mark.parametrize("name", SAMPLERS)
@pytest.mark.parametrize("ladder", ["geometric", "karras"])
def test_the_ladder_that_is_shown_is_the_one_that_is_walked(folder, name, ladder):
    chosen = settings(sampler=name, ladder=ladder)
    run, _ = last_frame(NCSNPipeline.from_pretrained(folder), chosen)
    walked = list(dict.fromkeys(run.recording.sigmas))
    np.testing.assert_allclose(walked, ladder_of(chosen, MODEL), rtol=1e-4)


@torch.no_grad()
@pytest.mark.parametrize("name", ["consistent", "euler", "edm_euler"])
def test_a_step_follows_the_score_as_far_as_it_is_said_to(folder, name):
    """A step is x + alpha s; the noise of consistent sampling has no part along s, give or take 4 standard errors."""
    pipeline = NCSNPipeline.from_pretrained(folder)
    chosen = settings(sampler=name, class_label="none", num_levels=2)
    sampled = pipeline_for(chosen, pipeline, MODEL)
    steps = []

    def watch(pipeline, i, sigma, tensors):
        steps.append((float(sigma), *tensors.values()))
        pipeline.interrupt = True

    names = ("latents", "score", "denoised")
    sampled(
        **call_arguments(chosen, MODEL) | {"batch_size": 64},
        callback_on_step_end=watch,
        callback_on_step_end_tensor_inputs=names,
    )
    sigma, after, score, denoised = steps[0]
    moved = after - (denoised - sigma**2 * score)
    alpha = float((moved * score).sum() / score.square().sum())
    noise = ladder_of(chosen, MODEL)[1].item() if name == "consistent" else 1e-4
    error = 4 * noise / float(score.norm())
    assert abs(alpha - table_of(chosen, MODEL)[0].a) < error + 1e-3
