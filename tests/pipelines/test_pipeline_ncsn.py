"""Images from noise: randomness, classes, formats, and what is refused."""

import math

import numpy as np
import pytest
import torch
from diffusers import DDPMScheduler, UNet2DModel

from ncsn_pipeline import AnnealedLangevinScheduler, ConsistentAnnealedScheduler, NCSNPipeline, ScoreUNet


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def small_network(**changes):
    torch.manual_seed(7)
    settings = {"sample_size": 8, "block_out_channels": (8, 16), "sigma_data": 0.4, "sigma_max": 5.0}
    network = ScoreUNet(**(settings | changes))
    torch.nn.init.normal_(network.conv_out.weight, std=0.05)
    return network


@pytest.fixture
def pipe():
    """A model with three classes, quiet."""
    pipeline = NCSNPipeline(small_network(num_class_embeds=3), ConsistentAnnealedScheduler(6, sigma_max=5.0))
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


@pytest.fixture
def plain():
    """A model without classes, in colour, sampled by annealed Langevin, quiet."""
    scheduler = AnnealedLangevinScheduler(4, sigma_max=5.0, steps_per_level=2)
    pipeline = NCSNPipeline(small_network(in_channels=3), scheduler, data_min=-1.0, data_max=1.0)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def test_formats(pipe, plain):
    assert pipe(2, generator=seeded()).images[0].mode == "L"
    assert plain(2, generator=seeded()).images[1].mode == "RGB"
    array = plain(2, generator=seeded(), output_type="np").images
    tensor = plain(2, generator=seeded(), output_type="pt", return_dict=False)[0]
    picture = plain(2, generator=seeded()).images
    assert array.shape == (2, 8, 8, 3)
    assert tensor.shape == (2, 3, 8, 8)
    assert np.allclose(array.transpose(0, 3, 1, 2), tensor)
    assert np.array_equal(np.asarray(picture[0]), (array[0] * 255).round().astype(np.uint8))
    assert 0 <= tensor.min() < tensor.max() <= 1


def test_same_seed_same_images(pipe):
    first = pipe(3, generator=seeded(), output_type="pt").images
    assert torch.equal(first, pipe(3, generator=seeded(), output_type="pt").images)
    assert not torch.equal(first, pipe(3, generator=seeded(1), output_type="pt").images)


def test_a_generator_for_each_image_makes_it_independent_of_its_batch(plain):
    together = plain(2, generator=[seeded(3), seeded(4)], output_type="pt").images
    for i, seed in enumerate((3, 4)):
        alone = plain(1, generator=seeded(seed), output_type="pt").images
        torch.testing.assert_close(alone[0], together[i], rtol=0, atol=1e-5)


def test_latents_are_unit_normal_noise_scaled_by_the_first_sigma(pipe):
    starts = []
    pipe.unet.register_forward_pre_hook(lambda module, arguments: starts.append(arguments[0]))
    latents = torch.randn(2, 1, 8, 8)
    pipe(2, latents=latents, class_labels=0)
    assert torch.equal(starts[0], latents * 5)


def test_uniform_start(plain):
    starts = []
    plain.scheduler = AnnealedLangevinScheduler(2, sigma_max=5.0, steps_per_level=1, initial="uniform")
    plain.unet.register_forward_pre_hook(lambda module, arguments: starts.append(arguments[0]))
    plain(200, generator=seeded(), num_inference_steps=1, output_type="pt")
    start = starts[0].double()
    assert -1 <= start.min() < -0.999
    assert 0.999 < start.max() <= 1
    # U[-1, 1] has the variance 1 / 3, and its square 4 / 45.
    assert start.mean().item() == pytest.approx(0, abs=5 * math.sqrt(1 / 3 / start.numel()))
    assert start.square().mean().item() == pytest.approx(1 / 3, abs=5 * math.sqrt(4 / 45 / start.numel()))


@pytest.mark.parametrize("evaluations", [1, 2, 9, 30])
def test_number_of_network_evaluations(pipe, plain, evaluations):
    for pipeline in (pipe, plain):
        calls = []
        handle = pipeline.unet.register_forward_hook(lambda *_, calls=calls: calls.append(1))
        pipeline(1, num_inference_steps=evaluations)
        assert len(calls) == pipeline.num_timesteps == evaluations
        handle.remove()


def test_whole_ladder_and_a_ladder_for_the_call(pipe, plain):
    pipe(1)
    assert pipe.num_timesteps == 6
    plain(1)
    assert plain.num_timesteps == 9
    plain(1, sigmas=[3.0, 0.5])
    assert plain.scheduler.timesteps.tolist() == [3.0] * 2 + [0.5] * 3


def test_classes(pipe):
    make = lambda **arguments: pipe(3, generator=seeded(), output_type="pt", **arguments).images  # noqa: E731
    latents = torch.randn(3, 1, 8, 8)
    for same in ([2, 2, 2], torch.tensor([2, 2, 2]), np.array([2, 2, 2])):
        assert torch.equal(make(class_labels=2, latents=latents), make(class_labels=same, latents=latents))
    assert not torch.equal(make(class_labels=1, latents=latents), make(class_labels=2, latents=latents))
    assert not torch.equal(make(class_labels="none", latents=latents), make(class_labels=2, latents=latents))


def test_classes_are_drawn_uniformly(pipe):
    seen = []
    pipe.unet.register_forward_pre_hook(
        lambda module, args, kwargs: seen.append(kwargs["class_labels"]), with_kwargs=True
    )
    pipe(600, generator=seeded(), num_inference_steps=1, class_labels="random")
    counts = seen[0].bincount(minlength=3)
    assert (counts - 200).abs().max() < 5 * math.sqrt(600 * 2 / 9)
    pipe(600, generator=[seeded(i) for i in range(600)], num_inference_steps=1, class_labels="random")
    assert seen[1].unique().tolist() == [0, 1, 2]


def test_guidance(pipe):
    latents = torch.randn(2, 1, 8, 8)
    shared = {"latents": latents, "num_inference_steps": 1, "output_type": "pt"}

    def run(scale, label):
        return pipe(2, class_labels=label, guidance_scale=scale, **shared).images

    assert torch.equal(run(1.0, 1), run(None, 1))
    # After one denoising, images that were not clipped to (0, 1) are linear in the score.
    null, conditional, guided = run(None, "none"), run(None, 1), run(1.5, 1)
    inside = (guided > 0) & (guided < 1) & (null > 0) & (null < 1) & (conditional > 0) & (conditional < 1)
    assert inside.sum() > 20
    torch.testing.assert_close(guided[inside], (null + 1.5 * (conditional - null))[inside], rtol=0, atol=1e-5)
    torch.testing.assert_close(run(0.0, 1), null)


def test_guidance_between_two_noise_levels(pipe):
    """Both ends count as between; elsewhere the null class is not evaluated."""
    batches = []

    def run(**guidance):
        batches.clear()
        return pipe(2, seeded(), 12, class_labels=1, output_type="raw", **guidance).images

    pipe.unet.register_forward_pre_hook(lambda module, args: batches.append(len(args[0])))
    plain, everywhere = run(), run(guidance_scale=1.5)
    assert batches == [4] * 12
    sigmas = pipe.scheduler.table.sigmas
    assert torch.equal(run(guidance_scale=1.5, guidance_interval=(0, math.inf)), everywhere)
    between = run(guidance_scale=1.5, guidance_interval=(sigmas[7], sigmas[4]))
    assert batches == [4 if 4 <= i <= 7 else 2 for i in range(12)]

    def callback(pipeline, i, sigma, tensors):
        pipeline.guidance_scale = 1.5 if 4 <= i + 1 <= 7 else 1.0

    assert torch.equal(between, run(guidance_scale=1.0, callback_on_step_end=callback))
    assert not torch.equal(between, plain) and not torch.equal(between, everywhere)
    assert torch.equal(run(guidance_scale=1.5), everywhere)  # it is of one call


def test_callback_sees_and_replaces_the_samples_and_can_stop(pipe):
    seen = []

    def callback(pipeline, i, sigma, tensors):
        seen.append((i, float(sigma)))
        pipeline.interrupt = i == 2
        return {"latents": torch.full_like(tensors["latents"], 0.25)}

    images = pipe(2, callback_on_step_end=callback, output_type="pt").images
    assert [i for i, _ in seen] == [0, 1, 2]
    assert seen[0][1] == 5
    assert torch.equal(images, torch.full((2, 1, 8, 8), 0.25))


def test_progress_bar_can_be_switched_off(pipe, capsys):
    pipe(1)
    assert capsys.readouterr().err == ""
    pipe.set_progress_bar_config(disable=False)
    pipe(1)
    assert "6/6" in capsys.readouterr().err


def test_sigma_outside_the_trained_range_is_only_warned_of(pipe, caplog):
    import diffusers.utils.logging as diffusers_logging

    diffusers_logging.enable_propagation()
    pipe(1, sigmas=[50.0, 1.0, 0.1])
    diffusers_logging.disable_propagation()
    assert "trained on sigmas from 5 to 0.01" in caplog.text


def test_guidance_of_the_null_class_is_said_to_change_nothing(pipe, caplog):
    import diffusers.utils.logging as diffusers_logging

    diffusers_logging.enable_propagation()
    pipe(1, class_labels=1, guidance_scale=2.0)
    pipe(1, guidance_scale=1.0)
    assert not caplog.text
    pipe(1, guidance_scale=2.0)
    diffusers_logging.disable_propagation()
    assert "guidance_scale = 2.0 changes nothing" in caplog.text


def test_network_in_half_precision_keeps_the_samples_in_float32(plain):
    reference = plain(2, generator=seeded(), output_type="pt").images
    dtypes = []
    plain.unet.to(torch.bfloat16)
    plain.unet.register_forward_pre_hook(lambda module, arguments: dtypes.append(arguments[0].dtype))
    images = plain(2, generator=seeded(), output_type="pt").images
    assert set(dtypes) == {torch.bfloat16}
    assert images.dtype == torch.float32
    assert (images - reference).abs().mean() < 0.05


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"batch_size": 0}, "number of images"),
        ({"batch_size": True}, "number of images"),
        ({"batch_size": 1.5}, "number of images"),
        ({"batch_size": 2, "class_labels": [0, 1, 2]}, "3 class_labels were given for 2 images; give one"),
        ({"class_labels": 3}, r"0 \.\.\. 2"),
        ({"class_labels": -1}, r"0 \.\.\. 2"),
        ({"class_labels": 0.5}, "whole numbers"),
        ({"class_labels": "cat"}, "'none'"),
        ({"guidance_scale": -1.0}, "guidance_scale"),
        ({"guidance_scale": math.nan}, "guidance_scale"),
        ({"guidance_scale": 2.0, "guidance_interval": (1.0, 0.5)}, "guidance_interval must be two noise levels"),
        ({"guidance_scale": 2.0, "guidance_interval": (math.nan, 1.0)}, "guidance_interval must be two noise levels"),
        ({"guidance_scale": 2.0, "guidance_interval": 1.0}, "guidance_interval must be two noise levels"),
        ({"guidance_interval": (0.5, 1.0)}, "nothing is guided. Give guidance_scale"),
        ({"generator": [torch.Generator()], "batch_size": 2}, "1 generators"),
        ({"latents": torch.zeros(1, 1, 9, 9)}, "latents have shape"),
        ({"latents": [1.0]}, "latents must be a tensor of unit normal noise; got list"),
        ({"class_labels": [None, 1], "batch_size": 2}, r"must be whole numbers.*got \[None, 1\]"),
        ({"class_labels": [[1], 2], "batch_size": 2}, "class_labels must be whole numbers"),
        ({"output_type": "jpeg"}, "output_type"),
        ({"num_inference_steps": 0}, "at least 1"),
        ({"sigmas": [1.0, math.nan]}, "finite"),
        ({"callback_on_step_end_tensor_inputs": ["noise"]}, "latents"),
    ],
)
def test_bad_arguments_are_refused_before_any_evaluation(pipe, arguments, message):
    calls = []
    pipe.unet.register_forward_hook(lambda *_: calls.append(1))
    with pytest.raises(ValueError, match=message):
        pipe(**arguments)
    assert not calls


def test_what_a_model_or_scheduler_does_not_have_is_refused(plain):
    with pytest.raises(ValueError, match="no classes"):
        plain(1, class_labels=0)
    with pytest.raises(ValueError, match="no classes|with classes"):
        plain(1, guidance_scale=2.0)
    with pytest.raises(ValueError, match="data_min < data_max"):
        NCSNPipeline(plain.unet, plain.scheduler, data_min=1.0, data_max=1.0)
    plain.scheduler = DDPMScheduler()
    with pytest.raises(ValueError, match="DDPMScheduler does not take scores"):
        plain(1)


def test_a_network_of_diffusers_works():
    network = UNet2DModel(
        sample_size=8, in_channels=1, out_channels=1, block_out_channels=(8, 8), norm_num_groups=4, layers_per_block=1,
        time_embedding_type="fourier", down_block_types=("DownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "UpBlock2D"),
    )  # fmt: skip
    pipeline = NCSNPipeline(network, ConsistentAnnealedScheduler(4, sigma_max=5.0))
    pipeline.set_progress_bar_config(disable=True)
    assert pipeline(2, generator=seeded(), output_type="pt").images.shape == (2, 1, 8, 8)


def test_a_classes_network_of_diffusers_has_no_null_class():
    network = UNet2DModel(
        sample_size=8, in_channels=1, out_channels=1, block_out_channels=(8, 8), norm_num_groups=4, layers_per_block=1,
        time_embedding_type="fourier", down_block_types=("DownBlock2D", "DownBlock2D"), num_class_embeds=3,
        up_block_types=("UpBlock2D", "UpBlock2D"),
    )  # fmt: skip
    pipeline = NCSNPipeline(network, ConsistentAnnealedScheduler(4, sigma_max=5.0))
    pipeline.set_progress_bar_config(disable=True)
    assert pipeline(3, class_labels=[0, 1, 2], output_type="pt").images.shape == (3, 1, 8, 8)
    for arguments in ({"class_labels": "none"}, {"class_labels": 1, "guidance_scale": 2.0}):
        with pytest.raises(ValueError, match="trained without one"):
            pipeline(1, **arguments)
