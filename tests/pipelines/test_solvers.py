"""Schedulers of diffusers on a score network: the right density, the right number of evaluations, or a refusal."""

import json
import math

import diffusers
import pytest
import torch
from diffusers import ConfigMixin, DiffusionPipeline, ModelMixin
from diffusers.configuration_utils import register_to_config

from ncsn_pipeline import (
    AnnealedLangevinScheduler,
    ConsistentAnnealedScheduler,
    NCSNPipeline,
    PredictorCorrectorScheduler,
    ScoreUNet,
)

SIGMA_MAX, SIGMA_MIN = 10.0, 0.01
KARRAS, EXPONENTIAL = {"use_karras_sigmas": True}, {"use_exponential_sigmas": True}
EDM = ("EDMEulerScheduler", "EDMDPMSolverMultistepScheduler")
OTHERS = (
    "EulerDiscreteScheduler",
    "HeunDiscreteScheduler",
    "DPMSolverMultistepScheduler",
    "DEISMultistepScheduler",
    "UniPCMultistepScheduler",
)
SOLVERS = [
    *((name, settings) for name in EDM for settings in ({}, {"sigma_schedule": "exponential"})),
    *((name, settings) for name in OTHERS for settings in (KARRAS, EXPONENTIAL)),
]
STOCHASTIC = [
    ("EDMDPMSolverMultistepScheduler", {"algorithm_type": "sde-dpmsolver++"}),
    ("DPMSolverMultistepScheduler", KARRAS | {"algorithm_type": "sde-dpmsolver++"}),
]


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


class GaussianImages(ModelMixin, ConfigMixin):
    """The exact score of images whose pixels are N(mean + shift of the class, std²); the last class is the null one."""

    @register_to_config
    def __init__(self, sample_size=8, in_channels=1, mean=0.4, std=0.15, num_class_embeds=None, shift=0.2):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))
        self.evaluations = 0

    def forward(self, sample, timestep, class_labels=None, return_dict=True):
        self.evaluations += 1
        mean = self.config.mean
        if class_labels is not None:
            shifts = self.config.shift * class_labels * (class_labels < self.config.num_class_embeds)
            mean = mean + shifts.reshape(-1, 1, 1, 1)
        return ((mean - sample) / (timestep**2 + self.config.std**2),)


def gaussian_pipeline(data_min=0.0, data_max=1.0, **network):
    scheduler = ConsistentAnnealedScheduler(50, SIGMA_MIN, SIGMA_MAX)
    pipeline = NCSNPipeline(GaussianImages(**network), scheduler, data_min, data_max)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def swap(pipeline, name, **settings):
    pipeline.scheduler = getattr(diffusers, name).from_config(pipeline.scheduler.config, **settings)


def last_samples(pipeline, number, **arguments):
    """The samples in data units, before they are clipped to a picture's range."""
    seen = []
    pipeline(number, callback_on_step_end=lambda pipe, i, sigma, tensors: seen.append(tensors["latents"]), **arguments)
    return seen[-1].double()


def flow(latents, mean, std):
    """Where the probability flow of N(mean, std²) takes N(D(0), sigma_max²), drawn by `latents`: in closed form."""
    start = mean * SIGMA_MAX**2 / (SIGMA_MAX**2 + std**2) + SIGMA_MAX * latents.double()
    return mean + (start - mean) * std / math.hypot(SIGMA_MAX, std)


@pytest.mark.parametrize(("name", "settings"), SOLVERS)
def test_samples_follow_the_exact_flow(name, settings):
    pipeline = gaussian_pipeline()
    latents = torch.randn(64, 1, 8, 8, generator=seeded())
    swap(pipeline, name, **settings)
    errors = {}
    for steps in (50, 100):
        samples = last_samples(pipeline, 64, latents=latents, num_inference_steps=steps)
        errors[steps] = (samples - flow(latents, 0.4, 0.15)).abs().max().item()
    if "Euler" in name:  # of first order: the error is halved
        assert errors[50] < 0.03
        assert 0.45 < errors[100] / errors[50] < 0.6
    else:
        assert errors[50] < 0.004
        assert errors[100] < 0.003
    # 4096 pixels from the flow of latents with their own sampling error
    assert abs(samples.mean() - 0.4) < 0.15 * 4 / 64
    assert abs(samples.std() / 0.15 - 1) < 5 / math.sqrt(2 * 4096) + (0.03 if "Euler" in name else 0.01)


def test_samples_keep_a_mean_that_is_as_large_as_the_noise():
    """Of avatars 1.7 sigma_1: a start around 0 would end as far off, in deviations of the data."""
    pipeline = gaussian_pipeline(mean=0.4, std=0.15)
    pipeline.scheduler = ConsistentAnnealedScheduler(50, SIGMA_MIN, 0.4)
    swap(pipeline, "EDMDPMSolverMultistepScheduler")
    samples = last_samples(pipeline, 64, generator=seeded(), num_inference_steps=50)
    short = 0.4 * 0.15**2 / (0.4**2 + 0.15**2)  # what D(0) lacks of the mean
    expected = 0.4 - short * 0.15 / math.hypot(0.4, 0.15)
    assert abs(samples.mean() - expected) < 0.15 * 5 / 64


@pytest.mark.parametrize(("name", "settings"), STOCHASTIC)
def test_stochastic_samples_have_the_right_mean_and_variance(name, settings):
    pipeline = gaussian_pipeline()
    swap(pipeline, name, **settings)
    draw = lambda seed: last_samples(pipeline, 256, generator=seeded(seed), num_inference_steps=100)  # noqa: E731
    samples = draw(0)
    assert abs(samples.mean() - 0.4) < 0.15 * 5 / math.sqrt(samples.numel())
    assert abs(samples.std() / 0.15 - 1) < 5 / math.sqrt(2 * samples.numel()) + 0.01
    assert torch.equal(samples, draw(0))
    assert not torch.equal(samples, draw(1))


@pytest.mark.parametrize("name", EDM + OTHERS)
@pytest.mark.parametrize("steps", [1, 2, 7, 50])
def test_number_of_network_evaluations(name, steps):
    pipeline = gaussian_pipeline()
    swap(pipeline, name, **({} if name in EDM else KARRAS))
    sigmas = []
    pipeline.unet.register_forward_pre_hook(lambda module, arguments: sigmas.append(arguments[1].item()))
    images = pipeline(2, generator=seeded(), num_inference_steps=steps, output_type="pt").images
    evaluations = 2 * steps - 1 if name == "HeunDiscreteScheduler" else steps
    assert pipeline.num_timesteps == evaluations
    assert len(sigmas) == 1 + evaluations  # the first for the start
    assert images.isfinite().all()
    assert sigmas[:2] == pytest.approx([SIGMA_MAX] * 2)
    assert steps == 1 or sigmas[-1] == pytest.approx(SIGMA_MIN)


def test_the_default_number_of_steps_is_the_ladders():
    pipeline = gaussian_pipeline()
    swap(pipeline, "EDMEulerScheduler")
    pipeline(1)
    assert pipeline.num_timesteps == 50


@pytest.mark.parametrize("name", EDM + OTHERS)
def test_guidance_and_the_range_of_the_data(name):
    """Guided by w between N(m, s²) and N(m + d, s²), the score is that of N(m + w d, s²)."""
    pipeline = gaussian_pipeline(-1.0, 1.0, mean=-0.3, std=0.15, num_class_embeds=3, shift=0.2)
    swap(pipeline, name, **({} if name in EDM else KARRAS))
    latents = torch.randn(4, 1, 8, 8, generator=seeded())
    arguments = {"latents": latents, "num_inference_steps": 100, "class_labels": [2, 2, 1, 0], "guidance_scale": 1.5}
    means = -0.3 + 1.5 * 0.2 * torch.tensor([2.0, 2, 1, 0]).reshape(-1, 1, 1, 1)
    expected = flow(latents, means, 0.15)
    samples = last_samples(pipeline, 4, **arguments)
    torch.testing.assert_close(samples, expected, rtol=0, atol=0.02 if "Euler" in name else 0.003)
    assert pipeline.unet.evaluations == 1 + pipeline.num_timesteps
    images = pipeline(4, output_type="pt", **arguments).images
    torch.testing.assert_close(images.double(), ((samples + 1) / 2).clamp(0, 1), rtol=0, atol=1e-6)


def test_one_generator_for_each_image():
    pipeline = gaussian_pipeline()
    swap(pipeline, "DPMSolverMultistepScheduler", algorithm_type="sde-dpmsolver++", **KARRAS)
    together = pipeline(2, generator=[seeded(3), seeded(4)], num_inference_steps=5, output_type="pt").images
    for i, seed in enumerate((3, 4)):
        alone = pipeline(1, generator=seeded(seed), num_inference_steps=5, output_type="pt").images
        torch.testing.assert_close(alone[0], together[i], rtol=0, atol=1e-5)


def test_a_uniform_start_is_the_annealed_samplers_alone():
    pipeline = gaussian_pipeline()
    pipeline.scheduler = AnnealedLangevinScheduler(5, SIGMA_MIN, SIGMA_MAX, initial="uniform")
    swap(pipeline, "EDMEulerScheduler")
    starts = []
    pipeline.unet.register_forward_pre_hook(lambda module, arguments: starts.append(arguments[0]))
    pipeline(100, num_inference_steps=1, generator=seeded())
    assert starts[1].std().item() == pytest.approx(SIGMA_MAX, rel=0.05)


@pytest.mark.parametrize(
    ("name", "settings", "message"),
    [
        ("EulerAncestralDiscreteScheduler", {}, "does not take scores.*EDMEulerScheduler, EDMDPMSolver"),
        ("LMSDiscreteScheduler", KARRAS, "does not take scores.*HeunDiscreteScheduler"),
        ("KDPM2DiscreteScheduler", KARRAS, "does not take scores.*UniPCMultistepScheduler"),
        ("DDIMScheduler", {}, "does not take scores.*ConsistentAnnealedScheduler"),
        ("ScoreSdeVeScheduler", {}, "does not take scores"),
        ("DDIMScheduler", {}, "ncsn_pipeline.pipelines.from_ddpm"),
        ("HeunDiscreteScheduler", {"use_beta_sigmas": True}, "use_beta_sigmas is True"),
        ("DPMSolverMultistepScheduler", {"use_lu_lambdas": True}, "use_lu_lambdas is True"),
        ("EulerDiscreteScheduler", KARRAS | {"final_sigmas_type": "sigma_min"}, "final_sigmas_type is 'sigma_min'"),
        ("HeunDiscreteScheduler", KARRAS | {"prediction_type": "v_prediction"}, "prediction_type is 'v_prediction'"),
        ("HeunDiscreteScheduler", KARRAS | {"clip_sample": True}, "clip_sample is True"),
        ("DPMSolverMultistepScheduler", KARRAS | {"thresholding": True}, "thresholding is True"),
        ("EulerDiscreteScheduler", KARRAS | {"sigma_max": None}, "sigma_min and sigma_max are 0.01 and None"),
        ("EDMEulerScheduler", {"sigma_max": 0.001}, "sigma_min and sigma_max are 0.01 and 0.001"),
    ],
)
def test_what_does_not_follow_a_score_is_refused_before_any_evaluation(name, settings, message):
    pipeline = gaussian_pipeline()
    swap(pipeline, name, **settings)
    with pytest.raises(ValueError, match=message):
        pipeline(1, num_inference_steps=4)
    assert pipeline.unet.evaluations == 0


@pytest.mark.parametrize("name", OTHERS)
def test_what_users_of_diffusers_write_follows_the_noise_schedule_and_says_so_once(name, logged):
    arguments = {"num_inference_steps": 6, "output_type": "pt"}
    asked, left = gaussian_pipeline(), gaussian_pipeline()
    swap(asked, name, **EXPONENTIAL)
    swap(left, name)
    with logged.at_level("WARNING"):
        pairs = [[pipe(2, generator=seeded(), **arguments).images for pipe in (asked, left)] for _ in range(2)]
    assert all(torch.equal(*pair) for pair in pairs)
    spacing = SIGMA_MAX * (SIGMA_MIN / SIGMA_MAX) ** torch.linspace(0, 1, 6)
    torch.testing.assert_close(left.scheduler.sigmas[left.scheduler.sigmas > 0].unique().flip(0), spacing)
    said = [record.getMessage() for record in logged.records]
    assert len(said) == 1 and "geometric noise levels from 10 to 0.01" in said[0]
    assert left.scheduler.config.use_exponential_sigmas


@pytest.mark.parametrize("name", EDM + OTHERS)
@pytest.mark.parametrize("ours", [ConsistentAnnealedScheduler, AnnealedLangevinScheduler, PredictorCorrectorScheduler])
def test_a_swap_warns_of_settings_that_were_made_and_of_no_others(ours, name, tmp_path, logged):
    ours(20, 0.01, 5.0).save_pretrained(tmp_path)  # a file names every setting, also those that were left alone
    pipeline = gaussian_pipeline()
    pipeline.scheduler = ours.from_pretrained(tmp_path)
    with logged.at_level("WARNING"):
        swap(pipeline, name)
        config = pipeline.scheduler.config
        assert (config.num_train_timesteps, config.sigma_min, config.sigma_max) == (20, 0.01, 5.0)
        pipeline.scheduler = ours.from_config(config)
    assert [record.getMessage() for record in logged.records] == []
    made = {"eta": "ode"} if ours is ConsistentAnnealedScheduler else {"denoise": False}
    pipeline.scheduler = ours(20, 0.01, 5.0, **made)
    with logged.at_level("WARNING"):
        swap(pipeline, name)
    assert [str(made) in record.getMessage() for record in logged.records] == [True]
    assert made.items() <= dict(ours.from_config(pipeline.scheduler.config).config).items()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"num_inference_steps": 0}, "at least 1"),
        ({"num_inference_steps": 2.5}, "whole number"),
        ({"sigmas": [3.0, 1.0]}, "EDMEulerScheduler lays its noise levels out by itself"),
    ],
)
def test_arguments_that_a_solver_cannot_take_are_refused(arguments, message):
    pipeline = gaussian_pipeline()
    swap(pipeline, "EDMEulerScheduler")
    with pytest.raises(ValueError, match=message):
        pipeline(1, **arguments)
    assert pipeline.unet.evaluations == 0


def test_a_ladder_that_does_not_start_at_sigma_max_is_refused():
    """EDM's exponential spacing puts a single step at sigma_min."""
    pipeline = gaussian_pipeline()
    swap(pipeline, "EDMEulerScheduler", sigma_schedule="exponential")
    with pytest.raises(ValueError, match="from 0.01, not from sigma_max = 10"):
        pipeline(1, num_inference_steps=1)


def test_samples_that_are_not_finite_are_an_error():
    pipeline = gaussian_pipeline(mean=math.inf)
    swap(pipeline, "HeunDiscreteScheduler", **KARRAS)
    with pytest.raises(FloatingPointError, match="HeunDiscreteScheduler are not finite"):
        pipeline(1, num_inference_steps=3)


def test_the_ladder_is_taken_over_whichever_way_it_was_given():
    pipeline = gaussian_pipeline()
    for ours in (AnnealedLangevinScheduler(), AnnealedLangevinScheduler(7, 0.02, 3.0), AnnealedLangevinScheduler(7)):
        expected = {key: ours.config[key] for key in ("num_train_timesteps", "sigma_min", "sigma_max")}
        for other in (diffusers.EDMEulerScheduler, diffusers.HeunDiscreteScheduler, ConsistentAnnealedScheduler):
            pipeline.scheduler = ours
            pipeline.scheduler = other.from_config(pipeline.scheduler.config)
            assert {key: pipeline.scheduler.config[key] for key in expected} == expected


@pytest.mark.parametrize("name", ["EDMEulerScheduler", "HeunDiscreteScheduler", "UniPCMultistepScheduler"])
def test_a_folder_with_a_swapped_scheduler_loads_and_swaps_back(name, tmp_path):
    torch.manual_seed(0)
    network = ScoreUNet(sample_size=8, block_out_channels=(8,), sigma_max=SIGMA_MAX)
    torch.nn.init.normal_(network.conv_out.weight, std=0.05)
    pipeline = NCSNPipeline(network, AnnealedLangevinScheduler(6, SIGMA_MIN, SIGMA_MAX, steps_per_level=3))
    pipeline.set_progress_bar_config(disable=True)
    swap(pipeline, name, **({} if name in EDM else KARRAS))
    expected = pipeline(1, generator=seeded(), num_inference_steps=4, output_type="pt").images
    pipeline.save_pretrained(tmp_path / "folder")
    assert json.loads((tmp_path / "folder/model_index.json").read_text(encoding="utf-8"))["scheduler"] == [
        "diffusers",
        name,
    ]

    installed = NCSNPipeline.from_pretrained(tmp_path / "folder")
    remote = DiffusionPipeline.from_pretrained(tmp_path / "folder", trust_remote_code=True)
    assert not isinstance(remote, NCSNPipeline)  # the folder's own code
    for loaded in (installed, remote):
        loaded.set_progress_bar_config(disable=True)
        images = loaded(1, generator=seeded(), num_inference_steps=4, output_type="pt").images
        torch.testing.assert_close(images, expected, rtol=0, atol=1e-5)
    back = AnnealedLangevinScheduler.from_config(installed.scheduler.config)
    assert (back.config.num_train_timesteps, back.config.sigma_min, back.config.sigma_max) == (6, SIGMA_MIN, SIGMA_MAX)


@pytest.mark.parametrize(("settings", "around_mean"), [({"eta": "ode"}, True), ({}, False), ({"eta": 1.0}, False)])
def test_a_table_of_our_own_starts_around_the_mean_where_it_adds_no_noise(settings, around_mean):
    pipeline = gaussian_pipeline()
    pipeline.scheduler = ConsistentAnnealedScheduler(100, SIGMA_MIN, SIGMA_MAX, **settings)
    latents = torch.randn(64, 1, 8, 8, generator=seeded())
    samples = last_samples(pipeline, 64, latents=latents, generator=seeded(1))
    assert pipeline.unet.evaluations == 100 + around_mean
    if around_mean:  # of first order: half the error in a test above with 50 levels
        assert (samples - flow(latents, 0.4, 0.15)).abs().max() < 0.02
    pipeline.unet.evaluations = 0
    pipeline(2, num_inference_steps=1, generator=seeded())
    assert pipeline.unet.evaluations == 1
