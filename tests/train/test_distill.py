"""Distillation: what is drawn in one evaluation, runs that go on, processes that agree, settings that are refused."""

import json
import shutil
import signal
from pathlib import Path

import numpy as np
import pytest
import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from diffusers import EDMEulerScheduler
from safetensors.torch import load_file
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from ncsn_pipeline import (
    AnnealedLangevinScheduler,
    ConsistentAnnealedScheduler,
    NCSNInpaintPipeline,
    NCSNModel,
    NCSNPipeline,
    NCSNv2Model,
    ScoreUNet,
    as_score_function,
)
from ncsn_pipeline.commands.evaluate import main as evaluate
from ncsn_pipeline.score_matching import generate
from ncsn_pipeline.training import distill as distilling
from ncsn_pipeline.training.checkpoints import checkpoints
from ncsn_pipeline.training.config import TrainConfig
from ncsn_pipeline.training.distill_config import DistillConfig
from ncsn_pipeline.training.distillation_run import load_generator, load_teacher, matching_of
from ncsn_pipeline.training.draws import BatchDraws, Purpose
from ncsn_pipeline.training.matching import Learner
from ncsn_pipeline.training.network import load_trained
from ncsn_pipeline.training.program import run_program

SMALL = {
    "train_batch_size": 8,
    "max_train_steps": 5,
    "lr_decay_steps": 2,
    "ema_decay": 0.9,
    "logging_steps": 1,
    "validation_steps": 1000,
    "checkpointing_steps": 2,
    "num_sample_images": 4,
    "report_to": "none",
}
TWO_LEVELS = {"levels": (2.0, 0.5), "identity_steps": 2, "report_to": "tensorboard"}
TWO_LEVELS |= {"guidance_scale": 1.5, "guidance_interval": (0.1, 1.0)}
FREQUENCIES = [0.25, 0.5, 0.25]
WEIGHTS = "unet/diffusion_pytorch_model.safetensors"


@pytest.fixture(scope="module")
def teacher(tmp_path_factory):
    """A small network with random weights: its score is no image's, but one that can be matched."""
    torch.manual_seed(0)
    network = ScoreUNet(8, 1, (8, 16), num_class_embeds=3, sigma_data=0.4, sigma_min=0.01, sigma_max=12.0)
    network.register_to_config(class_frequencies=FREQUENCIES)
    for parameter in network.parameters():
        if not parameter.any():
            torch.nn.init.normal_(parameter, std=0.1)
    folder = tmp_path_factory.mktemp("teacher") / "model"
    scheduler = ConsistentAnnealedScheduler(10, 0.01, 12.0)
    NCSNPipeline(network, scheduler, data_min=-0.5, data_max=1.5).save_pretrained(folder)
    dataset = {"name": "somebody/shapes", "images": 60}
    (folder / "training.json").write_text(json.dumps({"dataset": dataset}), encoding="utf-8")
    return folder


def settings(teacher, output_dir, **others):
    return DistillConfig(teacher=str(teacher), output_dir=str(output_dir), **(SMALL | others))


def run(teacher, output_dir, **others):
    AcceleratorState._reset_state(reset_partial_state=True)
    distilling.distill(settings(teacher, output_dir, **others))
    return Path(output_dir)


def same_weights(one, two, name=WEIGHTS):
    one, two = load_file(one / name), load_file(two / name)
    return one.keys() == two.keys() and all(torch.equal(one[key], two[key]) for key in one)


def logged(output_dir, tag):
    return np.array([e.value for e in EventAccumulator(str(output_dir / "logs" / "ncsn")).Reload().Scalars(tag)])


@pytest.fixture(scope="module")
def whole(teacher, tmp_path_factory):
    """A run that nothing stopped, of two levels."""
    folder = tmp_path_factory.mktemp("whole") / "run"
    return run(teacher, folder, **TWO_LEVELS)


# What is made


def test_the_folder_draws_in_as_many_evaluations_as_there_are_levels(whole):
    pipeline = NCSNPipeline.from_pretrained(whole)
    pipeline.set_progress_bar_config(disable=True)
    assert pipeline.scheduler.config.eta == 1.0
    assert list(pipeline.unet.config.trained_sigmas) == [2.0, 0.5]
    assert pipeline.unet.config.class_frequencies == FREQUENCIES
    assert (pipeline.config.data_min, pipeline.config.data_max) == (-0.5, 1.5)
    labels = torch.tensor([0, 1, 2, 0])
    generator = torch.Generator().manual_seed(5)
    noise = torch.stack([torch.randn(4, 1, 8, 8, generator=generator) for _ in range(2)], dim=1)
    calls = []
    pipeline.unet.register_forward_hook(lambda *_: calls.append(1))
    for count in (2, 1):
        generator.manual_seed(5)
        drawn = pipeline(
            4, generator=generator, class_labels=labels, output_type="latent",
            num_inference_steps=None if count == 2 else 1,
        ).images  # fmt: skip
        score = as_score_function(pipeline.unet, labels)
        with torch.no_grad():
            expected = generate(score, noise[:, :count], torch.tensor([2.0, 0.5][:count]))
        assert torch.allclose(drawn, expected, atol=1e-5)
    assert len(calls) == 2 + 2 + 1 + 1
    drawn = [
        pipeline(8, torch.Generator().manual_seed(5), class_labels=asked, output_type="pt").images
        for asked in (None, "none", "random")
    ]
    assert torch.equal(drawn[0], drawn[1]) and not torch.equal(drawn[0], drawn[2])  # which is of equal frequencies


def matching_with(teacher, tmp_path, **others):
    """What learns from the teacher, both networks a copy of it."""
    AcceleratorState._reset_state(reset_partial_state=True)
    config, accelerator = settings(teacher, tmp_path, **others), Accelerator(cpu=True)
    config, model = load_teacher(config)
    learner = Learner(load_generator(config, model), None)
    return matching_of(config, model, learner, learner, accelerator)


@pytest.mark.parametrize("identity", [False, True])
def test_the_teacher_is_guided_between_two_noise_levels(teacher, tmp_path, identity):
    """Towards the class of each sample, from the null class: s_null + w (s_class - s_null); elsewhere as it is."""
    draws = BatchDraws(0, 0, 0, 32, 32, Purpose.MEASURING)
    guided = matching_with(teacher, tmp_path, guidance_scale=2.5, guidance_interval=(0.2, 1.0))
    by_hand = matching_with(teacher, tmp_path)
    score = by_hand.teacher

    def mixed(x, sigma, class_labels):
        null, given = (
            score(x, sigma, class_labels=labels) for labels in (torch.full_like(class_labels, 3), class_labels)
        )
        inside = ((sigma >= 0.2) & (sigma <= 1.0))[:, None, None, None]
        return torch.where(inside, null + 2.5 * (given - null), given)

    plain, *_ = by_hand.generator_loss(draws, identity)
    by_hand.teacher = mixed
    expected, _, sigma = by_hand.generator_loss(draws, identity)
    found, *_ = guided.generator_loss(draws, identity)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-6)
    inside = (sigma >= 0.2) & (sigma <= 1.0)
    assert 5 < inside.sum() < 27
    assert ((found - plain).abs() > 1e-4 * plain.abs()).equal(inside)
    everywhere = matching_with(teacher, tmp_path, guidance_scale=2.5).generator_loss(draws, identity)[0]
    assert ((everywhere - plain).abs() > 1e-4 * plain.abs()).all()


def test_what_is_matched_is_cut_off_at_the_teachers_range_as_what_is_shown(teacher, tmp_path):
    matching = matching_with(teacher, tmp_path)
    assert matching.ends == (-0.5, 1.5)
    drawn, _ = matching.drawn(BatchDraws(0, 0, 0, 64, 64, Purpose.MEASURING))
    assert drawn.min() == -0.5 and drawn.max() <= 1.5
    matching.ends = None
    beyond, _ = matching.drawn(BatchDraws(0, 0, 0, 64, 64, Purpose.MEASURING))
    assert torch.equal(beyond.clamp(-0.5, 1.5), drawn) and not torch.equal(beyond, drawn)


def test_a_generator_that_was_made_before_is_made_better(teacher, whole, tmp_path):
    one_step = TWO_LEVELS | {"identity_steps": 1, "max_train_steps": 1}
    made = run(teacher, tmp_path / "run", **one_step, init_from=str(whole), learning_rate=1e-12)
    one, other = load_file(made / WEIGHTS), load_file(whole / WEIGHTS)
    assert all(torch.allclose(one[name], other[name], atol=1e-6) for name in other)
    assert json.loads((made / "training.json").read_text(encoding="utf-8"))["init_from"] == "run"


def test_a_generator_may_be_smaller_than_its_teacher(teacher, tmp_path):
    small = {"sample_size": 8, "in_channels": 1, "block_out_channels": (8,), "sigma_max": 12.0}
    for folder, classes, high in (("small", 3, 1.5), ("other", 2, 1.5), ("darker", 3, 1.0)):
        network = ScoreUNet(**small, num_class_embeds=classes)
        pipeline = NCSNPipeline(network, ConsistentAnnealedScheduler(), data_min=-0.5, data_max=high)
        pipeline.save_pretrained(tmp_path / folder)
    made = run(teacher, tmp_path / "run", **TWO_LEVELS, init_from=str(tmp_path / "small"), max_train_steps=3)
    drawn = NCSNPipeline.from_pretrained(made)
    assert drawn.unet.config.block_out_channels == [8] and drawn.unet.config.trained_sigmas == [2.0, 0.5]
    assert drawn.unet.config.class_frequencies == FREQUENCIES  # of the teacher's data
    assert drawn.unet.num_parameters() < NCSNPipeline.from_pretrained(teacher).unet.num_parameters()
    before, after = load_file(tmp_path / "small" / WEIGHTS), load_file(made / WEIGHTS)
    assert all(not torch.equal(before[name], after[name]) for name in before if name.endswith("weight"))
    for folder, name in (("other", "num_class_embeds"), ("darker", "data_max")):
        message = f"models of .*{folder} and .* are for different pictures: they differ in {name}. Give"
        with pytest.raises(ValueError, match=message):
            run(teacher, tmp_path / "refused", init_from=str(tmp_path / folder))


@pytest.mark.parametrize(("known", "given", "expected"), [(5.0, None, 5.0), (12.0, None, 10.0), (12.0, 11.0, 11.0)])
def test_scores_are_compared_up_to_10_or_what_the_teacher_knows(tmp_path, known, given, expected):
    network = ScoreUNet(8, 1, (8, 8), sigma_min=0.01, sigma_max=known)
    NCSNPipeline(network, ConsistentAnnealedScheduler(10, 0.01, known)).save_pretrained(tmp_path / "teacher")
    config, _ = load_teacher(settings(tmp_path / "teacher", tmp_path / "run", sigma_max=given))
    assert config.sigma_max == expected


def test_samplers_that_need_a_score_are_refused_in_words(whole, tmp_path):
    pipeline = NCSNPipeline.from_pretrained(whole)
    words = "cannot follow this network .* draws in 2 evaluation.s., at sigma = 2, 0.5, and is no score elsewhere"
    generator = torch.Generator().manual_seed(0)
    before = generator.get_state()
    for options in ({"num_inference_steps": 3}, {"sigmas": [0.5]}, {"sigmas": [2.0, 0.6]}, {"sigmas": [2.0, 1.0, 0.5]}):
        with pytest.raises(ValueError, match=words):
            pipeline(1, generator=generator, **options)
    good = pipeline.scheduler
    for scheduler in (
        AnnealedLangevinScheduler.from_config(good.config),
        AnnealedLangevinScheduler(sigmas=[2.0], steps_per_level=1, denoise=False),
        ConsistentAnnealedScheduler(sigmas=[2.0, 0.5], eta="ancestral"),
        EDMEulerScheduler.from_config(good.config),
    ):
        pipeline.scheduler = scheduler
        with pytest.raises(ValueError, match=words):
            pipeline(1, generator=generator)
    assert torch.equal(generator.get_state(), before)
    painter = NCSNInpaintPipeline.from_pipe(pipeline, scheduler=good)
    with pytest.raises(ValueError, match="no score, so nothing can be kept of an image"):
        painter(torch.zeros(1, 1, 8, 8), mask_image=torch.ones(1, 1, 8, 8))
    with pytest.raises(ValueError, match="draws in few evaluations and is no score. Start from another model"):
        load_trained(TrainConfig(dataset_name="digits", init_from=str(whole)))
    with pytest.raises(ValueError, match="draws in few evaluations already and is no score"):
        run(whole, tmp_path / "again")


def test_what_the_folder_tells(whole):
    summary = json.loads((whole / "training.json").read_text(encoding="utf-8"))
    assert summary["command"].startswith("ncsn distill --") and "--levels 2.0 0.5" in summary["command"]
    assert (summary["steps"], summary["images_seen"]) == (5, 40)
    assert summary["teacher"] == "model"
    assert summary["dataset"]["name"] == "somebody/shapes"
    assert (whole / "samples.png").is_file()
    card = (whole / "README.md").read_text(encoding="utf-8")
    assert "distilled from the score network model, which was trained on somebody/shapes. It draws an image" in card
    assert "in 1 to 2 evaluations, at sigma = 2, 0.5. It is no score" in card
    assert "| matching | of distributions, without data; 2 updates of the fake score" in card
    assert "for each of the generator, the last 2 by score identity distillation, the teacher guided" in card
    assert "guided towards the class by 1.5 at sigma 0.1 to 1; sigma drawn" in card
    assert " |" in card and "without a class" not in card and "% dropped" not in card
    assert "yin2024onestep" in card and "zhou2024score" in card and "AnnealedLangevinScheduler" not in card
    losses, sizes = logged(whole, "train/loss"), logged(whole, "generator/loss")
    assert losses.shape == sizes.shape == (5,)
    assert np.isfinite(losses).all() and (sizes > 0).all()


def test_a_network_of_the_papers_is_distilled_too_and_one_that_knows_only_its_levels_is_not(tmp_path):
    torch.manual_seed(0)
    networks = {"v2": NCSNv2Model(16, 1, 8, sigma_min=0.01, sigma_max=12.0), "v1": NCSNModel(16, 1, 8)}
    for name, network in networks.items():
        NCSNPipeline(network, ConsistentAnnealedScheduler(10, 0.01, 12.0)).save_pretrained(tmp_path / name)
    with pytest.raises(ValueError, match="v1 holds a network of the kind ncsn, which knows only its own levels"):
        run(tmp_path / "v1", tmp_path / "refused")
    made = run(tmp_path / "v2", tmp_path / "run", max_train_steps=1)
    pipeline = NCSNPipeline.from_pretrained(made)
    assert list(pipeline.unet.config.trained_sigmas) == [1.5]
    assert np.isfinite(pipeline(2, output_type="np").images).all()


@pytest.mark.slow
def test_an_evaluation_measures_its_samples_and_not_a_score_that_it_is_not(whole, tmp_path, capsys):
    flags = {"model": whole, "dataset_name": "digits", "num_samples": 40, "output_dir": tmp_path}
    assert evaluate([str(word) for name, value in flags.items() for word in (f"--{name}", value)]) == 0
    (found,) = json.loads((tmp_path / "evaluation.json").read_text(encoding="utf-8"))["results"]
    assert (found["nfe"], found["denoising_loss"]) == (2, {})
    assert found["measures"]["sliced_wasserstein"]["samples"] > 0
    assert "denoising loss" not in capsys.readouterr().out


# Runs that go on, and processes


@pytest.mark.slow
def test_a_killed_run_goes_on_to_the_same_weights_of_both_networks(tmp_path, teacher, whole, victims):
    """Killed where the second checkpoint is to be renamed into place, of five steps with one every two."""
    output = tmp_path / "run"
    config = settings(teacher, output, **TWO_LEVELS)
    with victims.started(victims.train, config, ("os.rename", "checkpoint-4", 0)) as victim:
        victim.join()
    assert victim.exitcode == -signal.SIGKILL
    assert [path.name for path in checkpoints(output)] == ["checkpoint-2"]
    run(teacher, output, **TWO_LEVELS, resume_from_checkpoint="latest")
    assert same_weights(whole, output)
    for name in ("model.safetensors", "model_1.safetensors"):
        assert same_weights(whole / "checkpoint-5", output / "checkpoint-5", name)
        assert not same_weights(whole / "checkpoint-4", whole / "checkpoint-5", name)


@pytest.mark.slow
def test_two_processes_and_accumulation_give_the_losses_of_one_batch(tmp_path, teacher, whole, victims):
    """Five steps, to 1e-5: of the fake score, and the size of the generator's gradient."""
    several = TWO_LEVELS | {"train_batch_size": 4}
    accumulated = run(teacher, tmp_path / "accumulated", **several, gradient_accumulation_steps=2)
    two = tmp_path / "two"
    output = victims.train_two(settings(teacher, two, **several), tmp_path / "peers")
    assert "8 images per step, 2 process(es)" in output and " for 5 steps, by a trial" in output
    for tag in ("train/loss", "generator/loss"):
        losses = logged(whole, tag)
        assert losses.shape == (5,) and losses.std() > 0
        for other in (accumulated, two):
            assert np.abs(logged(other, tag) / losses - 1).max() < 1e-5


@pytest.mark.check
def test_channels_last_and_compiled_networks_give_the_same_losses(tmp_path, teacher, whole, monkeypatch):
    """Of five steps; the compiler alone is left out: the graphs that it is given are run as they are."""
    seen = []
    compile_network = torch.nn.Module.compile
    monkeypatch.setattr(
        torch.nn.Module, "compile", lambda self: (seen.append(self), compile_network(self, backend="eager"))
    )
    torch._dynamo.reset()
    quick = run(teacher, tmp_path / "quick", **TWO_LEVELS, channels_last=True, torch_compile=True)
    torch._dynamo.reset()
    assert len(seen) == 3
    assert all(network.conv_out.weight.is_contiguous(memory_format=torch.channels_last) for network in seen)
    for tag in ("train/loss", "generator/loss"):
        assert np.abs(logged(quick, tag) / logged(whole, tag) - 1).max() < 1e-4


@pytest.mark.check
def test_a_compiled_distillation_has_the_eager_losses(tmp_path, teacher, whole):
    compiled = run(teacher, tmp_path / "compiled", **TWO_LEVELS, channels_last=True, torch_compile=True)
    for tag in ("train/loss", "generator/loss"):
        assert np.abs(logged(compiled, tag) / logged(whole, tag) - 1).max() < 1e-4


# Settings


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"teacher": None}, "Give teacher, the score network to distil"),
        ({"levels": (0.5, 2.0)}, "levels must be noise levels above 0, strictly decreasing; got .0.5, 2.0."),
        ({"levels": ()}, "levels must be"),
        ({"guidance_scale": -1.0}, "guidance_scale is -1.0; it should be greater than or equal to 0"),
        (
            {"guidance_interval": (2.0, 0.25)},
            "guidance_interval must be two noise levels, the smaller one first; got .2.0",
        ),
        ({"guidance_interval": (0.4, 1.5)}, "nothing is guided with guidance_scale = 1. Give another"),
        ({"sigma_min": 20.0}, "sigma_max must exceed sigma_min = 20.0; got 10.0"),
        ({"identity_steps": -1}, "identity_steps is -1; it should be greater than or equal to 0"),
        ({"fake_steps": 0}, "fake_steps is 0; it should be greater than or equal to 1"),
        ({"teacher": "./nowhere"}, "There is no folder ./nowhere"),
        ({"levels": (13.0,)}, "trained on noise levels from 0.01 to 12, and levels, .* ask for 0.02 to 13"),
        ({"sigma_min": 0.005}, "ask for 0.005 to 10. Set them within its range"),
        ({"report_to": "nobody"}, "report_to names 'nobody'"),
    ],
    ids=lambda value: str(value)[:24],
)
def test_wrong_settings_are_one_sentence_before_work_starts(tmp_path, teacher, changes, words):
    output = tmp_path / "run"
    with pytest.raises((ValueError, OSError), match=words):
        AcceleratorState._reset_state(reset_partial_state=True)
        distilling.distill(DistillConfig(**SMALL | {"teacher": str(teacher), "output_dir": str(output)} | changes))
    assert not output.exists()


def test_a_run_goes_on_with_its_teacher_and_levels_alone(tmp_path, teacher, whole):
    output = Path(shutil.copytree(whole, tmp_path / "run"))
    with pytest.raises(ValueError, match="levels is .2.0., and the checkpoint was trained with .2.0, 0.5."):
        run(teacher, output, levels=(2.0,), resume_from_checkpoint="latest")


def test_the_program_reads_its_recipe_and_says_what_is_wrong(capsys):
    config = DistillConfig.from_command_line(["--config", "mnist", "--levels", "2", "0.7"])
    assert (config.teacher, config.output_dir, config.levels) == ("mnist", "runs/mnist-fast", (2.0, 0.7))
    assert run_program(DistillConfig, "distill", ["--teacher", "./nowhere", "--report_to", "none"], "distill.py") == 1
    assert capsys.readouterr().err.startswith("distill.py: There is no folder ./nowhere")


def test_a_teacher_without_classes_cannot_be_guided(tmp_path):
    network = ScoreUNet(8, 1, (8, 8), sigma_min=0.01, sigma_max=12.0)
    NCSNPipeline(network, ConsistentAnnealedScheduler(10, 0.01, 12.0)).save_pretrained(tmp_path / "plain")
    with pytest.raises(ValueError, match="guidance_scale needs a model with classes; this one has none"):
        load_teacher(settings(tmp_path / "plain", tmp_path / "run", guidance_scale=1.5))
