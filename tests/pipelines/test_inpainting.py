"""Inpainting and editing: kept pixels are kept exactly, painted ones have the right distribution."""

import io
import json
import math

import diffusers
import numpy as np
import pytest
import torch
from diffusers import UNet2DModel
from PIL import Image

from ncsn_pipeline import (
    AnnealedLangevinScheduler,
    ConsistentAnnealedScheduler,
    NCSNInpaintPipeline,
    NCSNPipeline,
    NCSNPosteriorPipeline,
)
from ncsn_pipeline.data.decoding import decode
from ncsn_pipeline.guidance.measurements import mask as measured_by_mask
from ncsn_pipeline.pipelines import inpainting
from ncsn_pipeline.pipelines.given_images import images_as_tensor, masks_as_tensor
from ncsn_pipeline.pipelines.inpainting import DEFAULT_RESAMPLE_STEPS
from tests.known_posteriors import stated
from tests.pipelines.exact_network import CorrelatedGaussian
from tests.pipelines.small_network import pipeline_in_colour

SIGMA_MAX, SIGMA_MIN = 3.0, 0.003
KARRAS = {"use_karras_sigmas": True}
SOLVERS = [
    ("EDMEulerScheduler", {}),
    ("EDMDPMSolverMultistepScheduler", {}),
    ("EulerDiscreteScheduler", KARRAS),
    ("HeunDiscreteScheduler", KARRAS),
    ("DPMSolverMultistepScheduler", KARRAS),
    ("DEISMultistepScheduler", KARRAS),
    ("UniPCMultistepScheduler", KARRAS),
]


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


SCHEDULERS = {
    "consistent": lambda: ConsistentAnnealedScheduler(50, SIGMA_MIN, SIGMA_MAX),
    "langevin": lambda: AnnealedLangevinScheduler(25, SIGMA_MIN, SIGMA_MAX, steps_per_level=3),
}


def gaussian(scheduler="consistent"):
    pipeline = NCSNInpaintPipeline(CorrelatedGaussian(), SCHEDULERS[scheduler]())
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


@pytest.fixture
def pipe():
    """A model with three classes, in colour, from -1 to 1."""
    return pipeline_in_colour(NCSNInpaintPipeline)


@pytest.fixture
def image():
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (8, 8, 3), dtype=np.uint8))


@pytest.fixture
def mask():
    """White, which is painted, on the right."""
    pixels = np.zeros((8, 8), dtype=np.uint8)
    pixels[:, 5:] = 255
    return Image.fromarray(pixels)


def painted_samples(pipeline, image, mask, number, **arguments):
    """The painted pixels in data units, before they are clipped, `(number, P)`, float64."""
    newest = {}
    pipeline(
        image,
        mask,
        num_images_per_image=number,
        generator=seeded(),
        callback_on_step_end=lambda pipe, i, sigma, tensors: newest.update(tensors),
        **arguments,
    )
    return newest["latents"].flatten(1)[:, mask.flatten().bool()].double()


# The right distribution


@pytest.mark.fixed_seed
def test_the_docstring_says_how_far_off_the_painted_pixels_are():
    """The table of the module, measured again; 1,000 completions of the left half of one image."""
    network = CorrelatedGaussian()
    covariance, kept = network.covariance, torch.arange(4).repeat(4) < 2
    factor = torch.linalg.cholesky(covariance + 1e-10 * torch.eye(16).double())
    image = 0.5 + factor @ torch.randn(16, generator=seeded(3), dtype=torch.float64)
    gain = covariance[~kept][:, kept] @ torch.linalg.inv(covariance[kept][:, kept] + 1e-9 * torch.eye(8).double())
    mean = 0.5 + gain @ (image[kept] - 0.5)
    deviation = (covariance[~kept][:, ~kept] - gain @ covariance[kept][:, ~kept]).diagonal().sqrt()
    pixels, painted = image.reshape(4, 4).float(), (~kept).reshape(4, 4)
    schedulers = {
        "consistent": ConsistentAnnealedScheduler(40, 0.003, 3.0),
        "Langevin, 5 steps": AnnealedLangevinScheduler(40, 0.003, 3.0, steps_per_level=5),
    }
    found = {}
    for name in stated(inpainting.__doc__):
        sampler, _, repeats = name.rpartition(", R = ")
        if sampler:
            pipe = NCSNInpaintPipeline(network, schedulers[sampler])
            given = {"image": pixels.numpy(), "mask_image": painted.float().numpy(), "num_images_per_image": 1000}
            given |= {"resample_steps": int(repeats)}
        else:
            pipe = NCSNPosteriorPipeline(network, schedulers["consistent"])
            given = {"y": pixels[None, None, ~painted], "operator": measured_by_mask(~painted), "noise_std": 0.001}
            given |= {"num_images_per_measurement": 1000, "method": "mmps", "iterations": 8}
        pipe.set_progress_bar_config(disable=True)
        images = pipe(**given, generator=seeded(), output_type="raw").images.flatten(1)[:, ~kept].double()
        found[name] = [
            ((images.mean(0) - mean).abs() / deviation).max().item(),
            (images.std(0) / deviation - 1).abs().max().item(),
        ]
    assert len(found) == 8
    for name, figures in stated(inpainting.__doc__).items():
        assert found[name] == pytest.approx(figures, abs=0.015), name


@pytest.mark.parametrize("scheduler", SCHEDULERS)
def test_resampling_brings_the_conditional_gaussian(scheduler):
    """Replacing alone has a bias that more levels do not mend; with R it goes away.

    The mean's error is measured in conditional standard deviations, root mean square over the pixels, with a standard
    error of 0.026 at most at 1,500 completions.  It is proportional to how far the image is from the mean, so the image
    is a given one: the error is about 0.13 at R = 20, 0.42 to 0.55 at R = 1.
    """
    number = 1500
    pipeline = gaussian(scheduler)
    covariance = pipeline.unet.covariance
    unit = 2 * math.sqrt(2) * torch.arange(1, 17, dtype=torch.float64).cos()
    image = (0.5 + torch.linalg.cholesky(covariance + 1e-9 * torch.eye(16)) @ unit).float()
    mask = torch.zeros(1, 4, 4)
    mask[..., 2:] = 1
    painted = mask.flatten().bool()
    gain = torch.linalg.solve(covariance[~painted][:, ~painted], covariance[~painted][:, painted]).T
    mean = 0.5 + gain @ (image[~painted].double() - 0.5)
    conditional = covariance[painted][:, painted] - gain @ covariance[~painted][:, painted]

    def errors(**arguments):
        samples = painted_samples(pipeline, image.reshape(1, 4, 4), mask, number, **arguments)
        of_mean = ((samples.mean(0) - mean) / conditional.diag().sqrt()).square().mean().sqrt()
        return of_mean.item(), ((samples.T.cov() - conditional).norm() / conditional.norm()).item()

    (once, once_cov), (often, often_cov) = errors(resample_steps=1), errors(resample_steps=20)
    assert once > 0.3
    assert often < 0.2
    assert often < 0.5 * once
    # A covariance of 1,500 completions is off by 0.05 to 0.08 by chance.
    assert often_cov < 0.25
    assert often_cov < once_cov
    if scheduler == "consistent":
        assert errors(resample_steps=1, num_inference_steps=200)[0] > 0.3


@pytest.mark.parametrize("name, settings", SOLVERS)
def test_solvers_of_diffusers_paint_what_the_kept_pixels_imply(name, settings):
    """Of smooth images, the painted part of a bright one is brighter than of a dark one; what is kept is exact.

    Without resampling the difference is small: 0.05 from the mean of 0.5, of a deviation of 0.1.  The standard error of
    one image's mean is at most 0.1 / sqrt(50) = 0.014.
    """
    pipeline = gaussian()
    pipeline.scheduler = getattr(diffusers, name).from_config(pipeline.scheduler.config, **settings)
    mask = torch.zeros(1, 4, 4)
    mask[..., 3:] = 1
    bright, dark = torch.full((1, 4, 4), 0.7), torch.full((1, 4, 4), 0.3)
    images = pipeline(
        [bright, dark], mask, num_images_per_image=50, num_inference_steps=30, generator=seeded(), output_type="pt"
    ).images
    assert torch.equal(images[:50, ..., :3], bright[..., :3].expand(50, -1, -1, -1))
    assert torch.equal(images[50:, ..., :3], dark[..., :3].expand(50, -1, -1, -1))
    means = images[..., 3].reshape(2, -1).mean(1)
    assert means[0] - means[1] > 4 * 0.014 * math.sqrt(2) > 0.05
    with pytest.raises(ValueError, match=f"{name} remembers its last steps"):
        pipeline(bright, mask, resample_steps=2)


@pytest.mark.parametrize("scheduler", [*SCHEDULERS, *SOLVERS], ids=lambda s: s if isinstance(s, str) else s[0])
def test_an_edit_keeps_what_is_larger_than_the_noise(scheduler):
    """Where noise is far below the data's deviation an edit returns the sketch, where it is far above a sample."""
    pipeline = gaussian(scheduler if isinstance(scheduler, str) else "consistent")
    if not isinstance(scheduler, str):
        name, settings = scheduler
        pipeline.scheduler = getattr(diffusers, name).from_config(pipeline.scheduler.config, **settings)
    sketch = torch.full((1, 1, 4, 4), 0.75)
    everything = torch.ones(1, 4, 4)
    distances, counts = {}, {}
    for sigma in (0.005, 0.1, SIGMA_MAX):
        pipeline.unet.evaluations = 0
        samples = painted_samples(pipeline, sketch, everything, 300, start_sigma=sigma, resample_steps=1)
        distances[sigma] = (samples.mean() - 0.5).item()
        counts[sigma] = pipeline.unet.evaluations
        assert counts[sigma] == pipeline.num_timesteps
    # 16 correlated pixels of 300 images: one image's mean has a deviation of 0.08
    assert abs(distances[0.005] - 0.25) < 0.02
    assert 0.03 < distances[0.1] < 0.24
    assert abs(distances[SIGMA_MAX]) < 5 * 0.08 / math.sqrt(300) + 0.25 * 0.1
    assert 1 <= counts[0.005] < counts[0.1] < counts[SIGMA_MAX] == pipeline.num_timesteps


def test_an_edit_starts_from_the_image_at_the_first_level_not_above(pipe, image):
    starts = []
    pipe.unet.register_forward_pre_hook(lambda module, arguments: starts.append((arguments[0], float(arguments[1]))))
    latents = torch.randn(1, 3, 8, 8)
    pipe(image, start_sigma=1.0, latents=latents, sigmas=[5.0, 2.0, 0.7, 0.1])
    given = torch.from_numpy(np.array(image)).movedim(-1, 0).float() / 255 * 2 - 1
    assert starts[0][1] == pytest.approx(0.7)
    torch.testing.assert_close(starts[0][0][0], given + 0.7 * latents[0])


# What is kept


@pytest.mark.parametrize("resample_steps", [1, 3])
def test_kept_pixels_come_back_exactly(pipe, image, mask, resample_steps):
    keep = np.asarray(mask) == 0
    arguments = {"mask_image": mask, "num_images_per_image": 2, "resample_steps": resample_steps, "class_labels": 1}
    for picture in pipe(image, generator=seeded(), **arguments).images:
        assert np.array_equal(np.asarray(picture)[keep], np.asarray(image)[keep])
        assert not np.array_equal(np.asarray(picture)[~keep], np.asarray(image)[~keep])
    floats = torch.rand(3, 8, 8)
    tensors = pipe(floats, output_type="pt", **arguments).images
    assert torch.equal(tensors[:, :, torch.from_numpy(keep)], floats[:, torch.from_numpy(keep)].expand(2, -1, -1))
    arrays = pipe(floats.numpy().transpose(1, 2, 0), output_type="np", **arguments).images
    assert np.array_equal(arrays[1][keep], floats.numpy().transpose(1, 2, 0)[keep])


def test_kept_pixels_have_the_noise_of_every_evaluation(pipe, image):
    """At each evaluation at sigma, kept pixels less the image are N(0, sigma²), anew each time."""
    seen = []
    pipe.unet.register_forward_pre_hook(lambda module, arguments: seen.append((arguments[0], float(arguments[1]))))
    mask = torch.zeros(1, 8, 8)
    mask[0, 0, 0] = 1
    pipe(image, mask, num_images_per_image=20, resample_steps=2, class_labels=0, generator=seeded())
    given = torch.from_numpy(np.array(image)).movedim(-1, 0).float() / 255 * 2 - 1
    noises = [((x - given)[:, :, 1:] / sigma).flatten() for x, sigma in seen]
    assert [sigma for _, sigma in seen] == pytest.approx(
        np.repeat(pipe.scheduler.timesteps.numpy(), [2] * 5 + [1]).tolist()
    )
    for noise in noises:
        assert abs(noise.mean()) < 5 / math.sqrt(len(noise))
        assert abs(noise.std() - 1) < 5 / math.sqrt(2 * len(noise))
    correlations = torch.corrcoef(torch.stack(noises)) - torch.eye(len(noises))
    assert correlations.abs().max() < 5 / math.sqrt(len(noises[0]))


def test_the_way_back_adds_the_variance_that_the_step_removed():
    """With the painted pixels set to 0 after each step, what a repeated step is given is the way back's noise alone."""
    pipeline, seen = gaussian(), []
    pipeline.unet.register_forward_pre_hook(lambda module, arguments: seen.append(arguments[0]))
    mask = torch.zeros(1, 4, 4)
    mask[..., 1:] = 1
    sigmas = [3.0, 2.0, 0.5, 0.1]
    pipeline(
        torch.zeros(1, 4, 4), mask, num_images_per_image=1000, resample_steps=2, sigmas=sigmas, generator=seeded(),
        callback_on_step_end=lambda pipe, i, sigma, tensors: {"latents": torch.zeros_like(tensors["latents"])},
    )  # fmt: skip
    for i in range(3):
        noise = seen[2 * i + 1][..., 1:].double()
        expected = sigmas[i] ** 2 - sigmas[i + 1] ** 2
        tolerance = 5 * expected * math.sqrt(2 / noise.numel())
        assert noise.square().mean().item() == pytest.approx(expected, abs=tolerance)


def test_completions_differ_and_come_image_by_image(pipe, image, mask):
    other = Image.fromarray(255 - np.asarray(image))
    images = pipe([image, other], mask, num_images_per_image=3, class_labels=[0, 2], generator=seeded()).images
    arrays = np.stack([np.asarray(picture) for picture in images]).astype(int)
    keep = np.asarray(mask) == 0
    for i, given in enumerate([image] * 3 + [other] * 3):
        assert np.array_equal(arrays[i][keep], np.asarray(given)[keep])
    painted = arrays[:, ~keep]
    assert min(np.abs(painted[i] - painted[j]).mean() for i in range(3) for j in range(i)) > 1
    again = pipe([image, other], mask, num_images_per_image=3, class_labels=[0, 2], generator=seeded()).images
    assert all(np.array_equal(np.asarray(a), np.asarray(b)) for a, b in zip(images, again, strict=True))


def test_a_generator_for_each_result_makes_it_independent_of_its_batch(pipe, image, mask):
    shared = {"class_labels": 1, "resample_steps": 2, "output_type": "pt"}
    together = pipe(image, mask, num_images_per_image=2, generator=[seeded(3), seeded(4)], **shared).images
    for i, seed in enumerate((3, 4)):
        alone = pipe(image, mask, generator=seeded(seed), **shared).images
        torch.testing.assert_close(alone[0], together[i], rtol=0, atol=1e-4)


# Arguments


def test_images_and_masks_in_every_form_are_the_same(pipe, image, mask):
    array = np.array(image)
    tensor = torch.from_numpy(array).movedim(-1, 0)
    painted = torch.from_numpy(np.array(mask) > 0)
    settings = {"class_labels": 1, "num_inference_steps": 2, "resample_steps": 1, "output_type": "pt"}
    run = lambda image, mask: pipe(image, mask, generator=seeded(), **settings).images  # noqa: E731
    expected = run(image, mask)
    for given in (array, array[None], array / 255, tensor, tensor[None], tensor.float() / 255, [image], (array,)):
        assert torch.equal(run(given, mask), expected)
    forms = (
        painted, painted[None], painted[None, None], painted.float(), painted.numpy(), painted.numpy()[..., None],
        [mask], mask.convert("RGB"), mask.convert("1"), painted.float() * 0.5, painted.float() * 0.9 + 0.1,
    )  # fmt: skip
    for given in forms:
        assert torch.equal(run(image, given), expected)
    assert torch.equal(run(image.convert("RGBA"), mask), expected)
    batch = pipe([image, image], [mask, mask], class_labels=1).images
    assert len(batch) == 2


def kept(image, channels=1, size=4):
    """What the pipeline keeps of an image: its pixels as floats in [0, 1], `(C, H, W)`."""
    return images_as_tensor("image", image, (channels, size, size))[0]


def grey(value, dtype=np.uint8):
    return np.full((4, 4), value, dtype=dtype)


@pytest.mark.parametrize(
    ("picture", "value"),
    [
        (Image.fromarray(grey(32768, np.uint16)), 128),
        (Image.fromarray(grey(32768, ">u2")), 128),
        (Image.fromarray(grey(32768, np.int32)), 128),
        (grey(32768, np.uint16), 128),
        (grey(32768, ">u2"), 128),
        (torch.from_numpy(grey(32768, np.uint16)), 128),
        (Image.new("LA", (4, 4), (0, 0)), 255),  # nothing to be seen of the black
        (Image.new("LA", (4, 4), (0, 128)), 127),
        (Image.new("RGBA", (4, 4), (255, 0, 0, 0)), 255),
        (Image.new("LAB", (4, 4), (255, 128, 128)), 255),
        (Image.new("1", (4, 4), 1), 255),
    ],
)
def test_a_picture_is_the_same_to_training_and_to_a_pipeline(picture, value):
    assert torch.equal(kept(picture), torch.full((1, 4, 4), value).float() / 255)
    if isinstance(picture, Image.Image):
        file = io.BytesIO()
        picture.save(file, "TIFF")
        for channels in (1, 3):
            trained = decode({"bytes": file.getvalue(), "path": None}, channels=channels)
            assert torch.equal(kept(picture, channels), torch.from_numpy(trained).float() / 255)


def test_a_photograph_on_its_side_is_turned_and_the_caller_s_own_is_left(tmp_path):
    pixels = np.arange(0, 160, 10, dtype=np.uint8).reshape(4, 4)
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(pixels).save(tmp_path / "photo.png", exif=exif)
    with Image.open(tmp_path / "photo.png") as photo:
        assert torch.equal(kept(photo)[0], torch.from_numpy(np.rot90(pixels, -1).copy()).float() / 255)
        assert np.array_equal(np.asarray(photo), pixels) and photo.getexif()[0x0112] == 6


STROKES = np.zeros((4, 4), dtype=np.uint8)
STROKES[:, 2:] = 255


def on_nothing(color):
    """Strokes of one colour on a transparent ground, whose hidden colour is that colour too."""
    drawn = Image.new("RGBA", (4, 4), color)
    drawn.putalpha(Image.fromarray(STROKES))
    return drawn


@pytest.mark.parametrize(
    "mask",
    [
        on_nothing("white"),
        on_nothing("white").convert("LA"),
        Image.fromarray(STROKES // 255),
        Image.fromarray((STROKES // 255).astype(np.uint16)),
        Image.fromarray((STROKES // 255).astype(np.int32)),
        Image.fromarray(STROKES.astype(np.uint16) * 257),
        STROKES // 255,
        STROKES.astype(np.int64) // 255,
        STROKES.astype(np.uint16) * 257,
        torch.from_numpy(STROKES // 255),
        [STROKES // 255, STROKES],
        np.stack([STROKES // 255, STROKES]),
    ],
)
def test_a_mask_marks_what_is_drawn_in_white(mask):
    marked = masks_as_tensor("mask_image", mask, (4, 4))
    assert torch.equal(marked, torch.from_numpy(STROKES > 0).expand_as(marked))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (Image.new("F", (4, 4), 0.5), "image has floating-point pixels.*or give an array of floats"),
        (Image.fromarray(grey(70_000, np.int32)), "image has 32-bit pixels outside 0 ... 65535"),
        (grey(1j, np.complex64), "complex"),
        (grey(200, np.int64), r"bytes \(uint8\) in 0 ... 255"),
    ],
)
def test_pixels_without_an_agreed_range_are_refused(given, message):
    with pytest.raises(ValueError, match=message):
        kept(given)
    with pytest.raises(ValueError, match=message.replace("image has", "mask has")):
        masks_as_tensor("mask", given, (4, 4))


@pytest.mark.parametrize("mask", [on_nothing("black"), STROKES // 255 * 2, Image.new("P", (4, 4))])
def test_a_mask_without_white_says_what_counts(mask):
    with pytest.raises(
        ValueError, match=r"255 of bytes\) is painted.*transparent is kept; the brightest value.* [02]\."
    ):
        masks_as_tensor("mask", mask, (4, 4))


def test_number_of_evaluations(pipe, image, mask):
    for steps, repeats in ((6, 1), (6, 4), (1, 4)):
        calls = []
        handle = pipe.unet.register_forward_hook(lambda *_, calls=calls: calls.append(1))
        pipe(image, mask, num_inference_steps=steps, resample_steps=repeats)
        assert len(calls) == pipe.num_timesteps == repeats * (steps - 1) + 1
        handle.remove()


def test_langevin_dynamics_and_solvers_and_edits_take_each_step_once_by_default(image):
    pipeline = gaussian()
    grey = image.convert("L").resize((4, 4))
    half = torch.tensor([[0, 0, 1, 1]]).expand(4, 4)
    for scheduler, arguments, repeats in (
        (SCHEDULERS["consistent"](), {"mask_image": half}, DEFAULT_RESAMPLE_STEPS),
        (SCHEDULERS["consistent"](), {"start_sigma": 3.0}, 1),
        (SCHEDULERS["langevin"](), {"mask_image": half}, 1),
        (diffusers.EDMEulerScheduler(sigma_min=0.01, sigma_max=3.0), {"mask_image": half}, 1),
    ):
        pipeline.scheduler = scheduler
        pipeline(grey, num_inference_steps=11, **arguments)
        assert pipeline.num_timesteps == repeats * 10 + 1


def test_unknown_classes_are_the_null_class_and_labels_are_given_per_image(pipe, image, mask):
    seen = []
    pipe.unet.register_forward_pre_hook(
        lambda module, args, kwargs: seen.append(kwargs["class_labels"].tolist()), with_kwargs=True
    )
    for labels, expected in (
        (None, [3, 3, 3, 3]), (2, [2, 2, 2, 2]), ([0, 1], [0, 0, 1, 1]), ([0, 1, 2, 0], [0, 1, 2, 0]),
    ):  # fmt: skip
        pipe([image, image], mask, num_images_per_image=2, class_labels=labels, num_inference_steps=1)
        assert seen[-1] == expected
    seen.clear()
    guided = {"guidance_scale": 2.0, "guidance_interval": (0.5, 1.5)}
    pipe(image, mask, class_labels=1, sigmas=[2.0, 1.0, 0.1], resample_steps=1, **guided)
    assert seen == [[1], [3, 1], [1]]


def test_callback_can_stop_and_the_kept_pixels_are_kept(pipe, image, mask):
    seen = []

    def callback(pipeline, i, sigma, tensors):
        seen.append(i)
        pipeline.interrupt = i == 2
        return {"latents": torch.zeros_like(tensors["latents"])}

    (picture,) = pipe(image, mask, callback_on_step_end=callback).images
    assert seen == [0, 1, 2]
    keep = np.asarray(mask) == 0
    assert np.array_equal(np.asarray(picture)[keep], np.asarray(image)[keep])
    assert (np.asarray(picture)[~keep] == 128).all()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"mask_image": None}, "Neither mask_image nor start_sigma"),
        ({"image": Image.new("RGB", (9, 8))}, r"shape \(8, 9, 3\).*resize\(\(8, 8\)\)"),
        ({"image": torch.zeros(1, 8, 8)}, "3 channel"),
        ({"image": torch.full((3, 8, 8), math.nan)}, r"\[0, 1\]"),
        ({"image": torch.full((3, 8, 8), -0.1)}, "-0.1"),
        ({"image": []}, "empty list"),
        ({"image": torch.zeros(0, 3, 8, 8)}, "shape"),
        ({"mask_image": torch.zeros(8, 8)}, "no white pixel"),
        ({"mask_image": torch.ones(2, 8, 8)}, "2 masks were given for 1 image"),
        ({"mask_image": Image.new("L", (4, 4), 255)}, r"\(4, 4\)"),
        ({"num_images_per_image": 0}, "num_images_per_image"),
        ({"num_images_per_image": True}, "num_images_per_image"),
        ({"resample_steps": 0}, "resample_steps"),
        ({"resample_steps": 1.5}, "resample_steps"),
        ({"start_sigma": 0}, "start_sigma"),
        ({"start_sigma": math.nan}, "start_sigma"),
        ({"start_sigma": "1"}, "start_sigma must be a finite number above 0; got '1'"),
        ({"image": np.array([["a"]])}, "image is an array of <U1; give one of numbers"),
        ({"mask_image": torch.tensor(1.0)}, r"mask_image has shape \(\)"),
        ({"mask_image": np.ones(64)}, r"mask_image has shape \(64,\)"),
        ({"start_sigma": 1e-4}, "below the last noise level"),
        ({"class_labels": [0, 1]}, "class_labels"),
        ({"class_labels": 7}, r"0 \.\.\. 2"),
        ({"guidance_scale": -1.0}, "guidance_scale"),
        ({"output_type": "jpeg"}, "output_type"),
        ({"latents": torch.zeros(1, 1, 8, 8)}, "latents have shape"),
        ({"generator": [torch.Generator()] * 2}, "2 generators"),
    ],
)
def test_bad_arguments_are_refused_before_any_evaluation(pipe, image, mask, arguments, message):
    calls = []
    pipe.unet.register_forward_hook(lambda *_: calls.append(1))
    with pytest.raises(ValueError, match=message):
        pipe(**{"image": image, "mask_image": mask} | arguments)
    assert not calls


def test_other_kinds_of_images_and_models_without_a_null_class_are_refused(pipe, image, mask):
    with pytest.raises(TypeError, match="got str"):
        pipe("digit.png", mask)
    network = UNet2DModel(
        sample_size=8, in_channels=3, out_channels=3, block_out_channels=(8, 8), norm_num_groups=4, layers_per_block=1,
        time_embedding_type="fourier", down_block_types=("DownBlock2D", "DownBlock2D"), num_class_embeds=3,
        up_block_types=("UpBlock2D", "UpBlock2D"),
    )  # fmt: skip
    pipeline = NCSNInpaintPipeline(network, ConsistentAnnealedScheduler(4, sigma_max=5.0))
    with pytest.raises(ValueError, match="without one. Give class_labels"):
        pipeline(image, mask)


# Folders


def test_it_shares_the_parts_and_is_saved_as_an_ordinary_folder(pipe, tmp_path):
    plain = NCSNPipeline(pipe.unet, pipe.scheduler, data_min=-1.0, data_max=1.0)
    shared = NCSNInpaintPipeline.from_pipe(plain)
    assert shared.unet is plain.unet
    assert (shared.config.data_min, shared.config.data_max) == (-1.0, 1.0)
    shared.save_pretrained(tmp_path / "inpaint")
    plain.save_pretrained(tmp_path / "plain")
    written = {path.relative_to(tmp_path / "inpaint") for path in (tmp_path / "inpaint").rglob("*")}
    assert written == {path.relative_to(tmp_path / "plain") for path in (tmp_path / "plain").rglob("*")}
    index = json.loads((tmp_path / "inpaint" / "model_index.json").read_text(encoding="utf-8"))
    assert index == json.loads((tmp_path / "plain" / "model_index.json").read_text(encoding="utf-8"))
    assert type(NCSNPipeline.from_pretrained(tmp_path / "inpaint")) is NCSNPipeline
    loaded = NCSNInpaintPipeline.from_pipe(NCSNPipeline.from_pretrained(tmp_path / "inpaint"))
    assert loaded.config.data_min == -1.0
