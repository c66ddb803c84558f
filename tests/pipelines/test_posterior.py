"""Images given a measurement: the right law in the given units, whatever the network's are, and errors in words."""

import math

import numpy as np
import pytest
import torch
from diffusers import HeunDiscreteScheduler
from PIL import Image

from ncsn_pipeline import (
    AnnealedLangevinScheduler,
    ConsistentAnnealedScheduler,
    GaussianMixture,
    NCSNPipeline,
    NCSNPosteriorPipeline,
)
from ncsn_pipeline.guidance.measurements import average_pooling, mask
from ncsn_pipeline.sampling import probed_denoiser_error
from tests.known_posteriors import KnownPosterior
from tests.pipelines.exact_network import CorrelatedGaussian
from tests.pipelines.small_network import pipeline_in_colour

LEFT = torch.zeros(4, 4, dtype=torch.bool)
LEFT[:, :2] = True


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def gaussian(data_min=0.0, data_max=1.0, scheduler=None):
    """Exact scores of images with correlated pixels; those in [data_min, data_max] are the ones in [0, 1], scaled."""
    scale = data_max - data_min
    network = CorrelatedGaussian(mean=data_min + 0.5 * scale, std=0.1 * scale)
    pipe = NCSNPosteriorPipeline(
        network, scheduler or ConsistentAnnealedScheduler(40, 0.003 * scale, 3.0 * scale), data_min, data_max
    )
    pipe.set_progress_bar_config(disable=True)
    return pipe


def known(operator, noise_std):
    """The posterior in given units, and a measurement, `(1, *M)`."""
    network = CorrelatedGaussian()
    covariance = network.covariance + 1e-12 * torch.eye(16).double()
    density = GaussianMixture(torch.full((1, 16), 0.5).double(), covariance[None])
    matrix = operator(torch.eye(16).double().reshape(16, 1, 4, 4)).flatten(1).mT
    y = operator(density.sample(1, generator=seeded()).reshape(1, 1, 4, 4))
    y = y + noise_std * torch.randn(y.shape, generator=seeded(1), dtype=y.dtype)
    return KnownPosterior(density, matrix, noise_std, y.flatten()), y


@pytest.mark.parametrize(("data_min", "data_max"), [(0.0, 1.0), (-1.0, 1.0), (-2.0, 3.0)])
def test_heun_on_mmps_samples_the_posterior_in_given_units(data_min, data_max):
    """Means and covariances within 5 standard errors of 1,000 samples, for any units of the network."""
    truth, y = known(average_pooling(2), 0.05)
    levels = {"sigma_min": 0.003, "sigma_max": 3.0}
    levels = {name: value * (data_max - data_min) for name, value in levels.items()}
    scheduler = HeunDiscreteScheduler.from_config(
        ConsistentAnnealedScheduler(40, **levels).config, use_exponential_sigmas=True
    )
    result = gaussian(data_min, data_max, scheduler)(
        y, average_pooling(2), 0.05, 1000, "mmps", generator=seeded(), output_type="raw"
    )
    samples = result.images.double().flatten(1)
    assert max(truth.deviations(samples)) < 5
    torch.testing.assert_close(result.mean.flatten().double(), samples.mean(0), rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(result.std.flatten().double(), samples.std(0), rtol=1e-5, atol=1e-5)
    missed = average_pooling(2)(result.images) - y
    fidelity = missed.square().flatten(1).mean(1) / 0.05**2
    torch.testing.assert_close(result.fidelity.double(), fidelity[None].double(), rtol=1e-4, atol=1e-4)


def test_twisted_samples_the_posterior():
    truth, y = known(average_pooling(2), 0.05)
    pipe = gaussian()
    result = pipe(
        y, average_pooling(2), 0.05, 1000, "twisted", generator=seeded(), output_type="raw", num_inference_steps=60
    )
    assert truth.bias(result.images.double().flatten(1))[0] < 0.5
    assert result.evaluations == 60 + 1


@pytest.mark.parametrize("method", ["annealed", "pigdm", "mmps", "twisted"])
def test_without_noise_images_meet_y(method):
    _, y = known(average_pooling(2), 0.0)
    images = gaussian()(y, average_pooling(2), 0, 3, method, generator=seeded(), output_type="raw").images
    assert images.isfinite().all()
    assert (average_pooling(2)(images) - y).abs().max() < 1e-5


def test_every_measurement_gets_its_own_samples():
    """B K images, those of the first measurement first; the known half is kept nearly, the other half varies."""
    _, y = known(mask(LEFT), 0.01)
    both = torch.cat([y, 1 - y])
    result = gaussian()(both, mask(LEFT), 0.01, 3, generator=seeded(), output_type="pt")
    kept = mask(LEFT)(result.images).flatten(1)
    assert result.images.shape == (6, 1, 4, 4) and result.mean.shape == result.std.shape == (2, 1, 4, 4)
    assert (kept - both.flatten(1).repeat_interleave(3, dim=0)).abs().max() < 6 * 0.01
    assert result.std[:, :, ~LEFT].mean() > 3 * result.std[:, :, LEFT].mean()


@pytest.fixture
def pipe():
    """A network with three classes, in colour, from -1 to 1."""
    return pipeline_in_colour(NCSNPosteriorPipeline)


def small(pipe, **arguments):
    given = {"y": torch.full((1, 3, 4, 4), 0.4), "operator": average_pooling(2), "noise_std": 0.1, "output_type": "pt"}
    return pipe(**(given | {"num_images_per_measurement": 2, "generator": seeded()} | arguments))


@pytest.mark.parametrize(
    ("method", "settings", "each"),
    [
        ("annealed", {}, 1),
        ("dps", {}, 2),
        ("pigdm", {}, 2),
        ("mmps", {"iterations": 3}, 1 + 3),
        ("twisted", {"num_particles": 4}, 1),
    ],
)
def test_evaluations_are_those_of_the_network_and_back(pipe, method, settings, each):
    """Counted where they happen: forward calls by a hook of the network, backward passes by a gradient's."""
    pipe._denoiser_error(1.0)  # the table by probes is made once, and not counted
    happened = []

    def forward(module, inputs, output):
        happened.append("forward")
        if output[0].requires_grad:
            output[0].register_hook(lambda gradient: happened.append("backward"))

    handle = pipe.unet.register_forward_hook(forward)
    result = small(pipe, method=method, **settings)
    handle.remove()
    assert result.evaluations == len(happened)
    most = each * (6 + (method != "dps"))  # GMRES needs fewer products where it is done
    assert 2 * 7 < len(happened) <= most if method == "mmps" else len(happened) == most


def test_a_call_is_reproducible_and_takes_latents_and_one_generator_per_image(pipe):
    noise = torch.randn(2, 3, 8, 8, generator=seeded(3))
    one, two = (small(pipe, latents=noise, generator=seeded(4)).images for _ in range(2))
    assert torch.equal(one, two)
    # GMRES on an untrained network's Jacobian makes much of the last digit, which depends on how many images there are.
    both = small(pipe, generator=[seeded(5), seeded(6)], method="annealed").images
    alone = small(pipe, generator=seeded(6), num_images_per_measurement=1, method="annealed").images
    torch.testing.assert_close(both[1:], alone)


def test_classes_and_guidance_reach_the_network(pipe):
    """Labels are of measurements: each of the K samples gets its measurement's."""
    seen = []
    pipe.unet.register_forward_pre_hook(
        lambda module, args, kwargs: seen.append(kwargs["class_labels"].tolist()), with_kwargs=True
    )
    pipe._denoiser_error(1.0)
    y = torch.full((2, 3, 4, 4), 0.4)
    for labels, scale, expected in [
        ([2, 0], None, [2, 2, 0, 0]),
        (None, None, [3] * 4),
        (1, 2.0, [3] * 4 + [1] * 4),
    ]:
        seen.clear()
        small(pipe, y=y, class_labels=labels, guidance_scale=scale)
        assert all(one == expected for one in seen)
    seen.clear()
    small(pipe, y=y[:1], class_labels=1, guidance_scale=2.0, guidance_interval=(0.0, 0.5), sigmas=[1.0, 0.2])
    assert [1, 1] in seen and [3, 3, 1, 1] in seen


def test_output_types_and_the_callback(pipe):
    calls = []
    result = small(
        pipe, output_type="pil", callback_on_step_end=lambda pipe, i, sigma, tensors: calls.append(set(tensors)),
        callback_on_step_end_tensor_inputs=["latents", "score", "denoised"],
    )  # fmt: skip
    assert [type(image) for image in result.images] == [Image.Image] * 2 and result.images[0].size == (8, 8)
    assert calls == [{"latents", "score", "denoised"}] * 6
    images, mean, std, fidelity, evaluations = small(pipe, output_type="np", return_dict=False)
    assert isinstance(images, np.ndarray) and images.shape == (2, 8, 8, 3) and evaluations == 14
    assert mean.shape == std.shape == (1, 3, 8, 8) and fidelity.shape == (1, 2)
    raw, latent = (small(pipe, output_type=kind) for kind in ("raw", "latent"))
    torch.testing.assert_close(2 * raw.images - 1, latent.images)
    torch.testing.assert_close(2 * raw.mean - 1, latent.mean)
    assert small(pipe, num_images_per_measurement=1).std.isnan().all()


def test_a_measured_table_takes_the_place_of_probes(pipe):
    calls = []
    pipe.unet.register_forward_hook(lambda *given: calls.append(1))
    assert pipe._denoiser_error(1.0) > 0 and len(calls) == 60  # 40 levels to draw samples, 20 probes
    other = NCSNPosteriorPipeline.from_pipe(pipe)
    other.unet.register_to_config(denoiser_error=[[5.0, 0.3], [0.01, 0.0001]])
    calls.clear()
    assert other._denoiser_error(9.0) == 0.3 and not calls


def test_probes_find_the_error_of_exact_scores():
    """r² of correlated Gaussian pixels: within 5 deviations of 16 probes, which 60 seeds measured; then by 2,000."""
    pipe, variances = gaussian(), torch.linalg.eigvalsh(CorrelatedGaussian().covariance).clamp(min=0)
    pipe.scheduler.register_to_config(sigma_max=3.0, sigma_min=0.003)
    for sigma, deviation in ((1.0, 0.16), (0.1, 0.076), (0.02, 0.042)):
        expected = float((sigma**2 * variances / (sigma**2 + variances)).mean())
        assert pipe._denoiser_error(sigma) == pytest.approx(expected, rel=5 * deviation)
    samples = torch.zeros(2000, 1, 4, 4)
    score = pipe._score(None)
    table = probed_denoiser_error(score, samples, [1.0, 0.1], seeded())
    assert table(0.1) == pytest.approx(float((0.01 * variances / (0.01 + variances)).mean()), rel=0.05)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"noise_std": -1}, "noise_std must be a finite number of at least 0"),
        ({"y": torch.ones(1, 3, 8, 8)}, r"shape \(B, 3, 4, 4\); got shape \(1, 3, 8, 8\)"),
        ({"operator": lambda x: x * math.nan}, "returned values that are not finite"),
        (
            {"y": torch.full((1, 3, 4, 4), 1.7)},
            "holds 1.7 where images in .0, 1. give 0 to 1, .* no image can give",
        ),
        ({"method": "ddrm"}, "method must be one of annealed, dps, pigdm, mmps, twisted; got 'ddrm'"),
        ({"operator": lambda x: x.square()[..., :4, :4]}, "not linear, which pigdm needs. Take method='dps'"),
        ({"iterations": 3}, "pigdm has no iterations"),
        ({"method": "twisted", "scale": 1.0}, "twisted has no scale"),
        ({"method": "twisted", "num_particles": 1}, "num_particles is 1; 2 images per measurement"),
        ({"method": "twisted", "generator": [seeded(), seeded()]}, "one generator for all"),
        ({"num_images_per_measurement": 0}, "num_images_per_measurement must be at least 1"),
        ({"class_labels": [0, 1, 2]}, "3 class_labels were given for 2 images"),
        ({"latents": torch.zeros(1, 3, 8, 8)}, "latents have shape"),
        ({"given": 3}, "given must be a function"),
    ],
)
def test_what_does_not_fit_is_refused_before_anything_is_drawn(pipe, settings, message):
    generator = seeded(1)
    before = generator.get_state()
    pipe.unet.register_forward_pre_hook(lambda *given: pytest.fail("the network was called"))
    with pytest.raises(ValueError, match=message):
        small(pipe, **({"generator": generator} | settings))
    assert torch.equal(generator.get_state(), before)


@pytest.mark.parametrize("method", ["pigdm", "annealed", "dps", "twisted"])
def test_a_network_that_draws_in_few_evaluations_is_refused(pipe, method):
    """Even at the levels that it was made for: it takes noise to an image there, and is no score."""
    pipe.unet.register_to_config(trained_sigmas=[5.0, 1.0])
    pipe.scheduler = ConsistentAnnealedScheduler(sigmas=[5.0, 1.0], eta=1.0)
    pipe.unet.register_forward_pre_hook(lambda *given: pytest.fail("the network was called"))
    with pytest.raises(ValueError, match="A measurement needs a score, and this network is none"):
        small(pipe, method=method)
    plain = NCSNPipeline.from_pipe(pipe)
    for settings, name in [({"given": lambda score: score}, "given"), ({"guidance_scale": 2.0}, "guidance_scale")]:
        with pytest.raises(ValueError, match=f"{name} needs a score, .* take the model that it was made from"):
            plain(1, class_labels=0, **settings)


def test_a_network_that_draws_in_few_evaluations_still_draws_classes(pipe):
    pipe.unet.register_to_config(trained_sigmas=[5.0, 1.0])
    plain = NCSNPipeline.from_pipe(pipe, scheduler=ConsistentAnnealedScheduler(sigmas=[5.0, 1.0], eta=1.0))
    plain.set_progress_bar_config(disable=True)
    assert len(plain(2, class_labels=[0, 1], guidance_scale=1, generator=seeded()).images) == 2


@pytest.mark.parametrize("method", ["dps", "twisted"])
def test_methods_that_need_a_table_refuse_solvers(method):
    pipe = gaussian()
    pipe.scheduler = HeunDiscreteScheduler.from_config(pipe.scheduler.config, use_exponential_sigmas=True)
    _, y = known(average_pooling(2), 0.05)
    with pytest.raises(ValueError, match="which solvers of diffusers do not"):
        pipe(y, average_pooling(2), 0.05, method=method)


def test_dps_takes_nonlinear_operators_and_langevin_levels_keep_their_noise():
    """The contrast of an image, which no matrix measures; levels that are stayed at get no V noise."""
    pipe = gaussian(scheduler=AnnealedLangevinScheduler(20, 0.003, 3.0, steps_per_level=2))
    spread = 0.05
    result = pipe(
        torch.full((1, 1), spread), lambda x: x.flatten(1).std(1, keepdim=True), 0.01, 64, "dps", scale=0.03,
        generator=seeded(), output_type="raw",
    )  # fmt: skip
    free = NCSNPipeline.from_pipe(pipe)(64, seeded(), output_type="raw").images
    off = (result.images.flatten(1).std(1) - spread).abs().mean()
    # 0.39 of it, with a deviation of 0.03 over seeds.
    assert off < 0.55 * (free.flatten(1).std(1) - spread).abs().mean()


def test_probes_are_those_of_the_network_whatever_was_called_before(pipe):
    """r² is kept from call to call: guidance has no part in it, and another network has another."""
    pipe.unet.register_to_config(denoiser_error=None)

    def called(pipe, **arguments):
        return small(pipe, output_type="raw", **arguments).images

    other = NCSNPosteriorPipeline.from_pipe(pipe)
    called(other, guidance_scale=6.0, class_labels=1)
    assert torch.equal(called(other), called(pipe))
    before = pipe._denoiser_error(0.5)
    kept, weight = pipe._table, next(pipe.unet.parameters())
    assert pipe._denoiser_error(0.5) == before and pipe._table is kept
    with torch.no_grad():
        weight.mul_(1.5)  # as training does
    trained = pipe._denoiser_error(0.5)
    assert trained != before
    pipe.unet = type(pipe.unet).from_config(pipe.unet.config)
    assert pipe._denoiser_error(0.5) not in (before, trained)


def test_probes_lie_within_the_schedulers_levels_where_the_network_names_none():
    pipe = gaussian(scheduler=ConsistentAnnealedScheduler(10, 0.01, 0.5))
    pipe._denoiser_error(0.1)
    pipe.scheduler = ConsistentAnnealedScheduler(10, 0.01, 20.0)
    assert pipe._table[2].rows[0][0] == 0.5
    pipe._denoiser_error(0.1)
    assert pipe._table[2].rows[0][0] == 20.0
