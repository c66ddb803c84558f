"""The networks of the NCSN papers: the authors' numbers, the ladder's levels, sizes, gradients, saving, and errors."""

import json
import logging
import math
from functools import partial
from pathlib import Path

import pytest
import torch
from diffusers import DiffusionPipeline
from safetensors.torch import load_file
from torch import nn
from torch.nn import functional as F

from ncsn_pipeline import (
    AnnealedLangevinScheduler,
    NCSNModel,
    NCSNPipeline,
    NCSNv2Model,
    as_score_function,
    geometric_noise_levels,
    multi_level_denoising_score_matching,
)
from ncsn_pipeline.networks.modeling_ncsn import (
    ConditionalInstanceNormPlus,
    ConvMeanPool,
    InstanceNormPlus,
    RefineBlock,
    interpolate,
    max_pool_5x5,
    mean_pool_5x5,
)
from ncsn_pipeline.score_matching import sliced_score_matching

REFERENCE = Path(__file__).parents[1] / "data"
NAMES = ("ncsn_28", "ncsnv2_28", "ncsnv2_32", "ncsnv2_deeper_64", "ncsnv2_deepest_64")


def reference_network(name, ema=False):
    """The network of a checkpoint as the authors' code writes it; the EMA shadow holds parameters by name."""
    about = json.loads((REFERENCE / f"{name}.json").read_text(encoding="utf-8"))
    states = torch.load(REFERENCE / f"{name}.pth", weights_only=True)
    settings = {
        "sample_size": about["image_size"],
        "in_channels": about["channels"],
        "base_channels": about["ngf"],
        "sigma_min": about["sigma_end"],
        "sigma_max": about["sigma_begin"],
    }
    if about["family"] == "v1":
        network = NCSNModel(num_levels=about["num_classes"], **settings)
    else:
        network = NCSNv2Model(architecture=name.rpartition("_")[0], **settings)
    weights = states[0] | (states[4] if ema else {})
    weights = {key.removeprefix("module."): value for key, value in weights.items()}
    weights.pop("sigmas", None)
    network.load_state_dict(weights)
    assert sum(parameter.numel() for parameter in network.parameters()) == about["params"]
    return network.eval()


def relative_error(found, expected):
    return ((found - expected).norm() / expected.norm()).item()


def small(kind=NCSNv2Model, **changes):
    return kind(**({"sample_size": 8, "in_channels": 1, "base_channels": 4} | changes)).eval()


# The authors' numbers


@pytest.mark.fixed_seed
@pytest.mark.parametrize(
    ("name", "ema"), [*((name, False) for name in NAMES), *((name, True) for name in NAMES if "v2" in name)]
)
@torch.no_grad()
def test_scores_are_the_authors(name, ema):
    reference = load_file(REFERENCE / f"{name}.io.safetensors")
    network = reference_network(name, ema)
    score = network(reference["x"], reference["sigmas"][reference["labels"]]).sample
    expected = reference["score_ema" if ema else "score"]
    for one, other in zip(score, expected, strict=True):
        assert relative_error(one, other) < 1e-5
        assert ((one - other).abs().max() / other.abs().max()).item() < 1e-5


@pytest.mark.fixed_seed
@pytest.mark.parametrize("denoise", [False, True])
@torch.no_grad()
def test_langevin_trajectory_is_the_authors(denoise):
    reference = load_file(REFERENCE / f"ncsnv2_28.langevin_denoise{int(denoise)}.safetensors")
    network = reference_network("ncsnv2_28")
    scheduler = AnnealedLangevinScheduler(
        sigmas=reference["sigmas"],
        steps_per_level=int(reference["n_steps_each"]),
        step_size=float(reference["step_lr"]),
        denoise=denoise,
    )
    x = reference["x0"]
    assert len(scheduler.timesteps) == len(reference["trajectory"])
    torch.manual_seed(int(reference["seed"]))
    for sigma, expected in zip(scheduler.timesteps, reference["trajectory"], strict=True):
        x = scheduler.step(network(x, sigma).sample, sigma, x).prev_sample
        assert relative_error(x, expected) < 1e-4


@torch.no_grad()
def test_multi_level_loss_is_the_authors():
    reference = load_file(REFERENCE / "ncsnv2_28.dsm.safetensors")
    network = reference_network("ncsnv2_28")
    sigma = reference["sigmas"][reference["labels"]]
    loss = multi_level_denoising_score_matching(
        as_score_function(network), reference["samples"], sigma, noise=reference["noise"]
    ).mean()
    torch.testing.assert_close(loss, reference["loss"].reshape(()), rtol=1e-5, atol=0)


# What is rearranged is what the paper writes


def test_instance_norm_plus_is_the_formula():
    norm = InstanceNormPlus(5).double()
    torch.nn.init.normal_(norm.beta)
    x = torch.randn(3, 5, 6, 7, dtype=torch.float64) * 2 + torch.randn(3, 5, 1, 1)
    means = x.mean((2, 3))
    relative = (means - means.mean(1, keepdim=True)) / (means.var(1, keepdim=True) + 1e-5).sqrt()
    expected = F.instance_norm(x) + (norm.alpha * relative)[:, :, None, None]
    expected = norm.gamma[:, None, None] * expected + norm.beta[:, None, None]
    torch.testing.assert_close(norm(x, None), expected)


def test_pools_are_of_5x5_pixels():
    x = torch.randn(2, 3, 9, 12, dtype=torch.float64)
    assert torch.equal(max_pool_5x5(x), F.max_pool2d(x, 5, stride=1, padding=2))
    torch.testing.assert_close(mean_pool_5x5(x), F.avg_pool2d(x, 5, stride=1, padding=2))


def test_interpolation_by_products_is_bilinear(monkeypatch):
    monkeypatch.setattr(torch.compiler, "is_compiling", lambda: True)
    for height, width in ((7, 5), (4, 4), (1, 1)):
        x = torch.randn(2, 3, height, width, dtype=torch.float64)
        expected = F.interpolate(x, (2 * height, 2 * width), mode="bilinear", align_corners=True)
        torch.testing.assert_close(interpolate(x, 2 * height, 2 * width), expected, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("kernel_size", [1, 3])
def test_convolution_and_mean_are_one_convolution(kernel_size):
    layer = ConvMeanPool(3, 4, kernel_size, padding=kernel_size // 2).double()
    x = torch.randn(2, 3, 6, 10, dtype=torch.float64)
    torch.testing.assert_close(layer(x), F.avg_pool2d(nn.Conv2d.forward(layer, x), 2))


@pytest.mark.parametrize("kind", [NCSNModel, NCSNv2Model])
def test_layout_and_batch_do_not_change_the_score(kind):
    """Any layout of the input gives the same images in the standard one; the input itself is left alone."""
    network = small(kind, in_channels=3).double()
    x = torch.rand(3, 3, 8, 8, dtype=torch.float64)
    before, sigma = x.clone(), torch.tensor([0.01, 0.1, 1.0])
    score = network(x, sigma).sample
    assert torch.equal(x, before)
    assert score.is_contiguous()
    torch.testing.assert_close(network(x.to(memory_format=torch.channels_last), sigma).sample, score)
    alone = torch.cat([network(x[i : i + 1], float(sigma[i]), return_dict=False)[0] for i in range(3)])
    torch.testing.assert_close(alone, score, rtol=1e-6, atol=1e-6)


# Sigma


def test_score_of_ncsnv2_falls_as_one_over_sigma():
    network = small().double()
    x = torch.rand(2, 1, 8, 8, dtype=torch.float64)
    torch.testing.assert_close(network(x, 0.1).sample, 50 * network(x, 5.0).sample)


def test_nearest_level_in_ln_sigma():
    """0.31 is nearer to 0.1 than to 1 by subtraction, but nearer to 1 by ratio: the border is sqrt(0.1)."""
    network = small(NCSNModel, num_levels=3, sigma_min=0.01, sigma_max=1.0).double()
    levels = network._levels(torch.tensor([9.0, 1.0, 0.32, 0.31, 0.1, 0.032, 0.031, 0.01, 0.001]).double())
    assert levels.argmax(1).tolist() == [0, 0, 0, 1, 1, 1, 2, 2, 2]
    assert torch.equal(levels.sort(1).values, torch.tensor([[0.0, 0.0, 1.0]]).double().expand(9, 3))


def test_interpolation_between_levels_is_linear_in_ln_sigma():
    network = small(NCSNModel, sigmas=[2.0, 1.0, 0.1], interpolate_levels=True).double()
    sigma = torch.tensor([5.0, 2.0, 2**0.75, 1.0, 0.1**0.25, 0.1, 0.01]).double()
    expected = torch.tensor(
        [[1, 0, 0], [1, 0, 0], [0.75, 0.25, 0], [0, 1, 0], [0, 0.75, 0.25], [0, 0, 1], [0, 0, 1]]
    ).double()
    torch.testing.assert_close(network._levels(sigma), expected)
    x = torch.rand(2, 1, 8, 8, dtype=torch.float64)
    nearest = small(NCSNModel, sigmas=[2.0, 1.0, 0.1]).double()
    nearest.load_state_dict(network.state_dict())
    for level in (2.0, 1.0, 0.1):
        torch.testing.assert_close(network(x, level).sample, nearest(x, level).sample)
    assert relative_error(network(x, 0.4).sample, nearest(x, 0.4).sample) > 1e-4


def test_the_geometric_ladder_is_the_packages():
    network = small(NCSNModel, num_levels=7, sigma_min=0.02, sigma_max=3.0)
    expected = geometric_noise_levels(3.0, 0.02, 7).double()
    torch.testing.assert_close(torch.tensor(network._log_levels).double().exp(), expected, rtol=1e-6, atol=0)
    given = small(NCSNModel, sigmas=expected.tolist())
    assert (given.config.num_levels, given.config.sigma_max) == (7, expected[0].item())


@pytest.mark.parametrize(
    ("interpolate", "sigma", "warns"),
    [(False, 0.1009, 0), (False, 0.102, 1), (False, 0.3, 1), (True, 0.3, 0), (True, 1.02, 1), (True, 0.0098, 1)],
)
def test_a_sigma_off_the_ladder_gives_one_warning(interpolate, sigma, warns, caplog, monkeypatch):
    monkeypatch.setattr(logging.getLogger("diffusers"), "propagate", True)
    monkeypatch.setattr(logging.getLogger("ncsn_pipeline.networks.modeling_ncsn"), "propagate", True)
    network = small(NCSNModel, num_levels=3, interpolate_levels=interpolate)
    network(torch.rand(3, 1, 8, 8), torch.tensor([1.0, sigma, sigma]))
    messages = [record.getMessage() for record in caplog.records]
    assert len(messages) == warns
    assert all(f"{sigma:.4g}" in message and "not a level" in message for message in messages)


# Sizes, training, compilation


@pytest.mark.parametrize(
    ("size", "architecture", "width"),
    [
        *((size, name, 4) for size in (28, 32, 64, 96) for name in ("ncsn", "ncsnv2", "ncsnv2_deeper")),
        (32, "ncsnv2_deepest", 4),
        (96, "ncsnv2_deepest", 3),
        (256, "ncsnv2_deepest", 2),
    ],
)
@torch.no_grad()
def test_any_size_and_width(size, architecture, width):
    settings = {"sample_size": size, "in_channels": 3, "base_channels": width}
    network = NCSNModel(**settings) if architecture == "ncsn" else NCSNv2Model(architecture=architecture, **settings)
    x = torch.rand(1, 3, size, size)
    score = network(x, 0.1).sample
    assert score.shape == x.shape
    assert score.isfinite().all()
    assert score.abs().max() > 0


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@torch.no_grad()
def test_half_precision_keeps_large_and_small_sigma(dtype):
    """Of pictures with as much noise."""
    for network in (small(sigma_max=500.0), small(NCSNModel)):
        for sigma in (network.config.sigma_max, 0.01):
            x = torch.rand(2, 1, 8, 8) + sigma * torch.randn(2, 1, 8, 8)
            expected = network.float()(x, sigma).sample
            found = network.to(dtype)(x, sigma).sample
            assert found.dtype == torch.float32
            assert relative_error(found, expected) < 0.2


@pytest.mark.parametrize("kind", [NCSNModel, NCSNv2Model])
def test_every_parameter_learns_by_every_loss(kind):
    """Through in-place operations, once and (sliced score matching) twice."""
    network = small(kind, num_levels=2) if kind is NCSNModel else small(kind)
    x, sigma = torch.rand(4, 1, 8, 8), torch.tensor([1.0, 0.01, 1.0, 0.01])
    score = as_score_function(network)
    losses = {
        "denoising": lambda: multi_level_denoising_score_matching(score, x, sigma).mean(),
        "sliced": lambda: sliced_score_matching(lambda x: score(x, sigma), x).mean(),
    }
    for name, loss in losses.items():
        network.zero_grad()
        loss().backward()
        idle = [key for key, parameter in network.named_parameters() if not parameter.grad.abs().sum() > 0]
        assert not idle, name


@pytest.mark.parametrize("kind", [NCSNModel, NCSNv2Model])
def test_gradients_are_those_of_finite_differences(kind):
    """In a random direction of all parameters, and of the image; in-place operations leave them right."""
    network = small(kind, base_channels=2).double()
    x = torch.rand(2, 1, 8, 8, dtype=torch.float64, requires_grad=True)
    weight = torch.randn(2, 1, 8, 8, dtype=torch.float64)
    tensors = [x, *network.parameters()]
    directions = [torch.randn_like(tensor) for tensor in tensors]

    def value():
        return (network(x, 0.1).sample * weight).sum()

    gradients = torch.autograd.grad(value(), tensors)
    slope = sum((g * d).sum() for g, d in zip(gradients, directions, strict=True)).item()
    step = 1e-7
    with torch.no_grad():
        values = []
        for sign in (1, -2):
            for tensor, direction in zip(tensors, directions, strict=True):
                tensor.add_(direction, alpha=sign * step)
            values.append(value().item())
    assert math.isclose((values[0] - values[1]) / (2 * step), slope, rel_tol=1e-5)


INDUCTOR = pytest.param("inductor", marks=pytest.mark.check)  # a minute of C++ compiler, or two


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["aot_eager", INDUCTOR])
@pytest.mark.parametrize("name", [pytest.param("ncsn_28", marks=pytest.mark.check), "ncsnv2_28"])
@torch.no_grad()
def test_compiled_scores_are_the_authors(name, backend):
    """In one graph."""
    reference = load_file(REFERENCE / f"{name}.io.safetensors")
    torch._dynamo.reset()
    compiled = torch.compile(reference_network(name), fullgraph=True, backend=backend)
    score = compiled(reference["x"], reference["sigmas"][reference["labels"]]).sample
    assert relative_error(score, reference["score"]) < 1e-4


@pytest.mark.check
@pytest.mark.slow
@pytest.mark.parametrize("backend", ["aot_eager", "inductor"])
def test_compiled_gradients_reach_what_is_interpolated(backend):
    """A refinement is where the whole network's went wrong, at this size: the smaller image's were zero."""
    norm = partial(ConditionalInstanceNormPlus, num_levels=3)
    block = RefineBlock([8, 8], 8, last=False, norm=norm).to(memory_format=torch.channels_last)
    inputs = [torch.randn(2, 8, size, size).contiguous(memory_format=torch.channels_last) for size in (28, 14)]
    levels, weight = torch.eye(3)[[0, 2]], torch.randn(2, 8, 28, 28)
    torch._dynamo.reset()
    found = {}
    for kind, call in (("eager", block), ("compiled", torch.compile(block, fullgraph=True, backend=backend))):
        block.zero_grad()
        (call(inputs, levels) * weight).sum().backward()
        found[kind] = {key: parameter.grad.clone() for key, parameter in block.named_parameters()}
    errors = {key: relative_error(found["compiled"][key], value) for key, value in found["eager"].items()}
    assert max(errors.values()) < 1e-3, max(errors, key=errors.get)


# Saving


@pytest.mark.parametrize("kind", [NCSNModel, NCSNv2Model])
@torch.no_grad()
def test_saving_and_loading(kind, tmp_path):
    network = small(kind)
    network.save_pretrained(tmp_path)
    again = kind.from_pretrained(tmp_path)
    assert again.begin_conv.weight.shape == network.begin_conv.weight.shape
    assert again.refine1.crp.convs[0].weight.is_contiguous(memory_format=torch.channels_last)
    x = torch.rand(2, 1, 8, 8)
    assert torch.equal(again(x, 0.01).sample, network(x, 0.01).sample)
    _, information = kind.from_pretrained(tmp_path, output_loading_info=True)
    assert not information["missing_keys"]


@pytest.mark.parametrize("kind", [NCSNModel, NCSNv2Model])
def test_a_pipeline_with_it_is_a_self_contained_folder(kind, tmp_path):
    network = small(kind)
    scheduler = AnnealedLangevinScheduler(4, sigma_max=1.0, steps_per_level=2, initial="uniform")
    if kind is NCSNModel:
        network = small(kind, sigmas=scheduler.sigmas.tolist())
    pipeline = NCSNPipeline(network, scheduler)
    pipeline.save_pretrained(tmp_path)
    assert (tmp_path / "unet" / "modeling_ncsn.py").is_file()
    images = []
    for loaded in (
        pipeline,
        NCSNPipeline.from_pretrained(tmp_path),
        DiffusionPipeline.from_pretrained(tmp_path, trust_remote_code=True),
    ):
        loaded.set_progress_bar_config(disable=True)
        images.append(loaded(2, generator=torch.Generator().manual_seed(0), output_type="pt").images)
    assert 0 < images[0].std()
    for other in images[1:]:
        torch.testing.assert_close(other, images[0], rtol=0, atol=1e-5)


# What is refused


@pytest.mark.parametrize(
    ("kind", "changes", "message"),
    [
        (NCSNModel, {"sample_size": 29}, "multiple of 2"),
        (NCSNModel, {"sample_size": 6}, "8 to 256"),
        (NCSNv2Model, {"sample_size": 258}, "8 to 256"),
        (NCSNv2Model, {"sample_size": 28, "architecture": "ncsnv2_deepest"}, "multiple of 8"),
        (NCSNv2Model, {"architecture": "ncsnv3"}, "ncsnv2_deeper.*'ncsnv3'"),
        (NCSNv2Model, {"in_channels": 0}, "in_channels"),
        (NCSNModel, {"base_channels": 1}, "base_channels"),
        (NCSNv2Model, {"sigma_min": 2.0, "sigma_max": 1.0}, "sigma_min"),
        (NCSNv2Model, {"sigma_max": math.inf}, "sigma_max"),
        (NCSNModel, {"num_levels": 0}, "num_levels"),
        (NCSNModel, {"sigma_min": 0.0}, "sigma_min"),
        (NCSNModel, {"num_levels": 2, "sigma_min": 1.0}, "equal for one level alone"),
        (NCSNModel, {"sigmas": []}, "at least one number"),
        (NCSNModel, {"sigmas": [0.1, 1.0]}, "strictly decreasing"),
        (NCSNModel, {"sigmas": [1.0, -1.0]}, "positive"),
        (NCSNModel, {"sigmas": [math.nan]}, "finite"),
    ],
)
def test_bad_configuration_is_refused(kind, changes, message):
    with pytest.raises(ValueError, match=message):
        small(kind, **changes)


@pytest.mark.parametrize("kind", [NCSNModel, NCSNv2Model])
def test_bad_input_is_refused(kind):
    network, x = small(kind), torch.rand(2, 1, 8, 8)
    with pytest.raises(ValueError, match="no classes"):
        network(x, 0.1, class_labels=torch.tensor([0, 1]))
    with pytest.raises(ValueError, match="multiples of 2"):
        network(torch.rand(2, 1, 8, 9), 0.1)
    with pytest.raises(ValueError, match=r"\(B, 1, H, W\)"):
        network(torch.rand(2, 3, 8, 8), 0.1)
    with pytest.raises(ValueError, match="one an image"):
        network(x, torch.rand(3))
