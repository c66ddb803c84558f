"""The objectives of training: what they have in common, how their draws count, and what is measured instead."""

import math

import pytest
import torch

from ncsn_pipeline import NCSNModel, NCSNv2Model, ScoreUNet, geometric_noise_levels
from ncsn_pipeline.data import ImageData, load_images, to_range
from ncsn_pipeline.noise_levels import (
    DiscreteSigmas,
    LogNormalSigmas,
    LogUniformSigmas,
    MixtureSigmas,
    multi_level_sliced_score_matching,
)
from ncsn_pipeline.training.config import TrainConfig
from ncsn_pipeline.training.draws import BatchDraws, Purpose, Stream, generator_for
from ncsn_pipeline.training.objective import Objective, held_out_loss, prepare_images

LEVELS = {"sigma_min": 0.5, "sigma_max": 2.0, "sigma_data": 0.3, "loss_weight": "sigma_squared"}
ONE_LEVEL = {"sigma_min": 0.5, "sigma_max": 0.5, "objective": "single_sigma"}
NETWORKS = {
    "score_unet": lambda: ScoreUNet(8, 1, (8, 16), sigma_data=0.3),
    "ncsn": lambda: NCSNModel(8, 1, 4, num_levels=3, sigma_min=0.5, sigma_max=2.0),
    "ncsnv2": lambda: NCSNv2Model(8, 1, 4),
    "ncsnv2_deepest": lambda: NCSNv2Model(16, 1, 4, architecture="ncsnv2_deepest"),
}


def settings(**changes):
    return TrainConfig(dataset_name="digits", **(LEVELS | changes))


def draws(first=0, count=8, total=8, step=0):
    return BatchDraws(0, step, first, count, total)


@pytest.fixture
def network():
    """A small U-Net whose output is not the zero that it starts with."""
    network = ScoreUNet(8, 1, (8, 16), sigma_data=0.3)
    torch.nn.init.normal_(network.conv_out.weight, std=0.1)
    return network


def training_losses(objective, network, batch, draws):
    """The losses of a training batch, at the noise levels drawn for it."""
    return objective(network, batch, draws, objective.levels(draws))


@pytest.fixture
def images():
    return torch.randint(0, 256, (8, 1, 8, 8), dtype=torch.uint8)


def test_single_sigma_is_denoising_at_that_sigma(network, images):
    batch = {"image": images}
    single = training_losses(Objective(settings(**ONE_LEVEL)), network, batch, draws())
    denoising = Objective(settings())(network, batch, draws(), torch.full((8,), 0.5))
    assert torch.equal(single, denoising)
    assert not torch.allclose(single, training_losses(Objective(settings()), network, batch, draws()))


def test_sliced_and_denoising_agree_in_expectation(network, images):
    """Along one direction, over 60 draws, the gradients differ by less than 5 standard errors; so do the losses."""
    images, steps = images.repeat(4, 1, 1, 1), 60
    parameters = list(network.parameters())

    def loss_and_gradient(name, step):
        objective = Objective(settings(objective=name))
        loss = training_losses(objective, network, {"image": images}, draws(0, 32, 32, step)).mean()
        gradient = torch.autograd.grad(loss, parameters)
        return loss.detach(), torch.cat([part.flatten() for part in gradient])

    direction = loss_and_gradient("denoising", steps)[1]
    direction = direction / direction.norm()
    found = {
        objective: [
            (loss, gradient @ direction) for loss, gradient in (loss_and_gradient(objective, i) for i in range(steps))
        ]
        for objective in ("denoising", "sliced")
    }
    denoising, sliced = (torch.tensor(found[objective]) for objective in ("denoising", "sliced"))
    difference = denoising - sliced
    standard_error = difference.std(0) / math.sqrt(steps)
    expected = torch.tensor([0.5, 0.0])  # lambda / (2 sigma²) a dimension; the gradient of a constant
    assert ((difference.mean(0) - expected).abs() <= 5 * standard_error).all()
    assert denoising[:, 1].mean() > 10 * standard_error[1]  # the gradient is far larger than what is tolerated


@pytest.mark.parametrize("name", NETWORKS)
def test_gradient_of_the_sliced_loss_is_its_derivative(name):
    """By central differences along one direction, in float64: second derivatives pass attention and in-place steps."""
    network = NETWORKS[name]().double()
    for parameter in network.parameters():
        parameter.data.add_(torch.randn_like(parameter), alpha=0.05)
    size = network.config.sample_size
    x, noise, v = torch.randn(3, 2, 1, size, size, dtype=torch.float64)
    sigma = torch.tensor([0.5, 1.0], dtype=torch.float64)
    direction = [torch.randn_like(parameter) for parameter in network.parameters()]

    def loss():
        return multi_level_sliced_score_matching(
            lambda x, sigma: network(x, sigma).sample, x, sigma, noise=noise, projections=v.sign()
        ).sum()

    def moved(epsilon):
        for parameter, part in zip(network.parameters(), direction, strict=True):
            parameter.data.add_(part, alpha=epsilon)

    gradient = torch.autograd.grad(loss(), list(network.parameters()))
    along = sum((g * part).sum() for g, part in zip(gradient, direction, strict=True)).item()
    epsilon, values = 1e-8, []  # so small because the second derivative of ELU jumps at 0
    for step in (epsilon, -2 * epsilon):
        moved(step)
        values.append(loss().item())
    assert along == pytest.approx((values[0] - values[1]) / (2 * epsilon), rel=1e-5)
    assert abs(along) > 1e-3


def test_sliced_training_lowers_the_denoising_loss_at_every_level():
    """Never shown its noise, the network learns to remove it: 40 updates on the built-in digits."""
    data = load_images("digits")
    sd = data.mean_and_std()[1]
    objective = Objective(settings(objective="sliced", sigma_min=0.1, sigma_data=sd, num_validation_images=296))
    network = ScoreUNet(8, 1, (8, 16), sigma_data=sd, data_mean=data.mean_and_std()[0])
    before = held_out_loss(objective, network, data, False)
    optimizer = torch.optim.AdamW(network.parameters(), lr=3e-3, betas=(0.9, 0.99))
    for step in range(40):
        chosen = data.subset(torch.arange(32 * step, 32 * (step + 1)) % len(data))
        optimizer.zero_grad()
        training_losses(objective, network, {"image": chosen.images}, draws(0, 32, 32, step)).mean().backward()
        optimizer.step()
    after = held_out_loss(objective, network, data, False)
    assert all(after[band] < 0.9 * before[band] for band in before)


@pytest.mark.parametrize(
    "changes", [{}, {"objective": "sliced", "num_projections": 2}, ONE_LEVEL], ids=["denoising", "sliced", "single"]
)
def test_loss_does_not_depend_on_how_a_step_is_cut(network, images, changes):
    objective = Objective(settings(random_flip=True, uniform_dequantization=True, **changes))
    whole = training_losses(objective, network, {"image": images}, draws())
    parts = [
        training_losses(objective, network, {"image": images[first : first + count]}, draws(first, count))
        for first, count in ((0, 3), (3, 5))
    ]
    torch.testing.assert_close(torch.cat(parts), whole, rtol=1e-4, atol=1e-5)
    assert not torch.allclose(whole, training_losses(objective, network, {"image": images}, draws(step=1)))


def test_projections_are_averaged(network, images):
    """Two directions give the mean of what each gives."""
    objective = Objective(settings(objective="sliced", num_projections=2))
    x, sigma, place = to_range(images), torch.ones(8), draws()
    score = lambda x, sigma: network(x, sigma).sample  # noqa: E731
    v = place.rademacher((2, 1, 8, 8), "cpu").transpose(0, 1)
    noise = place.normal((1, 8, 8), "cpu", Stream.NOISE)
    each = [multi_level_sliced_score_matching(score, x, sigma, noise=noise, projections=one) for one in v]
    torch.testing.assert_close(objective.sliced(score, x, sigma, place), (each[0] + each[1]) / 2, rtol=1e-4, atol=1e-4)
    assert not torch.allclose(each[0], each[1])


def test_levels_are_drawn_from_the_distribution_that_is_named():
    within = {"sigma_min": 0.5, "sigma_max": 2.0}
    lognormal, loguniform = LogNormalSigmas(-0.2, 0.7, **within), LogUniformSigmas(**within)
    expected = {
        "lognormal": lognormal,
        "loguniform": loguniform,
        "mixture": MixtureSigmas(lognormal, loguniform, 0.6),
        "levels": DiscreteSigmas(geometric_noise_levels(2.0, 0.5, 7).tolist()),
    }
    shape = {"sigma_log_mean": -0.2, "sigma_log_std": 0.7, "sigma_lognormal_fraction": 0.6, "num_levels": 7}
    for name, distribution in expected.items():
        objective = Objective(settings(sigma_distribution=name, **shape))
        assert objective.draw_sigma == distribution
        whole = distribution(8, generator_for(0, Purpose.TRAINING, 0, Stream.LEVELS))
        assert torch.equal(objective.levels(draws(2, 4)), whole[2:6])


def test_flips_are_mirror_images_of_every_other_picture():
    images = torch.arange(256, dtype=torch.uint8).reshape(1, 1, 16, 16).repeat(400, 1, 1, 1)
    place = draws(count=400, total=400)
    plain = prepare_images(images, settings(), place, flip=False)
    assert torch.equal(plain, to_range(images))
    flipped = prepare_images(images, settings(), place, flip=True)
    is_flipped = (flipped == plain.flip(3)).flatten(1).all(1)
    assert (is_flipped | (flipped == plain).flatten(1).all(1)).all()
    assert is_flipped.float().mean().item() == pytest.approx(0.5, abs=5 * 0.5 / math.sqrt(400))
    again = prepare_images(images[100:150], settings(), draws(100, 50, 400), flip=True)
    assert torch.equal(again, flipped[100:150])


@pytest.mark.parametrize("data_min", [0.0, -1.0])
def test_dequantization_spreads_each_byte_over_its_own_interval(data_min):
    images = torch.arange(256, dtype=torch.uint8).reshape(1, 1, 16, 16).repeat(40, 1, 1, 1)
    config = settings(uniform_dequantization=True, data_min=data_min)
    x = prepare_images(images, config, draws(count=40, total=40), flip=False)
    spread = (x.double() - data_min) / (1 - data_min) * 256 - images
    n = spread.numel()
    assert spread.min() > -1e-4
    assert spread.max() < 1 + 1e-4
    assert spread.mean().item() == pytest.approx(0.5, abs=5 * math.sqrt(1 / 12 / n))
    assert spread.var().item() == pytest.approx(1 / 12, abs=5 * math.sqrt(1 / 180 / n))


def test_what_is_measured_is_the_denoising_loss_whatever_is_minimised(network, images):
    data = ImageData(images)
    measured = [
        held_out_loss(Objective(settings(num_validation_images=64, **changes)), network, data, False)
        for changes in ({}, {"objective": "sliced"}, {"random_flip": True})
    ]
    assert measured[0] == measured[1] == measured[2]
    assert len(measured[0]) == 9


def test_measured_levels_are_those_of_the_schedule(network, images):
    data, seen = ImageData(images), set()

    def watched(x, sigma, class_labels=None):
        seen.update(sigma.tolist())
        return network(x, sigma)

    watched.device = network.device
    levels = {"sigma_distribution": "levels", "num_levels": 10, "num_validation_images": 200}
    numbers = held_out_loss(Objective(settings(**levels)), watched, data, False)
    assert seen == set(geometric_noise_levels(2.0, 0.5, 10).tolist())
    assert list(numbers)[:3] == ["held_out/loss", "held_out/sigma 0.5", "held_out/sigma 0.58"]
    assert len(numbers) == 9

    numbers = held_out_loss(Objective(settings(num_validation_images=16, **ONE_LEVEL)), network, data, False)
    assert list(numbers) == ["held_out/loss", "held_out/sigma 0.5"]
    assert numbers["held_out/loss"] == numbers["held_out/sigma 0.5"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"network": "ncsnv2"}, "takes no labels. Give --no-use_labels"),
        ({"network": "ncsnv2", "use_labels": False, "data_min": -1.0}, r"takes images in \[0, 1\]"),
        ({"network": "ncsnv2", "attention_levels": (1,)}, "attention_levels = .* no effect with network ncsnv2"),
        ({"network": "ncsnv2", "block_out_channels": (8, 16)}, "block_out_channels = .* only with score_unet"),
        ({"network": "ncsn", "use_labels": False}, "sigma_distribution is mixture. Set it to levels"),
        ({"network": "resnet"}, "network is 'resnet'; it should be 'score_unet', 'ncsn'"),
        ({"base_channels": 8}, "base_channels = 8 has no effect with network score_unet, only with ncsn or ncsnv2"),
        ({"base_channels": 0, "network": "ncsnv2"}, "base_channels is 0; it should be greater than or equal to 1"),
        ({"num_projections": 2}, "num_projections = 2 has no effect with objective denoising"),
        ({"objective": "sliced", "num_projections": 0}, "num_projections is 0; it should be greater than"),
        ({"objective": "sliced", "mixed_precision": "fp16"}, "underflows in fp16"),
        ({"objective": "single_sigma"}, "trains at one level, sigma_min = 0.5; sigma_max is 2.0"),
        (ONE_LEVEL | {"num_levels": 10}, "num_levels = 10 has no effect with objective single_sigma"),
        (ONE_LEVEL | {"sigma_distribution": "levels"}, "sigma_distribution = levels has no effect"),
        ({"sigma_max": 0.5}, "sigma_max must exceed sigma_min"),
        ({"step_size": 1e-3}, "step_size = 0.001 has no effect with scheduler consistent"),
        ({"denoise": False}, "denoise = False has no effect"),
        ({"scheduler": "annealed_langevin", "step_size": 0.5}, r"within \(0, 2 sigma_min²\) = \(0, 0.5\)"),
        (
            {"scheduler": "annealed_langevin", "initial": "zeros"},
            "initial is .zeros.; it should be .normal.",
        ),
        ({"adam_epsilon": 0.0}, "adam_epsilon is 0.0; it should be greater than 0"),
        ({"max_grad_norm": -1.0}, "max_grad_norm is -1.0; it should be greater than or equal to 0"),
    ],
)
def test_settings_that_make_no_sense_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        settings(**changes)
