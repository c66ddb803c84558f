"""Checkpoints of the authors' code become pipelines that return the authors' scores."""

import hashlib
import math
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import DiffusionPipeline
from safetensors.torch import load_file

from ncsn_pipeline import NCSNPipeline, geometric_noise_levels
from ncsn_pipeline.commands.convert import main
from ncsn_pipeline.convert import convert_checkpoint
from ncsn_pipeline.convert.checkpoint import read_checkpoint
from ncsn_pipeline.convert.matching import noise_levels
from tests.processes import run

NAMES = ["ncsn_28", "ncsnv2_28", "ncsnv2_32", "ncsnv2_deeper_64", "ncsnv2_deepest_64"]


def load(folder, pipeline_class=NCSNPipeline, **options):
    pipe = pipeline_class.from_pretrained(folder, **options)
    pipe.set_progress_bar_config(disable=True)
    return pipe


def assert_same_score(pipe, vectors, expected):
    with torch.no_grad():
        score = pipe.unet(vectors["x"], vectors["sigmas"][vectors["labels"]]).sample
    assert (score - vectors[expected]).norm() < 1e-5 * vectors[expected].norm()


@pytest.mark.parametrize(
    "name, ema, expected",
    [("ncsn_28", True, "score"), ("ncsn_28", False, "score")]
    + [(name, True, "score_ema") for name in NAMES[1:]]
    + [(name, False, "score") for name in NAMES[1:]],
)
def test_the_folder_returns_the_authors_scores(name, ema, expected, checkpoints, place):
    vectors = load_file(checkpoints.vectors(name))
    if expected == "score_ema":
        assert (vectors["score"] - vectors["score_ema"]).norm() > 0.01 * vectors["score"].norm()
    convert_checkpoint(checkpoints.path(name), place / "out", ema=ema, **checkpoints.published[name])
    assert [entry.name for entry in place.iterdir()] == ["out"]
    pipe = load(place / "out")
    assert_same_score(pipe, vectors, expected)
    torch.testing.assert_close(pipe.scheduler.sigmas, vectors["sigmas"], rtol=1e-6, atol=0)


@pytest.mark.parametrize("name, evaluations", [("ncsn_28", 1000), ("ncsnv2_28", 26)])
def test_the_scheduler_samples_as_in_the_paper(name, evaluations, checkpoints, place):
    pipe = convert_checkpoint(checkpoints.path(name), place / "out", **checkpoints.published[name])
    config = load(place / "out").scheduler.config
    first = name == "ncsn_28"
    assert (config.steps_per_level, config.denoise, config.initial) == (100 if first else 5, not first, "uniform")
    assert config.step_size is None
    assert len(config.sigmas) == config.num_train_timesteps == (10 if first else 5)
    assert len(pipe.scheduler.timesteps) == evaluations


def test_the_ladder_of_cifar10_gives_the_papers_step_size(checkpoints, place):
    """232 levels from 50 to 0.01 with T = 5: Song & Ermon 2020 publish epsilon = 6.2e-6."""
    states = checkpoints.states("ncsnv2_32")
    states[0]["module.sigmas"] = torch.linspace(math.log(50), math.log(0.01), 232, dtype=torch.float64).exp().float()
    path = checkpoints.save(states)
    asked = {"channels": 3, "sigma_max": 50, "sigma_min": 0.01, "num_levels": 232}
    pipe = convert_checkpoint(path, place / "out", architecture="ncsnv2", image_size=32, **asked)
    assert pipe.scheduler.step_size == pytest.approx(6.2e-6, rel=0.01)
    assert len(pipe.scheduler.timesteps) == 1161
    config = load(place / "out").scheduler.config
    assert torch.equal(torch.tensor(config.sigmas), states[0]["module.sigmas"])
    assert (config.sigma_max, config.sigma_min) == (50, 0.01)


def test_the_folder_loads_as_code_and_samples_the_same(checkpoints, place):
    name = "ncsnv2_28"
    pipe = convert_checkpoint(checkpoints.path(name), place / "out", **checkpoints.published[name])
    pipe.set_progress_bar_config(disable=True)
    loaded = load(place / "out", DiffusionPipeline, trust_remote_code=True)
    assert type(loaded.unet).__module__.startswith("diffusers_modules.")
    assert_same_score(loaded, load_file(checkpoints.vectors(name)), "score_ema")
    images = [
        p(2, generator=torch.Generator().manual_seed(0), num_inference_steps=7, output_type="pt").images
        for p in (pipe, loaded)
    ]
    assert images[0].shape == (2, 1, 28, 28)
    assert images[0].min() < images[0].max()
    torch.testing.assert_close(*images, rtol=0, atol=1e-5)


def test_the_card_says_what_this_is(checkpoints, place):
    name = "ncsnv2_deeper_64"
    convert_checkpoint(checkpoints.path(name), place / "out", **checkpoints.published[name])
    card = (place / "out" / "README.md").read_text(encoding="utf-8")
    digest = hashlib.sha256(checkpoints.path(name).read_bytes()).hexdigest()
    for words in ("license: unknown", f"`{name}.pth`, SHA-256 `{digest}`", "3x64x64", "4, from 30 to 0.05", "327,979"):
        assert words in card
    assert str(checkpoints.path(name).parent) not in card


def test_the_card_says_how_it_samples(checkpoints, place):
    path, known = checkpoints.path("ncsn_28"), checkpoints.published["ncsn_28"]
    convert_checkpoint(path, place / "paper", **known)
    given = known | {"architecture": "ncsnv2", "sigma_max": None, "sigma_min": None}
    asked = {"step_size": 0.004, "steps_per_level": 7, "denoise": False, "ema": False}
    convert_checkpoint(checkpoints.path("ncsnv2_28"), place / "given", **given, **asked)
    paper, own = ((place / name / "README.md").read_text(encoding="utf-8") for name in ("paper", "given"))
    assert "| 100 Langevin steps per level, without denoising: 1,000 network evaluations |" in paper
    assert "at the last level, by technique 4 of NCSNv2 (the NCSN paper: 2e-05) |" in paper
    assert "| taken | the weights as they were trained |" in own
    assert "| 7 Langevin steps per level, without denoising: 35 network evaluations |" in own
    assert "| 0.004 at the last level, as given |" in own


def test_noise_levels_agree_to_what_float32_holds():
    stored = geometric_noise_levels(50.0, 0.01, 232, dtype=torch.float64).float()
    found = noise_levels(stored, None, sigma_max=50.0 * (1 + 5e-6), sigma_min=0.01, num_levels=232)
    assert (found[0], found[-1], len(found)) == (50, 0.01, 232)
    for wrong in ({"sigma_max": 50.001}, {"sigma_min": 0.0100003}, {"num_levels": 231}):
        given = {"sigma_max": None, "sigma_min": None, "num_levels": None} | wrong
        with pytest.raises(ValueError, match="but the checkpoint was trained with"):
            noise_levels(stored, None, **given)


# Other ways to save the same weights


def test_noise_levels_that_were_kept_as_a_parameter_are_read(checkpoints, place):
    states = checkpoints.states("ncsnv2_28")
    states[0]["module.sigmas"] = torch.nn.Parameter(states[0]["module.sigmas"])
    pipe = convert_checkpoint(checkpoints.save(states), place / "out", **checkpoints.published["ncsnv2_28"])
    assert torch.equal(torch.tensor(pipe.scheduler.config.sigmas), states[0]["module.sigmas"])


@pytest.mark.parametrize(
    "edit, ema, expected",
    [
        (lambda states: states[0], True, "score"),
        (lambda states: {k.removeprefix("module."): v for k, v in states[0].items()}, True, "score"),
        (lambda states: states[:4], False, "score"),
        (lambda states: states[:2], False, "score"),
        (lambda states: (*states[:4], {k.removeprefix("module."): v for k, v in states[4].items()}), True, "score_ema"),
        (lambda states: [{k: v.double() for k, v in states[0].items()}, *states[1:]], False, "score"),
    ],
    ids=["state dict", "no prefix", "no EMA", "two", "tuple, EMA without prefix", "double"],
)
def test_other_layouts_are_read(edit, ema, expected, checkpoints, place):
    path = checkpoints.save(edit(checkpoints.states("ncsnv2_28")))
    pipe = convert_checkpoint(path, place / "out", ema=ema, **checkpoints.published["ncsnv2_28"])
    assert pipe.unet.dtype == torch.float32
    assert_same_score(pipe, load_file(checkpoints.vectors("ncsnv2_28")), expected)


def renamed(states, rename):
    return [{rename(name): value for name, value in part.items()} if i in (0, 4) else part
            for i, part in enumerate(states)]  # fmt: skip


WRAPPERS = {
    "compiled, then parallel": lambda name: "module._orig_mod." + name.removeprefix("module."),
    "parallel, then compiled": lambda name: "_orig_mod." + name,
    "compiled alone": lambda name: "_orig_mod." + name.removeprefix("module."),
    "parallel twice": lambda name: "module." + name,
    "a stage compiled": lambda name: name.replace("module.res1.0.", "module.res1.0._orig_mod."),
    "sharded": lambda name: "_fsdp_wrapped_module." + name.replace("res1.0.", "res1.0._checkpoint_wrapped_module."),
}


@pytest.mark.parametrize("wrapper", WRAPPERS)
def test_names_that_wrappers_lengthened_are_read(wrapper, checkpoints):
    expected = read_checkpoint(checkpoints.path("ncsnv2_28"))
    edited = renamed(checkpoints.states("ncsnv2_28"), WRAPPERS[wrapper])
    read = read_checkpoint(checkpoints.save(edited))
    assert read.kind == expected.kind and torch.equal(read.sigmas, expected.sigmas)
    assert read.weights.keys() == expected.weights.keys()
    assert all(torch.equal(read.weights[name], value) for name, value in expected.weights.items())


def test_weights_that_are_there_twice_are_refused(checkpoints):
    states = checkpoints.states("ncsnv2_28")
    states[0] |= {"module._orig_mod." + name.removeprefix("module."): value for name, value in states[0].items()}
    with pytest.raises(ValueError, match="holds some weights twice"):
        read_checkpoint(checkpoints.save(states))


NUMBERS = [
    np.int64(300_000), np.float64(0.5), np.float32(0.5), np.bool_(True), np.uint8(3), np.array(5, dtype=">i4")[()],
]  # fmt: skip


@pytest.mark.parametrize("zipped, numpy_1", [(True, False), (False, False), (False, True)])
def test_numbers_of_numpy_are_read(zipped, numpy_1, checkpoints):
    """A run that counted its steps with NumPy; the names of its functions changed with NumPy 2."""
    states = checkpoints.states("ncsnv2_28")
    states[1]["param_groups"] = [{"lr": number} for number in NUMBERS]
    states[2:4] = NUMBERS[0], NUMBERS[0]
    path = checkpoints.save(states, _use_new_zipfile_serialization=zipped)
    if numpy_1:
        path.write_bytes(path.read_bytes().replace(b"numpy._core.multiarray", b"numpy.core.multiarray"))
    read = read_checkpoint(path)
    assert torch.equal(read.weights["begin_conv.weight"], states[4]["module.begin_conv.weight"])


@pytest.mark.parametrize("value", [np.array([1.0]), np.complex64(1j), np.str_("a"), np.datetime64("2020-01-01")])
def test_other_values_of_numpy_are_not(value, checkpoints):
    states = checkpoints.states("ncsnv2_28")
    states[3] = value
    with pytest.raises(ValueError, match="edited.pth (cannot be read as a checkpoint|holds a pickled object, numpy)"):
        read_checkpoint(checkpoints.save(states))


def test_a_bare_ema_needs_its_noise_levels(checkpoints, place):
    path = checkpoints.save(checkpoints.states("ncsnv2_28")[4])
    levels = {"sigma_max": 10, "sigma_min": 0.1, "num_levels": 5}
    pipe = convert_checkpoint(path, place / "out", architecture="ncsnv2", image_size=28, **levels)
    assert_same_score(pipe, load_file(checkpoints.vectors("ncsnv2_28")), "score_ema")
    torch.testing.assert_close(pipe.scheduler.sigmas, torch.tensor([10, 10**0.5, 1, 0.1**0.5, 0.1]))


@pytest.mark.parametrize("zipped", [True, False])
def test_checkpoints_from_a_gpu_and_from_old_versions_are_read(zipped, checkpoints, place, monkeypatch):
    states = checkpoints.states("ncsn_28")
    with monkeypatch.context() as patched:
        patched.setattr(torch.serialization, "location_tag", lambda storage: "cuda:0")
        path = checkpoints.save(states, _use_new_zipfile_serialization=zipped)
    assert b"cuda:0" in path.read_bytes()
    pipe = convert_checkpoint(path, place / "out", **checkpoints.published["ncsn_28"])
    assert_same_score(pipe, load_file(checkpoints.vectors("ncsn_28")), "score")


def test_an_empty_folder_is_filled_and_missing_parents_are_made(checkpoints, place):
    path, known = checkpoints.path("ncsn_28"), checkpoints.published["ncsn_28"]
    (place / "empty").mkdir()
    convert_checkpoint(path, place / "empty", **known)
    convert_checkpoint(path, place / "a" / "b" / "out", **known)
    assert load(place / "empty").unet.config.num_levels == load(place / "a" / "b" / "out").unet.config.num_levels == 10
    assert sorted(entry.name for entry in place.iterdir()) == ["a", "empty"]


def test_the_current_folder_is_filled_and_stays_the_current_one(checkpoints, place, monkeypatch):
    monkeypatch.chdir(place)
    convert_checkpoint(checkpoints.path("ncsn_28"), ".", **checkpoints.published["ncsn_28"])
    assert Path("model_index.json").is_file() and load(".").unet.config.num_levels == 10
    assert [entry.name for entry in place.iterdir() if entry.name.startswith(".")] == []


# The command


def test_the_command_converts_and_says_what_it_wrote(checkpoints, place, capsys):
    words = [checkpoints.path("ncsnv2_28"), place / "out", "--architecture", "ncsnv2", "--image-size", "28"]
    assert main([*map(str, words)]) == 0
    assert capsys.readouterr().out.splitlines() == [
        f"{place / 'out'}: ncsnv2, 1x28x28, 8 channels wide, 5 noise levels from 10 to 0.1, 26 evaluations"
    ]
    assert_same_score(load(place / "out"), load_file(checkpoints.vectors("ncsnv2_28")), "score_ema")


@pytest.mark.check
def test_the_command_ends_with_one_line_and_code_2(checkpoints, place):
    words = [checkpoints.path("ncsnv2_28"), place / "out", "--architecture", "ncsnv2_deeper", "--image-size", 28]
    done = run([sys.executable, "-m", "ncsn_pipeline", "convert", *words])
    assert (done.returncode, done.stdout) == (2, "")
    assert len(done.stderr.splitlines()) == 1
    assert "The weights look like ncsnv2, not like ncsnv2_deeper" in done.stderr
    assert not any(place.iterdir())


def test_the_command_passes_everything_on(checkpoints, place, capsys):
    flags = (
        "--architecture ncsn --image-size 28 --channels 1 --sigma-max 2 --sigma-min 0.02 --num-levels 10 --no-ema "
        "--step-size 2e-5 --steps-per-level 7 --denoise"
    )
    assert main([str(checkpoints.path("ncsn_28")), str(place / "out"), *flags.split()]) == 0
    assert "71 evaluations" in capsys.readouterr().out
    pipe = load(place / "out")
    config = pipe.scheduler.config
    assert (config.sigma_max, config.sigma_min, config.num_train_timesteps) == (2, 0.02, 10)
    assert (config.step_size, config.steps_per_level, config.denoise) == (2e-5, 7, True)
    assert (pipe.unet.config.sigma_max, pipe.unet.config.sigma_min) == (2, 0.02)

    flags = "--architecture ncsnv2 --image-size 28 --no-ema --no-denoise"
    assert main([str(checkpoints.path("ncsnv2_28")), str(place / "raw"), *flags.split()]) == 0
    assert load(place / "raw").scheduler.config.denoise is False
    assert_same_score(load(place / "raw"), load_file(checkpoints.vectors("ncsnv2_28")), "score")
