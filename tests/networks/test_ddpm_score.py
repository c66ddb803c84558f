"""A DDPM's U-Net as a score: the change of variables, exact densities, and what is refused."""

import math

import numpy as np
import pytest
import torch
from diffusers import DDPMScheduler, UNet2DModel

from ncsn_pipeline import DDPMScoreModel, as_score_function

SCHEDULES = {
    "linear": {"num_train_timesteps": 1000},
    "cosine": {"num_train_timesteps": 200, "beta_schedule": "squaredcos_cap_v2"},
    "scaled": {"num_train_timesteps": 100, "beta_schedule": "scaled_linear", "beta_start": 1e-3, "beta_end": 0.1},
    "numbers": {"num_train_timesteps": 60, "trained_betas": np.linspace(1e-3, 0.2, 60).tolist()},
    "zero terminal": {"num_train_timesteps": 100, "beta_end": 0.1, "rescale_betas_zero_snr": True},
}
UNET = {
    "sample_size": 8, "in_channels": 2, "out_channels": 2, "block_out_channels": (8, 16), "norm_num_groups": 4,
    "layers_per_block": 1, "down_block_types": ("DownBlock2D", "AttnDownBlock2D"),
    "up_block_types": ("AttnUpBlock2D", "UpBlock2D"),
}  # fmt: skip


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def model_of(prediction_type="epsilon", schedule="linear", **unet):
    torch.manual_seed(0)
    return DDPMScoreModel(UNET | unet, SCHEDULES[schedule], prediction_type).eval()


def trained_sigmas(schedule):
    abar = DDPMScheduler(**SCHEDULES[schedule]).alphas_cumprod.double()
    return ((1 - abar[abar > 1e-7]) / abar[abar > 1e-7]).sqrt().numpy()


def twenty_sigmas(schedule):
    """Ten of the training and ten between them, the first and the last included."""
    grid = trained_sigmas(schedule)
    on = grid[np.linspace(0, len(grid) - 1, 10).round().astype(int)]
    off = np.exp(np.random.default_rng(0).uniform(math.log(grid[0]), math.log(grid[-1]), 10))
    return np.concatenate([on, off])


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("prediction_type", ["epsilon", "v_prediction", "sample"])
@torch.no_grad()
def test_change_of_variables(prediction_type, schedule):
    model = model_of(prediction_type, schedule).double()
    sigma = torch.from_numpy(twenty_sigmas(schedule))
    x = torch.randn(20, 2, 8, 8, generator=seeded(), dtype=torch.float64) * (1 + sigma**2).sqrt().reshape(-1, 1, 1, 1)

    grid = trained_sigmas(schedule)
    t = torch.from_numpy(np.interp(np.log(sigma.numpy()), np.log(grid), np.arange(len(grid))))
    a, b = (1 / (1 + sigma**2)).sqrt().reshape(-1, 1, 1, 1), (sigma**2 / (1 + sigma**2)).sqrt().reshape(-1, 1, 1, 1)
    predicted = model.unet(a * x, t).sample
    x_0 = {
        "epsilon": (a * x - b * predicted) / a,
        "v_prediction": a * (a * x) - b * predicted,
        "sample": predicted,
    }[prediction_type]
    expected = (x_0 - x) / sigma.reshape(-1, 1, 1, 1) ** 2  # Tweedie's formula
    # The embedding of t is made in float32, in which t itself has six digits.
    size = expected.abs().amax((1, 2, 3), keepdim=True)
    torch.testing.assert_close(model(x, sigma).sample / size, expected / size, rtol=0, atol=1e-5)
    for i in (0, 9, 10):  # the ends and one between
        alone = model(x[i : i + 1], sigma[i]).sample[0]
        torch.testing.assert_close(alone / size[i], expected[i] / size[i], rtol=0, atol=1e-5)


class GaussianUNet(UNet2DModel):
    """What the best possible U-Net predicts for pixels from N(0.3, 0.2²)."""

    mean, std = 0.3, 0.2

    def forward(self, sample, timestep, class_labels=None, return_dict=True):
        abar = self.alphas_cumprod.double()[timestep.round().long()].reshape(-1, 1, 1, 1)
        a, b = abar.sqrt(), (1 - abar).sqrt()
        x_0 = self.mean + a * self.std**2 / (a**2 * self.std**2 + b**2) * (sample - a * self.mean)
        epsilon = (sample - a * x_0) / b
        return ({"epsilon": epsilon, "v_prediction": a * epsilon - b * x_0, "sample": x_0}[self.kind],)


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("prediction_type", ["epsilon", "v_prediction", "sample"])
def test_a_perfect_network_gives_the_exact_score(prediction_type, schedule):
    model = model_of(prediction_type, schedule)
    model.unet = GaussianUNet(**UNET).double()
    model.unet.kind, model.unet.alphas_cumprod = (
        prediction_type,
        DDPMScheduler(**SCHEDULES[schedule]).alphas_cumprod,
    )
    sigma = torch.from_numpy(trained_sigmas(schedule))[::7]
    x = torch.randn(len(sigma), 2, 8, 8, generator=seeded(), dtype=torch.float64) * sigma.reshape(-1, 1, 1, 1)
    variance = 0.2**2 + sigma.reshape(-1, 1, 1, 1) ** 2
    torch.testing.assert_close(as_score_function(model)(x, sigma), (0.3 - x) / variance, rtol=1e-6, atol=1e-8)


@torch.no_grad()
def test_in_single_precision_the_score_is_the_same():
    model = model_of()
    sigma = torch.from_numpy(twenty_sigmas("linear"))
    x = torch.randn(20, 2, 8, 8, generator=seeded(), dtype=torch.float64) * (1 + sigma**2).sqrt().reshape(-1, 1, 1, 1)
    single = model(x.float(), sigma.float()).sample.double() * sigma.reshape(-1, 1, 1, 1)
    double = model.double()(x, sigma).sample * sigma.reshape(-1, 1, 1, 1)
    torch.testing.assert_close(single, double, rtol=0, atol=1e-4 * double.abs().max().item())


@torch.no_grad()
def test_half_precision_keeps_the_scaling_in_single():
    model = model_of()
    x = 100 * torch.randn(2, 2, 8, 8, generator=seeded())
    expected = model(x, 100.0).sample
    score = model.to(torch.bfloat16)(x, 100.0).sample
    assert score.dtype == torch.float32
    torch.testing.assert_close(score, expected, rtol=0, atol=0.05 * expected.abs().max().item())


@torch.no_grad()
def test_learned_variances_are_dropped():
    model = model_of(out_channels=4).double()
    x = torch.randn(1, 2, 8, 8, generator=seeded(), dtype=torch.float64)
    score = model(x, 1.0).sample
    assert score.shape == x.shape
    model.unet.conv_out.weight[2:].fill_(7.0)
    assert torch.equal(model(x, 1.0).sample, score)
    model.unet.conv_out.weight[:2].fill_(7.0)
    assert not torch.equal(model(x, 1.0).sample, score)


@torch.no_grad()
def test_outside_of_the_training_the_time_stays_and_the_scaling_goes_on(caplog):
    import diffusers.utils.logging as diffusers_logging

    model = model_of(schedule="scaled").double()
    high, low = model.config.sigma_max, model.config.sigma_min
    assert (low, high) == pytest.approx(tuple(trained_sigmas("scaled")[[0, -1]]))
    x_vp = torch.randn(1, 2, 8, 8, generator=seeded(), dtype=torch.float64)
    diffusers_logging.enable_propagation()
    try:
        for sigma, t in ((3 * high, 99), (low / 5, 0)):
            score = model(x_vp * math.sqrt(1 + sigma**2), sigma).sample
            expected = -model.unet(x_vp, torch.tensor([t])).sample / sigma
            torch.testing.assert_close(score, expected, rtol=1e-6, atol=1e-9)
    finally:
        diffusers_logging.disable_propagation()
    assert caplog.text.count("this DDPM was trained on") == 1
    assert "nearest time" in caplog.text


@torch.no_grad()
def test_a_learned_table_of_times_gets_the_nearest_one():
    model = model_of(schedule="scaled", time_embedding_type="learned", num_train_timesteps=100).double()
    grid = trained_sigmas("scaled")
    x_vp = torch.randn(1, 2, 8, 8, generator=seeded(), dtype=torch.float64)
    sigma = math.sqrt(grid[40] ** 0.7 * grid[41] ** 1.3)
    score = model(x_vp * math.sqrt(1 + sigma**2), sigma).sample
    torch.testing.assert_close(score, -model.unet(x_vp, torch.tensor([41])).sample / sigma, rtol=1e-6, atol=1e-9)


@torch.no_grad()
def test_classes_and_the_null_class():
    torch.manual_seed(0)
    unet = UNET | {"num_class_embeds": 4}
    model = DDPMScoreModel(unet, SCHEDULES["linear"], null_class=True).eval()
    assert model.config.num_class_embeds == 3
    assert DDPMScoreModel(unet, SCHEDULES["linear"]).config.num_class_embeds == 4
    x = torch.randn(2, 2, 8, 8, generator=seeded())
    by_class = [model(x, 1.0, torch.full((2,), i)).sample for i in range(4)]
    assert torch.equal(model(x, 1.0).sample, by_class[3])
    assert not torch.allclose(by_class[0], by_class[1], atol=1e-3)


def test_saved_and_loaded(tmp_path):
    model = model_of("v_prediction", "numbers")
    model.save_pretrained(tmp_path)
    loaded = DDPMScoreModel.from_pretrained(tmp_path)
    assert loaded.config.noise_schedule == SCHEDULES["numbers"]
    x = torch.randn(1, 2, 8, 8, generator=seeded())
    with torch.no_grad():
        assert torch.equal(loaded(x, 2.5).sample, model(x, 2.5).sample)


@pytest.mark.parametrize(
    ("unet", "arguments", "message"),
    [
        ({}, {"prediction_type": "score"}, "epsilon, v_prediction, sample; got 'score'"),
        ({"time_embedding_type": "fourier"}, {}, "NCSNPipeline.from_pretrained"),
        ({}, {"clip_sample": 0.0}, "clip_sample must be a finite number > 0"),
        ({}, {"clip_sample": math.nan}, "clip_sample must be"),
        ({"out_channels": 3}, {}, "2 input channels has 2 or 4 outputs, not 3"),
        ({"class_embed_type": "timestep"}, {}, "got 'timestep'"),
        ({"sample_size": None}, {}, "no sample_size"),
        ({}, {"null_class": True}, "num_class_embeds is None"),
        ({}, {"noise_schedule": {"num_train_timesteps": 1}}, "at least two betas"),
        ({}, {"noise_schedule": {"trained_betas": [0.1, 1.5, 0.2]}}, r"within \(0, 1\)"),
    ],
)
def test_what_it_does_not_cover_is_refused(unet, arguments, message):
    with pytest.raises(ValueError, match=message):
        DDPMScoreModel(**{"unet_config": UNET | unet, "noise_schedule": SCHEDULES["linear"]} | arguments)
