"""From settings to a call: the same ladder, the same cost, the same images as the program that the page shows."""

import threading

import numpy as np
import pytest
import torch

from ncsn_pipeline import AnnealedLangevinScheduler, NCSNPipeline, ScoreUNet
from ncsn_pipeline.samplers import SAMPLERS
from ncsn_pipeline.space.generate.call import (
    call_arguments,
    ladder_of,
    pipeline_for,
    python_snippet,
    table_of,
    title_of,
)
from ncsn_pipeline.space.generate.controls import CONTROLS
from ncsn_pipeline.space.generate.settings import check_generate
from ncsn_pipeline.space.runs.controls import ModelFacts, defaults
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


@pytest.mark.parametrize(
    "changed, words",
    [
        ({}, ""),
        ({"guidance_scale": 4, "seed": 2_000_000_001}, ", Guidance = 4, Seed = 2000000001"),
        ({"class_label": "1"}, ", Class = one"),
        ({"noise_back": "ode"}, ", Noise put back after each step = None (ODE)"),
        ({"noise_back": "eta", "eta": 1}, ", Noise put back after each step = By η, η = 1"),
        ({"eta": 1, "corrector_steps": 3}, ""),  # neither has a meaning
    ],
)
def test_the_title_of_a_run_tells_it_from_another(changed, words):
    title = title_of(check_generate(defaults(CONTROLS, MODEL) | changed, MODEL), MODEL)
    assert title == "Consistent annealed, 50 levels, geometric, σ 12 → 0.01" + words


def test_the_title_of_a_model_of_few_evaluations_tells_what_it_takes():
    model = MODEL._replace(few_levels=(2.0, 0.7))
    chosen = check_generate(defaults(CONTROLS, model) | {"seed": 3, "guidance_scale": 2, "sampler": "heun"}, model)
    assert title_of(chosen, model) == "2 evaluations, σ 2, 0.7, Seed = 3"
