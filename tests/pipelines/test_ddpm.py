"""Pipelines from U-Nets that were trained as DDPM or DDIM."""

import math

import pytest
import torch
from diffusers import (
    DDIMPipeline,
    DDIMScheduler,
    DDPMPipeline,
    DDPMScheduler,
    EDMEulerScheduler,
    HeunDiscreteScheduler,
    LDMPipeline,
    ScoreSdeVePipeline,
    ScoreSdeVeScheduler,
    UNet2DModel,
    VQModel,
)

from ncsn_pipeline import (
    ConsistentAnnealedScheduler,
    DDPMScoreModel,
    NCSNInpaintPipeline,
    NCSNPipeline,
)
from ncsn_pipeline.pipelines import from_ddpm
from tests import digits_ddpm


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def unet(**settings):
    torch.manual_seed(0)
    defaults = {
        "sample_size": 8, "in_channels": 1, "out_channels": 1, "block_out_channels": (8, 16), "norm_num_groups": 4,
        "layers_per_block": 1, "down_block_types": ("DownBlock2D", "AttnDownBlock2D"),
        "up_block_types": ("AttnUpBlock2D", "UpBlock2D"),
    }  # fmt: skip
    return UNet2DModel(**defaults | settings).eval()


def quiet(pipeline):
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


@pytest.mark.parametrize(
    ("kind", "scheduler"),
    [
        (DDPMPipeline, DDPMScheduler(1000)),
        (DDPMPipeline, DDPMScheduler(200, beta_schedule="squaredcos_cap_v2", prediction_type="v_prediction")),
        (
            DDIMPipeline,
            DDIMScheduler(
                num_train_timesteps=100, beta_end=0.1, beta_schedule="scaled_linear", prediction_type="sample"
            ),
        ),
        (DDPMPipeline, DDPMScheduler(50, trained_betas=[0.01 + 0.002 * i for i in range(50)])),
        # Its default betas are others than DDPM's, and "exp" DDPM does not know.
        (DDPMPipeline, HeunDiscreteScheduler(100)),
        (DDPMPipeline, HeunDiscreteScheduler(100, beta_schedule="exp")),
    ],
)
def test_the_noise_of_the_training_is_taken_over(kind, scheduler, tmp_path):
    source = kind(unet(), scheduler)
    if isinstance(scheduler, DDPMScheduler | DDIMScheduler):
        source.save_pretrained(tmp_path / "source")
        pipeline = quiet(from_ddpm(tmp_path / "source"))
    else:
        pipeline = quiet(from_ddpm(source))
    assert isinstance(pipeline.unet, DDPMScoreModel)
    assert (pipeline.config.data_min, pipeline.config.data_max) == (-1, 1)
    abar = scheduler.alphas_cumprod.double()
    sigmas = ((1 - abar) / abar).sqrt()
    assert pipeline.unet.config.sigma_min == pytest.approx(sigmas[0].item())
    assert pipeline.unet.config.prediction_type == scheduler.config.prediction_type
    last = sigmas[abar > 1e-7][-1].item()
    assert pipeline.unet.config.sigma_max == pytest.approx(last)

    ladder = pipeline.scheduler
    assert isinstance(ladder, ConsistentAnnealedScheduler)
    assert (ladder.config.sigma_min, ladder.config.sigma_max) == pytest.approx((sigmas[0].item(), last))
    assert ladder.num_inference_steps == min(50, len(abar))
    clips = bool(scheduler.config.get("clip_sample"))
    assert pipeline.unet.config.clip_sample == (scheduler.config.clip_sample_range if clips else None)
    assert pipeline(1, num_inference_steps=3, output_type="pt").images.isfinite().all()

    t = len(sigmas) // 3
    x = torch.randn(1, 1, 8, 8, generator=seeded())
    with torch.no_grad():
        predicted = source.unet(x, t).sample
        score = pipeline.unet(x * math.sqrt(1 + sigmas[t] ** 2), sigmas[t]).sample
    x_0 = {
        "epsilon": (x - (1 - abar[t]).sqrt() * predicted) / abar[t].sqrt(),
        "v_prediction": abar[t].sqrt() * x - (1 - abar[t]).sqrt() * predicted,
        "sample": predicted,
    }[scheduler.config.prediction_type]
    x_0 = x_0.clamp(-1, 1) if clips else x_0
    expected = (x_0 - x / abar[t].sqrt()) / sigmas[t] ** 2
    torch.testing.assert_close(score.double(), expected.double(), rtol=1e-4, atol=1e-5 * expected.abs().max().item())


@pytest.mark.parametrize("settings", [{"clip_sample": False}, {"clip_sample_range": 0.3}, {"thresholding": True}])
def test_the_clipping_of_the_ddpm_is_kept_and_other_thresholds_are_said_to_be_lost(settings, tmp_path, logged):
    """One step of the denoising is the DDPM's own estimate of the image."""
    scheduler = DDPMScheduler(100, beta_end=0.1, **settings)
    source = DDPMPipeline(unet(), scheduler)
    pipeline = quiet(from_ddpm(source))
    assert ("dynamic thresholding of this DDPMScheduler is not taken over" in logged.text) == bool(
        settings.get("thresholding")
    )
    pipeline.save_pretrained(tmp_path)
    pipeline = quiet(NCSNPipeline.from_pretrained(tmp_path))
    sigma = pipeline.unet.config.sigma_max
    latents = torch.randn(1, 1, 8, 8, generator=seeded())
    drawn = pipeline(1, sigmas=[sigma], latents=latents, output_type="latent").images
    x = latents * sigma / math.sqrt(1 + sigma**2)
    with torch.no_grad():
        unclipped = scheduler.alphas_cumprod[-1].rsqrt() * (
            x - (1 - scheduler.alphas_cumprod[-1]).sqrt() * source.unet(x, 99).sample
        )
    c = settings.get("clip_sample_range", 1.0) if settings.get("clip_sample", True) else math.inf
    assert unclipped.abs().max() > 1
    torch.testing.assert_close(drawn, unclipped.clamp(-c, c), rtol=1e-3, atol=1e-3)


def test_a_loaded_pipeline_lends_its_weights_and_a_scheduler_can_be_given():
    source = DDPMPipeline(unet(), DDPMScheduler(100, beta_end=0.1))
    given = ConsistentAnnealedScheduler(6, 0.05, 3.0)
    pipeline = from_ddpm(source, scheduler=given)
    assert pipeline.scheduler is given
    assert pipeline.unet.unet is source.unet
    pipeline.scheduler = EDMEulerScheduler.from_config(given.config)
    assert quiet(pipeline)(2, output_type="pt").images.shape == (2, 1, 8, 8)
    assert pipeline.num_timesteps == 6


def test_classes_and_guidance():
    source = DDPMPipeline(unet(num_class_embeds=4), DDPMScheduler(100, beta_end=0.1))
    plain, guided = (quiet(from_ddpm(source, null_class=null)) for null in (False, True))
    arguments = {"num_inference_steps": 3, "latents": torch.randn(1, 1, 8, 8, generator=seeded()), "output_type": "pt"}
    assert torch.equal(
        plain(1, class_labels=3, generator=seeded(), **arguments).images,
        guided(1, class_labels="none", generator=seeded(), **arguments).images,
    )
    assert guided(1, class_labels=2, guidance_scale=2.0, **arguments).images.isfinite().all()
    with pytest.raises(ValueError, match="trained without one"):
        plain(1, class_labels=2, guidance_scale=2.0, **arguments)
    with pytest.raises(ValueError, match=r"0 \.\.\. 2"):
        guided(1, class_labels=3, **arguments)


def latent_pipeline():
    decoder = VQModel(block_out_channels=(4,), norm_num_groups=2, latent_channels=1, num_vq_embeddings=4)
    return LDMPipeline(decoder, unet(), DDIMScheduler(100))


@pytest.mark.parametrize(
    ("source", "arguments", "message"),
    [
        (latent_pipeline, {}, "parts scheduler, unet, vqvae.*on the images themselves"),
        (lambda: ScoreSdeVePipeline(unet(), ScoreSdeVeScheduler(10)), {}, "ScoreSdeVeScheduler has no alphas_cumprod"),
        (lambda: DDPMPipeline(unet(time_embedding_type="fourier"), DDPMScheduler(10)), {}, "from_pretrained"),
        (lambda: DDPMPipeline(unet(), DDPMScheduler(10)), {"revision": "main"}, "revision are for loading"),
        (lambda: DDPMPipeline(unet(), DDPMScheduler(10)), {"null_class": True}, "at least two classes"),
    ],
)
def test_what_is_no_ddpm_of_images_is_refused(source, arguments, message):
    with pytest.raises(ValueError, match=message):
        from_ddpm(source(), **arguments)


@pytest.mark.parametrize("kind", [NCSNPipeline, NCSNInpaintPipeline])
@pytest.mark.parametrize("source", [DDPMPipeline, DDIMPipeline])
def test_a_ddpm_folder_is_not_taken_for_a_score(kind, source, tmp_path):
    """Also where a scheduler is given that follows scores: the pictures would be noise."""
    scheduler = DDPMScheduler(10) if source is DDPMPipeline else DDIMScheduler(10)
    source(unet(), scheduler).save_pretrained(tmp_path)
    for given in ({}, {"scheduler": ConsistentAnnealedScheduler(4, sigma_max=5.0)}):
        with pytest.raises(
            ValueError, match=f"a {source.__name__}, not a score network.*predicts noise.*pipelines.from_ddpm"
        ):
            kind.from_pretrained(tmp_path, **given)
    assert isinstance(from_ddpm(tmp_path).unet, DDPMScoreModel)


def test_other_pipelines_of_diffusers_are_not_taken_either(tmp_path):
    latent_pipeline().save_pretrained(tmp_path)
    with pytest.raises(ValueError, match="a LDMPipeline, not a score network. Open it by LDMPipeline.from_pretrained"):
        NCSNPipeline.from_pretrained(tmp_path)


def test_a_u_net_of_a_ddpm_beside_a_scheduler_is_warned_of_and_its_own_scheduler_refused(logged):
    with logged.at_level("WARNING"):
        pipeline = NCSNPipeline(unet(), DDPMScheduler(10))
    assert "pipelines.from_ddpm" in logged.text
    for scheduler in (pipeline.scheduler, HeunDiscreteScheduler.from_config(pipeline.scheduler.config)):
        pipeline.scheduler = scheduler
        with pytest.raises(ValueError, match=f"{type(scheduler).__name__} does not take scores.*pipelines.from_ddpm"):
            pipeline(1)


@pytest.mark.check
@pytest.mark.slow
def test_a_ddpm_of_digits_gives_digits_by_annealed_langevin_as_by_its_own_ddim():
    """Quickly trained; `benchmarks/ddpm.py` does it properly, and all of them come close to real images."""
    result = digits_ddpm.run(steps=350, samples=200, ddim_steps=25, langevin=110)
    real, noise, own = (result.distances[name] for name in ("real images", "noise", "DDIM"))
    assert own < real + 0.6 * (noise - real)
    for sampler in ("annealed Langevin", "consistent annealed", "EDM DPM-Solver", "EDM Euler"):
        assert result.distances[sampler] < real + 0.3 * (noise - real)
        assert result.distances[sampler] < 1.25 * own
    fewest = {"DDIM": 25, "annealed Langevin": 110, "consistent annealed": 25, "EDM DPM-Solver": 25}
    assert fewest.items() <= result.evaluations.items()
