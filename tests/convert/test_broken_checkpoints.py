"""What is no checkpoint, or not the one that was asked for: a clear error, nothing run, nothing on disk."""

import os
import pickle
import resource
import zipfile

import pytest
import torch
from safetensors.torch import save_file

from ncsn_pipeline.commands.convert import main
from ncsn_pipeline.convert import convert_checkpoint
from ncsn_pipeline.convert.checkpoint import read_checkpoint

NCSN = {"architecture": "ncsn", "image_size": 28, "sigma_max": 1.0, "sigma_min": 0.01}
NCSNV2 = {"architecture": "ncsnv2", "image_size": 28}
CONV = "module.res1.0.conv1.weight"


class Command:
    """What a malicious checkpoint runs where it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


def refuse(path, place, message, **asked):
    """It ends with an error of those that the command prints in one line, and leaves nothing behind."""
    before = {*place.iterdir(), *path.parent.iterdir()}
    with pytest.raises((ValueError, OSError), match=message):
        convert_checkpoint(path, place / "deep" / "out", **asked)
    assert {*place.iterdir(), *path.parent.iterdir()} == before


# Files that hold no checkpoint


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("part", [0.0005, 0.01, 0.3, 0.9, 0.9999])
def test_a_truncated_file(part, zipped, checkpoints, place):
    whole = checkpoints.save(checkpoints.states("ncsnv2_28"), _use_new_zipfile_serialization=zipped)
    path = checkpoints.write(whole.read_bytes()[: int(part * whole.stat().st_size)])
    refuse(path, place, r"edited.pth (is damaged or cut short at|cannot be read as a checkpoint \(\w)", **NCSNV2)


@pytest.mark.parametrize(
    "content, message",
    [
        (b"", "edited.pth is empty"),
        (b"<!DOCTYPE html><html>404 Not Found</html>", r"begins with b'<!DO', so it is not a file of torch.save"),
        (b"\x80\x02junk", "cannot be read as a checkpoint"),
        (b"\x80\x02" + bytes(10_000), "cannot be read as a checkpoint"),
        (b"PK\x03\x04" + bytes(10_000), "is damaged or cut short at 10,004 bytes"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n", "begins with b'vers'"),
    ],
    ids=["empty", "web page", "pickle of junk", "pickle of zeros", "zip of zeros", "LFS pointer"],
)
def test_a_file_of_something_else(content, message, checkpoints, place):
    refuse(checkpoints.write(content), place, message, **NCSNV2)


def test_a_zip_archive_of_something_else(checkpoints, place):
    path = checkpoints.folder / "edited.pth"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("best.pth", "inside")
    refuse(path, place, r"a zip archive of 1 \(best.pth\), but not one of torch.save", **NCSNV2)


def test_a_zip_archive_without_its_tensors(checkpoints, place):
    path = checkpoints.folder / "edited.pth"
    with zipfile.ZipFile(checkpoints.path("ncsnv2_28")) as whole, zipfile.ZipFile(path, "w") as archive:
        for name in whole.namelist():
            if "/data/" not in name:
                archive.writestr(name, whole.read(name))
    refuse(path, place, "cannot be read as a checkpoint", **NCSNV2)


def test_a_safetensors_file(checkpoints, place):
    path = checkpoints.folder / "model.safetensors"
    save_file(checkpoints.states("ncsnv2_28")[4], path)
    refuse(path, place, "model.safetensors is a safetensors file; expected a .pth file", **NCSNV2)


def test_a_path_of_a_home_that_is_none(checkpoints, place):
    with pytest.raises(FileNotFoundError, match="~no-such-user"):
        convert_checkpoint("~no-such-user/edited.pth", place / "out", **NCSNV2)


def test_a_folder_and_nothing(checkpoints, place):
    refuse(checkpoints.folder, place, "is not a file; name the checkpoint itself", **NCSNV2)
    refuse(checkpoints.folder / "absent.pth", place, "absent.pth does not exist", **NCSNV2)


@pytest.mark.parametrize("zipped", [True, False])
def test_a_pickled_object_is_not_restored(zipped, checkpoints, place):
    marker = checkpoints.folder / "run"
    states = checkpoints.states("ncsnv2_28")
    for content in (Command(marker), [*states[:4], Command(marker)], {**states[0], "x": Command(marker)}):
        path = checkpoints.save(content, _use_new_zipfile_serialization=zipped)
        refuse(path, place, r"a pickled object, \w+\.mkdir, .* nothing of it was run", **NCSNV2)
        assert not marker.exists()
    pickle.loads(pickle.dumps(Command(marker)))
    assert marker.exists()  # so the test can fail


def test_a_pickled_module_is_not_restored(checkpoints, place):
    path = checkpoints.save(torch.nn.Linear(2, 2))
    refuse(path, place, r"a pickled object, torch.nn.modules.linear.Linear, .* save `model.state_dict\(\)`", **NCSNV2)


def test_wrong_bytes_are_found_wherever_they_are(checkpoints):
    """A byte may be wrong where nothing depends on it; then the weights are the same, or there is an error."""
    whole = checkpoints.path("ncsn_28").read_bytes()
    expected = read_checkpoint(checkpoints.path("ncsn_28")).weights
    found = 0
    for position in torch.randint(len(whole), (60,)).tolist():
        changed = bytearray(whole)
        changed[position] ^= 0x10
        try:
            weights = read_checkpoint(checkpoints.write(bytes(changed))).weights
        except ValueError:
            found += 1
        else:
            assert weights.keys() == expected.keys()
            assert all(torch.equal(weights[name], expected[name]) for name in expected)
    assert found > 30


# Containers of something else


@pytest.mark.parametrize(
    "edit, message",
    [
        (lambda states: states[:3], "holds a list of 3; expected .model, optimizer."),
        (lambda states: [], "holds a list of 0"),
        (lambda states: 7, "holds a int; expected"),
        (lambda states: torch.zeros(3), "holds a Tensor; expected"),
        (lambda states: {}, "an empty one"),
        (lambda states: {"epoch": 3, "state_dict": states[0]}, r"holds a dict of 2 \(epoch, state_dict\)"),
        (lambda states: [states[1], states[0]], r"no state dict: .* not so are 2 \(state, param_groups\)"),
        (lambda states: [{3: torch.zeros(2)}, {}], r"not so are 1 \(3\)"),
        (lambda states: [*states[:4], None], "The EMA in edited.pth is no state dict: .* found a NoneType"),
        (lambda states: states[:4], r"holds no EMA: it is a list of 4, .* ema=False \(--no-ema\)"),
        (lambda states: states[:2], "holds no EMA: it is a list of 2"),
        (lambda states: [*states[:4], dict(list(states[4].items())[5:])], "The EMA .* has 148 tensors, .* missing 5"),
        (lambda states: [*states[:4], states[4] | {"module.x": torch.zeros(2)}], r"too many 1 \(x\)"),
    ],
)
def test_a_container_of_something_else(edit, message, checkpoints, place):
    refuse(checkpoints.save(edit(checkpoints.states("ncsnv2_28"))), place, message, **NCSNV2)


# Weights of something else


@pytest.mark.parametrize(
    "name, asked, looks_like",
    [
        ("ncsn_28", "ncsnv2", "ncsn"),
        ("ncsnv2_28", "ncsn", "ncsnv2"),
        ("ncsnv2_32", "ncsnv2_deeper", "ncsnv2"),
        ("ncsnv2_deeper_64", "ncsnv2", "ncsnv2_deeper"),
        ("ncsnv2_deeper_64", "ncsnv2_deepest", "ncsnv2_deeper"),
        ("ncsnv2_deepest_64", "ncsnv2_deeper", "ncsnv2_deepest"),
    ],
)
def test_another_architecture(name, asked, looks_like, checkpoints, place):
    message = rf"The weights look like {looks_like}, not like {asked} \(missing .*\); ask for {looks_like}\."
    refuse(checkpoints.path(name), place, message, **NCSN | {"architecture": asked}, ema=name != "ncsn_28")


@pytest.mark.parametrize(
    "changes, message",
    [
        ({CONV: None}, r"ncsnv2 has 153 tensors, but 152 were found: missing 1 \(res1.0.conv1.weight\); too many none"),
        ({"module.res9.weight": torch.zeros(2)}, r"missing none; too many 1 \(res9.weight\)"),
        ({"res9.weight": torch.zeros(2)}, "These are the weights of none of ncsn, ncsnv2,"),
        (
            {CONV: torch.zeros(8, 4, 3, 3)},
            r"1 of 153 tensors have a wrong shape for ncsnv2 of width 8 .*\(8, 4, 3, 3\)",
        ),
        ({"module.begin_conv.weight": torch.zeros(16, 1, 3, 3)}, "tensors have a wrong shape for ncsnv2 of width 16"),
        ({"module.begin_conv.weight": torch.zeros(8)}, r"expected \(width, channels, 3, 3\)"),
        ({"module.begin_conv.weight": torch.zeros(0, 1, 3, 3)}, r"expected \(width, channels, 3, 3\)"),
        ({CONV: torch.ones(8, 8, 3, 3, dtype=torch.int8)}, r"no plain floating numbers .* is torch.int8 of shape"),
        ({CONV: torch.ones(8, 8, 3, 3, dtype=torch.complex64)}, "no plain floating numbers"),
        ({CONV: torch.zeros(8, 8, 3, 3).to_sparse()}, "no plain floating numbers"),
        ({CONV: torch.full((8, 8, 3, 3), torch.nan)}, r"1 of 153 tensors hold numbers that are not finite"),
        ({CONV: torch.zeros(8, 8, 3, 3).index_fill_(0, torch.tensor(3), torch.inf)}, r"\(res1.0.conv1.weight\)"),
        (
            {"module.sigmas": torch.tensor([1.0, 2.0])},
            "not a noise schedule. .* strictly decreasing; got .1., 2..",
        ),
        ({"module.sigmas": torch.tensor([1.0, torch.nan])}, "`sigmas` are not a noise schedule"),
        ({"module.sigmas": torch.tensor([[1.0]])}, r"`sigmas` are torch.float32 of shape \(1, 1\)"),
        ({"module.sigmas": torch.tensor([2, 1])}, "`sigmas` are torch.int64"),
        ({"module.sigmas": None}, "does not hold its noise levels: give sigma_max, sigma_min, num_levels"),
    ],
)
def test_broken_weights(changes, message, checkpoints, place):
    states = checkpoints.states("ncsnv2_28")
    model = {name: value for name, value in (states[0] | changes).items() if value is not None}
    refuse(checkpoints.save([model, *states[1:4]]), place, message, **NCSNV2, ema=False)


def test_a_diverged_average_is_refused_and_the_model_beside_it_converted(checkpoints, place):
    states = checkpoints.states("ncsnv2_28")
    states[4][CONV].fill_(torch.nan)
    path = checkpoints.save(states)
    refuse(path, place, "not finite", **NCSNV2)
    convert_checkpoint(path, place / "out", **NCSNV2, ema=False)
    assert (place / "out" / "model_index.json").is_file()


# Questions that do not fit the checkpoint


@pytest.mark.parametrize(
    "name, asked, message",
    [
        ("ncsnv2_28", {"channels": 3}, "channels is 3, but the weights take images of 1"),
        ("ncsnv2_32", {"channels": 1}, "channels is 1, but the weights take images of 3"),
        ("ncsnv2_28", {"image_size": 27}, "sample_size is 27; .* a multiple of 2"),
        ("ncsnv2_28", {"image_size": 0}, "sample_size is 0"),
        ("ncsnv2_28", {"image_size": 28.0}, "image_size must be a whole number of pixels; got 28.0"),
        ("ncsnv2_deepest_64", {"architecture": "ncsnv2_deepest", "image_size": 60}, "sample_size is 60; .* of 8"),
        ("ncsnv2_28", {"architecture": "ncsnpp"}, "architecture must be one of ncsn, ncsnv2, .* got 'ncsnpp'"),
        ("ncsnv2_28", {"sigma_max": 50}, "sigma_max is 50, but the checkpoint was trained with 10"),
        ("ncsnv2_28", {"sigma_min": 0.01}, "sigma_min is 0.01, but the checkpoint was trained with 0.1"),
        ("ncsnv2_28", {"sigma_max": float("nan")}, "sigma_max is nan"),
        ("ncsnv2_28", {"num_levels": 6}, "num_levels is 6, but the checkpoint was trained with 5"),
        ("ncsnv2_28", {"step_size": 0.021}, r"step_size is 0.021; it must lie within \(0, 2 sigma_L²\) = \(0, 0.02\)"),
        ("ncsnv2_28", {"steps_per_level": 0}, "steps_per_level must be at least 1"),
        ("ncsn_28", NCSN | {"num_levels": 12}, "num_levels is 12, but the weights are those of 10 levels"),
        ("ncsn_28", NCSN | {"sigma_max": None, "sigma_min": None}, "give sigma_max, sigma_min as in training"),
        ("ncsn_28", NCSN | {"sigma_min": None}, "give sigma_min as in training"),
        ("ncsn_28", NCSN | {"sigma_min": 2}, "0 < sigma_min <= sigma_max must hold"),
    ],
)
def test_a_question_that_does_not_fit(name, asked, message, checkpoints, place):
    refuse(checkpoints.path(name), place, message, **NCSNV2 | asked)


def test_ncsn_with_noise_levels_for_other_tables(checkpoints, place):
    states = checkpoints.states("ncsn_28")
    states[0]["module.sigmas"] = torch.tensor([1.0, 0.1])
    refuse(checkpoints.save(states), place, "sigmas holds 2, but the weights are those of 10 levels", **NCSN)


# Places that cannot be written


def test_what_is_there_already_stays(checkpoints, place):
    path = checkpoints.path("ncsnv2_28")
    (place / "full").mkdir()
    (place / "full" / "mine.txt").write_text("mine", encoding="utf-8")
    for output, message in (("full", "exists and is not an empty folder"), ("full/mine.txt", "exists and is not")):
        with pytest.raises(FileExistsError, match=message):
            convert_checkpoint(path, place / output, **NCSNV2)
    with pytest.raises(NotADirectoryError, match="mine.txt is a file, not a folder"):
        convert_checkpoint(path, place / "full" / "mine.txt" / "out", **NCSNV2)
    assert [entry.name for entry in place.rglob("*")] == ["full", "mine.txt"]
    assert (place / "full" / "mine.txt").read_text(encoding="utf-8") == "mine"


@pytest.mark.parametrize("bytes_left", [0, 2_000, 100_000])
def test_a_disk_that_refuses_more(bytes_left, checkpoints, place, capsys):
    """No file may grow beyond the limit: nothing at all, the configurations, or the code but not the weights."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (bytes_left, hard))
    try:
        code = main([str(checkpoints.path("ncsnv2_28")), str(place / "a" / "out"), *flags(NCSNV2)])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    printed = capsys.readouterr()
    assert (code, printed.out, len(printed.err.splitlines())) == (2, "", 1)
    assert "File too large" in printed.err
    assert not any(place.iterdir())


def flags(asked):
    return [f"--{name.replace('_', '-')}={value}" for name, value in asked.items()]
