"""The updates of a run, computed again by a plain loop: weights, average, losses, learning rates, samples.

Every setting of the optimiser differs from its default, so that none is ignored without notice.
"""

import dataclasses
import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from accelerate.state import AcceleratorState
from PIL import Image
from safetensors.torch import load_file
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from ncsn_pipeline import ConsistentAnnealedScheduler, NCSNPipeline, ScoreUNet
from ncsn_pipeline.data import load_images
from ncsn_pipeline.training import train as training
from ncsn_pipeline.training.config import TrainConfig
from ncsn_pipeline.training.draws import BatchDraws, Purpose, Stream, generator_for

SIGMA_DATA = 0.6  # of the network that the runs start from, not of the pictures
COMMON = {
    "dataset_name": "digits",
    "block_out_channels": (8, 16),
    "sigma_min": 0.05,
    "sigma_max": 4.0,
    "sigma_distribution": "loguniform",
    "num_levels": 5,
    "train_batch_size": 4,
    "learning_rate": 0.02,
    "lr_warmup_steps": 2,
    "lr_decay_steps": 3,
    "max_train_steps": 4,
    "logging_steps": 1,
    "num_validation_images": 64,
    "num_sample_images": 4,
    "seed": 3,
}
# The factors of the learning rate of steps 0 to 3: half of the warm-up, then 3/3, 2/3, 1/3 of the decay.
RATES = (0.5, 1.0, 2 / 3, 1 / 3)
# diffusers' warm-up of the average, 1 - n^(-3/4) for update n, up to `ema_decay`.
AVERAGING = (0.0, 1 - 2**-0.75, 0.5, 0.5)
RUNS = {
    "everything": {
        "data_min": -1.0,
        "adam_beta1": 0.7,
        "adam_beta2": 0.9,
        "adam_epsilon": 1e-3,
        "adam_weight_decay": 1.0,
        "max_grad_norm": 0.9,
        "ema_decay": 0.5,
        "gradient_accumulation_steps": 2,
        "class_dropout": 0.5,
        "random_flip": True,
        "uniform_dequantization": True,
    },
    "little": {
        "adam_epsilon": 1e-3,  # without one, the rounding of gradients that vanish would be as large as any step
        "max_grad_norm": 0.0,
        "use_ema": False,
        "use_labels": False,
        "loss_weight": "sigma_squared",
    },
}


def start_from(folder, config):
    """A network whose output is not the zero of a new one."""
    torch.manual_seed(11)
    classes = 10 if config.use_labels else None
    network = ScoreUNet(8, 1, (8, 16), num_class_embeds=classes, sigma_data=SIGMA_DATA, sigma_min=0.05, sigma_max=4.0)
    torch.nn.init.normal_(network.conv_out.weight, std=0.1)
    scheduler = ConsistentAnnealedScheduler(5, sigma_min=0.05, sigma_max=4.0)
    NCSNPipeline(network, scheduler, data_min=config.data_min).save_pretrained(folder)
    return network


def losses_of(network, config, images, labels, draws, sigma, *, dropped=0.0, flipped=0.0):
    """1/2 |s + z / sigma|² lambda(sigma) / D of each image."""
    of_each = lambda n, generator: torch.rand(n, generator=generator)  # noqa: E731
    mirrored = (draws.whole(of_each, Stream.FLIPS) < flipped).reshape(-1, 1, 1, 1)
    x = torch.where(mirrored, images.flip(3), images).float()
    width = config.data_max - config.data_min
    if config.uniform_dequantization:
        x = config.data_min + width * (x + draws.uniform((1, 8, 8), "cpu", Stream.DEQUANTIZATION)) / 256
    else:
        x = config.data_min + width * x / 255
    if config.use_labels:
        labels = torch.where(draws.whole(of_each, Stream.LABELS) < dropped, 10, labels)
    z, level = draws.normal((1, 8, 8), "cpu"), sigma.reshape(-1, 1, 1, 1)
    score = network(x + level * z, sigma, class_labels=labels if config.use_labels else None).sample
    weight = sigma**2 * ((sigma**2 + SIGMA_DATA**2) / SIGMA_DATA**2 if config.loss_weight == "edm" else 1)
    return 0.5 * (score + z / level).square().sum((1, 2, 3)) * weight / 64


def by_hand(config, network):
    """What a run of these settings gives that starts from `network`: losses of its steps, held-out losses, weights."""
    data, test = load_images("digits"), load_images("digits", split="test")
    size = config.train_batch_size * config.gradient_accumulation_steps
    order = torch.randperm(len(data), generator=generator_for(config.seed, Purpose.ORDER, 0))
    parameters = list(network.parameters())
    average = [p.detach().clone() for p in parameters]
    moments = [(torch.zeros_like(p), torch.zeros_like(p)) for p in parameters]
    beta1, beta2 = config.adam_beta1, config.adam_beta2
    span = np.log(config.sigma_max / config.sigma_min)
    losses, norms = [], []
    for step in range(config.max_train_steps):
        chosen = order[size * step : size * (step + 1)]
        draws = BatchDraws(config.seed, step, 0, size, size)
        sigma = draws.whole(lambda n, g: config.sigma_min * (span * torch.rand(n, generator=g)).exp(), Stream.LEVELS)
        loss = losses_of(
            network, config, data.images[chosen], data.labels[chosen], draws, sigma,
            dropped=config.class_dropout, flipped=0.5 if config.random_flip else 0.0,
        ).mean()  # fmt: skip
        gradients = torch.autograd.grad(loss, parameters, allow_unused=True)
        norm = torch.cat([g.flatten() for g in gradients if g is not None]).norm()
        clipped = min(1.0, config.max_grad_norm / norm.item()) if config.max_grad_norm else 1.0
        rate = config.learning_rate * RATES[step]
        with torch.no_grad():
            for p, g, (m, v), mean in zip(parameters, gradients, moments, average, strict=True):
                g = g * clipped
                m += (1 - beta1) * (g - m)
                v += (1 - beta2) * (g**2 - v)
                p *= 1 - rate * config.adam_weight_decay
                m_hat, v_hat = m / (1 - beta1 ** (step + 1)), v / (1 - beta2 ** (step + 1))
                p -= rate * m_hat / (v_hat.sqrt() + config.adam_epsilon)
                mean += (1 - AVERAGING[step]) * (p - mean)
        losses.append(loss.item())
        norms.append(norm.item())
    raw = [p.detach().clone() for p in parameters]
    with torch.no_grad():
        for p, mean in zip(parameters, average, strict=True):
            p.copy_(mean if config.use_ema else p)
        n = config.num_validation_images
        band, place = torch.arange(n) % 8, torch.rand(n, generator=generator_for(config.seed, Purpose.HELD_OUT_LEVELS))
        sigma = config.sigma_min * (span * (band + place) / 8).exp()
        draws = BatchDraws(config.seed, 0, 0, n, n, Purpose.HELD_OUT)
        held_out = losses_of(network, config, test.images[:n], test.labels[:n], draws, sigma)
    names = [name for name, _ in network.named_parameters()]
    return SimpleNamespace(
        losses=losses, norms=norms, names=names, raw=raw, saved=[p.detach() for p in parameters],
        held_out=[held_out[band == i].mean().item() for i in range(8)],
    )  # fmt: skip


def grid_of(config, folder):
    """Four samples of a saved pipeline in a row, each from noise of its own, class after class."""
    pipeline = NCSNPipeline.from_pretrained(folder)
    pipeline.set_progress_bar_config(disable=True)
    generators = [generator_for(config.seed, Purpose.SAMPLES, number) for number in range(4)]
    images = pipeline(4, generator=generators, class_labels=[0, 1, 2, 3] if config.use_labels else None).images
    return np.concatenate([np.asarray(image).squeeze() for image in images], axis=1).astype(int)


@pytest.fixture(scope="module", params=RUNS)
def both(request, tmp_path_factory):
    """The folder of a run, and the same by hand."""
    folder = tmp_path_factory.mktemp("runs")
    config = TrainConfig(
        **COMMON, **RUNS[request.param], init_from=str(folder / "start"), output_dir=str(folder / "run")
    )
    network = start_from(folder / "start", config)
    start = [p.detach().clone() for p in network.parameters()]
    AcceleratorState._reset_state(reset_partial_state=True)
    training.train(config)
    expected, grid = by_hand(config, network), grid_of(config, folder / "run")
    return SimpleNamespace(config=config, output=folder / "run", start=start, expected=expected, grid=grid)


def assert_moved_alike(both, found, expected):
    """Each tensor differs by less than 1/500 of how far it has moved; those that do not move, of how far others do."""
    moved = [(e - s).norm().item() for e, s in zip(expected, both.start, strict=True)]
    floor = 1e-2 * max(moved)
    for name, e, distance in zip(both.expected.names, expected, moved, strict=True):
        assert (found[name] - e).norm().item() < 2e-3 * (distance + floor), name


def scalars(both, tag):
    log = EventAccumulator(str(both.output / "logs" / "ncsn"), size_guidance={"scalars": 0}).Reload()
    return {event.step: event.value for event in log.Scalars(tag)}


def test_weights_are_those_of_adamw(both):
    """Its betas, epsilon and weight decay, the clipping, the accumulation, the rates, the draws, the loss."""
    found = load_file(both.output / "checkpoint-4" / "model.safetensors")
    assert_moved_alike(both, found, both.expected.raw)
    clipped = {norm > both.config.max_grad_norm for norm in both.expected.norms}
    assert clipped == {True, False} or not both.config.max_grad_norm


def test_saved_pipeline_holds_the_average(both):
    """Or, without one, the weights themselves."""
    found = load_file(both.output / "unet" / "diffusion_pytorch_model.safetensors")
    assert_moved_alike(both, found, both.expected.saved)
    distance = sum((s - r).norm() for s, r in zip(both.expected.saved, both.expected.raw, strict=True))
    assert distance > 1 if both.config.use_ema else distance == 0


def test_logged_losses_and_rates_are_those_of_the_steps(both):
    assert list(scalars(both, "train/loss").values()) == pytest.approx(both.expected.losses, rel=1e-3)
    rates = [both.config.learning_rate * rate for rate in RATES]
    assert scalars(both, "train/learning_rate") == pytest.approx(dict(enumerate(rates, 1)), rel=1e-6)


def test_held_out_loss_is_that_of_the_saved_network_on_the_test_images(both):
    """With noise of its own, labels kept, nothing mirrored; in every band of noise levels."""
    summary = json.loads((both.output / "training.json").read_text(encoding="utf-8"))
    assert summary["held_out_loss"] == pytest.approx(np.mean(both.expected.held_out), rel=1e-3)
    log = EventAccumulator(str(both.output / "logs" / "ncsn")).Reload()
    bands = [tag for tag in log.Tags()["scalars"] if tag.startswith("held_out/sigma")]
    lowest_first = sorted(bands, key=lambda tag: float(tag.split()[1]))
    assert [log.Scalars(tag)[-1].value for tag in lowest_first] == pytest.approx(both.expected.held_out, rel=1e-3)


def test_grid_is_drawn_from_the_saved_pipeline(both):
    found = np.asarray(Image.open(Path(both.output, "samples", "step-0000004.png")).convert("L")).astype(int)
    found = np.concatenate([found[:64:8, 72 * i : 72 * i + 64 : 8] for i in range(4)], axis=1)  # enlarged, with gaps
    assert both.grid.std() > 20
    assert np.abs(found - both.grid).max() <= 1


@pytest.mark.parametrize("both", ["everything"], indirect=True)
def test_resumed_run_averages_by_its_own_decay(both, tmp_path):
    """With a decay of 0, the average is the weights after the last update."""
    resumed = {"resume_from_checkpoint": str(both.output / "checkpoint-4"), "output_dir": str(tmp_path / "run")}
    config = dataclasses.replace(both.config, **resumed, max_train_steps=5, ema_decay=0.0, num_sample_images=1)
    AcceleratorState._reset_state(reset_partial_state=True)
    training.train(config)
    weights = load_file(tmp_path / "run" / "checkpoint-5" / "model.safetensors")
    saved = load_file(tmp_path / "run" / "unet" / "diffusion_pytorch_model.safetensors")
    assert weights.keys() == saved.keys()
    for name, weight in weights.items():
        torch.testing.assert_close(saved[name], weight, rtol=0, atol=1e-6)
