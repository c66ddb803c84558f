"""Training does not depend on how it is spread out: processes, accumulation, precision, compilation, shards."""

import shutil
from itertools import islice
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from accelerate.state import AcceleratorState
from accelerate.utils import DistributedType
from PIL import Image
from safetensors.torch import load_file
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch.nn import functional as F

from ncsn_pipeline import ScoreUNet
from ncsn_pipeline.training import train as training
from ncsn_pipeline.training.averaging import check_sharding
from ncsn_pipeline.training.batches import StepSampler, permutation
from ncsn_pipeline.training.compiling import check_compiled
from ncsn_pipeline.training.config import TrainConfig
from ncsn_pipeline.training.draws import BatchDraws, Purpose, Stream
from ncsn_pipeline.training.objective import Objective

SMALL = {
    "dataset_name": "digits",
    "block_out_channels": (8, 16),
    "sigma_max": 5.0,
    "num_levels": 6,
    "train_batch_size": 16,
    "lr_warmup_steps": 5,
    "max_train_steps": 6,
    "logging_steps": 1,
    "validation_steps": 1000,
    "num_validation_images": 48,
    "num_sample_images": 5,
    "checkpointing_steps": 1000,
}
WEIGHTS = "unet/diffusion_pytorch_model.safetensors"


def configuration(output_dir, **settings):
    return TrainConfig(output_dir=str(output_dir), **(SMALL | settings))


def run(output_dir, **settings):
    AcceleratorState._reset_state(reset_partial_state=True)
    training.train(configuration(output_dir, **settings))
    return Path(output_dir)


def logged(output_dir, tag):
    return np.array([e.value for e in EventAccumulator(str(output_dir / "logs" / "ncsn")).Reload().Scalars(tag)])


def weights_of(output_dir):
    return load_file(output_dir / WEIGHTS)


def assert_same_weights(one, two):
    one, two = weights_of(one), weights_of(two)
    assert one.keys() == two.keys()
    assert all(torch.equal(one[name], two[name]) for name in one)


# Random numbers and batches


@pytest.mark.parametrize("kind", ["normal", "uniform", "rademacher"])
def test_numbers_belong_to_the_image_and_not_to_the_batch(kind):
    def draw(first, count, step=3, seed=1, purpose=Purpose.TRAINING, stream=Stream.NOISE):
        return getattr(BatchDraws(seed, step, first, count, 12, purpose), kind)((2, 5, 5), "cpu", stream)

    whole = draw(0, 12)
    assert whole.shape == (12, 2, 5, 5)
    assert whole.dtype == torch.float32
    assert torch.equal(whole, torch.cat([draw(0, 4), draw(4, 1), draw(5, 7)]))
    others = [draw(0, 12, **{name: 4}) for name in ("step", "seed", "purpose", "stream")]
    rows = [row for batch in (whole, *others) for row in batch]
    assert all(not torch.equal(rows[i], rows[j]) for i in range(len(rows)) for j in range(i))


def test_numbers_have_their_distributions():
    draws = BatchDraws(0, 0, 0, 400, 400)
    normal = draws.normal((50,), "cpu").double().flatten()
    n = normal.numel()
    standard_errors = {1: 1, 2: 2, 3: 15, 4: 96}  # variances of the powers of a unit normal number
    for power, variance in standard_errors.items():
        assert abs((normal**power).mean() - {1: 0, 2: 1, 3: 0, 4: 3}[power]) < 4 * (variance / n) ** 0.5
    uniform = draws.uniform((50,), "cpu", Stream.FLIPS).double()
    assert abs(uniform.mean() - 0.5) < 4 * (1 / 12 / n) ** 0.5
    signs = draws.rademacher((50,), "cpu").double()
    assert set(signs.unique().tolist()) == {-1, 1}
    assert abs(signs.mean()) < 4 * n**-0.5
    rows = draws.normal((50,), "cpu").double()
    assert (rows @ rows.T - torch.diag((rows**2).sum(1))).abs().max() < 6 * 50**0.5  # images are independent


def test_numbers_of_a_step_are_cut():
    draw = lambda n, generator: torch.rand(n, 2, generator=generator)  # noqa: E731
    whole = BatchDraws(0, 7, 0, 10, 10).whole(draw, Stream.LEVELS)
    assert torch.equal(whole[4:7], BatchDraws(0, 7, 4, 3, 10).whole(draw, Stream.LEVELS))
    assert not torch.equal(whole, BatchDraws(0, 7, 0, 10, 10).whole(draw, Stream.LABELS))
    with pytest.raises(ValueError, match="8 to 11 do not lie within a step of 10"):
        BatchDraws(0, 0, 8, 4, 10)


@pytest.mark.parametrize(("images", "whole"), [(30, 8), (7, 8), (3, 8), (8, 8)])
def test_steps_hold_the_same_images_however_they_are_spread(images, whole):
    def steps(processes, micro_batches, start=0):
        size = whole // (processes * micro_batches)
        samplers = [
            StepSampler(images, size, 5, start, micro_batches, process, processes) for process in range(processes)
        ]
        parts = [list(islice(sampler, 20 * micro_batches)) for sampler in samplers]
        order = [parts[p][m] for m in range(20 * micro_batches) for p in range(processes)]
        assert all(len(part) == size for part in order)
        return np.reshape(order, (20, whole))

    expected = steps(1, 1)
    for processes, micro_batches in [(2, 1), (1, 2), (2, 2), (4, 2), (8, 1)]:
        assert np.array_equal(steps(processes, micro_batches), expected)
    assert np.array_equal(steps(2, 2, start=6)[:14], expected[6:])
    epochs = expected.flatten()[: 160 // images * images].reshape(-1, images)
    assert all(set(epoch) == set(range(images)) for epoch in epochs)
    assert np.array_equal(epochs[1], permutation(images, 5, 1))
    assert images < 4 or not np.array_equal(epochs[0], epochs[1])


# Processes, accumulation, shards


@pytest.mark.slow
def test_two_processes_and_accumulation_give_the_losses_of_one_batch(tmp_path, victims):
    """30 steps, to 1e-5; the images of the grid and the held-out losses, which are shared out too, as well."""
    settings = {"max_train_steps": 30, "validation_steps": 15}
    one = run(tmp_path / "one", **settings)
    accumulated = run(tmp_path / "accumulated", **settings, train_batch_size=8, gradient_accumulation_steps=2)
    two = tmp_path / "two"
    output = victims.train_two(configuration(two, **settings, train_batch_size=8), tmp_path / "peers")
    assert "16 images per step, 2 process(es)" in output
    losses = logged(one, "train/loss")
    assert losses.shape == (30,)
    assert losses[-10:].mean() < 0.95 * losses[:10].mean()  # it has learned meanwhile
    for other in (accumulated, two):
        assert np.abs(logged(other, "train/loss") / losses - 1).max() < 1e-5
        assert np.abs(logged(other, "held_out/loss") / logged(one, "held_out/loss") - 1).max() < 1e-5
    grids = [np.asarray(Image.open(path / "samples" / "step-0000030.png")).astype(int) for path in (one, two)]
    assert grids[0].std() > 20
    assert np.abs(grids[0] - grids[1]).max() <= 1  # rounding


@pytest.mark.check
@pytest.mark.slow
def test_shards_train_as_whole_networks_do_and_resume_to_the_same_weights(tmp_path, victims):
    """Weights, optimiser and average are divided among two processes by accelerate's FSDP 2."""
    settings = {"checkpointing_steps": 3, "class_dropout": 0.2}
    whole = run(tmp_path / "whole", **settings)
    first, second = tmp_path / "first", tmp_path / "second"
    settings["train_batch_size"] = 8
    victims.train_two(configuration(first, **settings), tmp_path / "peers-1", sharded=True)
    shutil.copytree(first / "checkpoint-3", second / "checkpoint-3")
    settings["resume_from_checkpoint"] = "latest"
    victims.train_two(configuration(second, **settings), tmp_path / "peers-2", sharded=True)
    assert list((first / "checkpoint-3").glob("pytorch_model_fsdp_0/__1_*"))  # the second process had a shard
    assert np.abs(logged(first, "train/loss") / logged(whole, "train/loss") - 1).max() < 1e-5
    assert np.abs(logged(first, "held_out/loss") / logged(whole, "held_out/loss") - 1).max() < 1e-4
    expected = weights_of(whole)
    assert all((weights - expected[name]).abs().max() < 1e-4 for name, weights in weights_of(first).items())
    assert_same_weights(first, second)


@pytest.mark.parametrize(
    ("kind", "named"), [(DistributedType.FSDP, "FSDP version 1"), (DistributedType.DEEPSPEED, "DEEPSPEED")]
)
def test_other_ways_to_divide_weights_are_refused(kind, named):
    with pytest.raises(ValueError, match=f"configured for {named}.* Use data parallelism .* fsdp_version: 2"):
        check_sharding(SimpleNamespace(distributed_type=kind, is_fsdp2=False))
    check_sharding(SimpleNamespace(distributed_type=DistributedType.FSDP, is_fsdp2=True))
    check_sharding(SimpleNamespace(distributed_type=DistributedType.MULTI_GPU, is_fsdp2=False))


# Precision and compilation


def test_half_precision_stays_in_the_network(tmp_path, monkeypatch):
    """Noise, levels and loss are float32, the network's inside is bfloat16, and the losses are nearly the same."""
    inside, outside = set(), set()
    denoising = Objective.denoising

    def watched(self, score, x, sigma, draws):
        loss = denoising(self, score, x, sigma, draws)
        outside.update({x.dtype, sigma.dtype, draws.normal(x.shape[1:], x.device).dtype, loss.dtype})
        return loss

    original = ScoreUNet._residual

    def watched_residual(self, *args):
        result = original(self, *args)
        if torch.is_autocast_enabled("cpu"):
            inside.add(result.dtype)
        return result

    monkeypatch.setattr(Objective, "denoising", watched)
    monkeypatch.setattr(ScoreUNet, "_residual", watched_residual)
    half = run(tmp_path / "half", mixed_precision="bf16")
    assert inside == {torch.bfloat16}
    assert outside == {torch.float32}
    full = run(tmp_path / "full")
    assert np.abs(logged(half, "train/loss") / logged(full, "train/loss") - 1).max() < 0.02
    assert all(weights.dtype == torch.float32 for weights in weights_of(half).values())


def test_channels_last_trains_the_same(tmp_path):
    plain, last = run(tmp_path / "plain"), run(tmp_path / "last", channels_last=True)
    assert np.abs(logged(last, "train/loss") / logged(plain, "train/loss") - 1).max() < 1e-5


@pytest.fixture
def fresh_compiler():
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()


def random_network():
    """Without attention: the network whose compiled gradients were zero with `interpolate` in it."""
    network = ScoreUNet(8, 1, (8, 16), attention_levels=())
    for parameter in network.parameters():
        if not parameter.any():
            torch.nn.init.normal_(parameter, std=0.1)
    return network


@pytest.mark.parametrize("backend", ["aot_eager", pytest.param("inductor", marks=pytest.mark.check)])
def test_compiled_gradients_are_the_eager_ones(backend, fresh_compiler):
    network = random_network()
    x, sigma = torch.randn(4, 1, 8, 8), torch.rand(4) + 0.1

    def gradients():
        network.zero_grad()
        network(x, sigma).sample.square().mean().backward()
        return {name: parameter.grad.clone() for name, parameter in network.named_parameters()}

    eager = gradients()
    network.compile(backend=backend)
    compiled = gradients()
    largest = max(gradient.norm() for gradient in eager.values())
    for name, gradient in eager.items():
        # Gradients that vanish in exact arithmetic (a bias before a normalisation) are compared with the largest.
        assert (compiled[name] - gradient).norm() < 1e-4 * (gradient.norm() + 1e-3 * largest), name


def test_a_compiler_that_loses_gradients_is_noticed(fresh_compiler):
    """The weights are as before afterwards, also where the output layer starts at zero."""
    network = ScoreUNet(8, 1, (8, 16), attention_levels=())
    before = {name: parameter.clone() for name, parameter in network.named_parameters()}
    x, sigma = torch.randn(4, 1, 8, 8), torch.rand(4) + 0.1
    loss = lambda: network(x, sigma).sample.square().mean()  # noqa: E731
    network.compile(backend="eager")
    check_compiled(network, loss)
    torch._dynamo.reset()

    def half_lost(graph, inputs):
        def call(*args):
            return [0.5 * y + 0.5 * y.detach() if torch.is_tensor(y) else y for y in graph(*args)]

        return call

    network.compile(backend=half_lost)
    for precision in ("no", "bf16"):
        with pytest.raises(ValueError, match=r"gradients are wrong: .* off by [45]\d%\. Train without torch_compile"):
            check_compiled(network, loss, precision)
    assert all(torch.equal(parameter, before[name]) for name, parameter in network.named_parameters())
    assert all(parameter.grad is None for parameter in network.parameters())


def test_a_machine_without_a_compiler_is_told_so(fresh_compiler):
    def missing(graph, inputs):
        raise RuntimeError("No working C++ compiler found")

    network = ScoreUNet(8, 1, (8, 16), attention_levels=())
    network.compile(backend=missing)
    with pytest.raises(ValueError, match=r"torch.compile fails here: .*No working C\+\+ compiler found.* Train"):
        check_compiled(network, lambda: network(torch.randn(2, 1, 8, 8), torch.ones(2)).sample.square().mean())


@pytest.mark.check
def test_compiled_run_has_the_eager_losses(tmp_path, fresh_compiler):
    eager, compiled = run(tmp_path / "eager"), run(tmp_path / "compiled", torch_compile=True)
    assert np.abs(logged(compiled, "train/loss") / logged(eager, "train/loss") - 1).max() < 1e-5
    assert weights_of(eager).keys() == weights_of(compiled).keys()


def test_doubling_by_reshaping_is_the_interpolation(fresh_compiler):
    from ncsn_pipeline.networks.modeling_score_unet import upsample_2x

    h = torch.randn(2, 3, 4, 5)
    assert torch.equal(upsample_2x(h), F.interpolate(h, scale_factor=2.0, mode="nearest"))
    assert torch.equal(torch.compile(upsample_2x, backend="eager")(h), upsample_2x(h))


# Streams


@pytest.mark.slow
def test_resumed_stream_ends_with_the_same_weights(tmp_path):
    """Read by two workers, across the end of an epoch: 1,500 images are four steps of 375."""
    settings = {"streaming": True, "train_batch_size": 375, "checkpointing_steps": 3, "shuffle_buffer": 100}
    settings |= {"dataloader_num_workers": 2}
    whole = run(tmp_path / "whole", **settings)
    resumed = tmp_path / "resumed"
    shutil.copytree(whole / "checkpoint-3", resumed / "checkpoint-3")
    run(resumed, **settings, resume_from_checkpoint="latest")
    assert_same_weights(whole, resumed)
    memory = run(tmp_path / "memory", **settings | {"streaming": False})
    # Other batches of the same images: the same losses but for their scatter.
    assert logged(memory, "train/loss") == pytest.approx(logged(whole, "train/loss"), rel=0.2)
    assert not np.array_equal(logged(memory, "train/loss"), logged(whole, "train/loss"))
    with pytest.raises(ValueError, match="streaming is True, and the checkpoint was trained with False"):
        run(memory, **settings | {"max_train_steps": 7}, resume_from_checkpoint="latest")
