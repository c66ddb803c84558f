"""Folders: written complete, loaded with and without the package, written again, and refused where they are newer."""

import json
import os
import sys
import tomllib
from pathlib import Path

import pytest
import torch
from diffusers import (
    AutoModel,
    DDPMPipeline,
    DDPMScheduler,
    DiffusionPipeline,
    EDMEulerScheduler,
    ScoreSdeVePipeline,
    ScoreSdeVeScheduler,
    UNet2DModel,
)

import ncsn_pipeline
from ncsn_pipeline import ConsistentAnnealedScheduler, NCSNPipeline, ScoreUNet
from ncsn_pipeline.pipelines import from_ddpm
from ncsn_pipeline.pipelines.pipeline_ncsn import FOLDER_FORMAT, VERSION
from tests.processes import run


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def diffusers_network(**settings):
    return UNet2DModel(
        sample_size=8, in_channels=1, out_channels=1, block_out_channels=(8, 16), norm_num_groups=4, layers_per_block=1,
        down_block_types=("DownBlock2D", "AttnDownBlock2D"), up_block_types=("AttnUpBlock2D", "UpBlock2D"), **settings,
    )  # fmt: skip


def own_network():
    network = ScoreUNet(sample_size=8, block_out_channels=(8, 16), sigma_max=5.0, num_class_embeds=3)
    torch.nn.init.normal_(network.conv_out.weight, std=0.05)
    return network


def own(folder):
    return NCSNPipeline(own_network(), ConsistentAnnealedScheduler(6, sigma_max=5.0))


def with_a_solver(folder):
    pipeline = own(folder)
    pipeline.scheduler = EDMEulerScheduler.from_config(pipeline.scheduler.config)
    return pipeline


def from_score_sde(folder):
    network = diffusers_network(time_embedding_type="fourier")
    ScoreSdeVePipeline(network, ScoreSdeVeScheduler(6, sigma_max=5.0)).save_pretrained(folder)
    return NCSNPipeline.from_pretrained(folder)


def of_a_ddpm(folder):
    pipeline = DDPMPipeline(diffusers_network(), DDPMScheduler(100, beta_end=0.1))
    return from_ddpm(pipeline, scheduler=ConsistentAnnealedScheduler(6, sigma_max=5.0))


ORIGINS = [own, with_a_solver, from_score_sde, of_a_ddpm]

WITHOUT_THE_PACKAGE = """
import sys, torch
from importlib.util import find_spec
assert find_spec("ncsn_pipeline") is None or sys.modules.setdefault("ncsn_pipeline", None) is None
from diffusers import DiffusionPipeline
torch.set_num_threads(1)
for folder in sys.argv[1:]:
    pipe = DiffusionPipeline.from_pretrained(folder + "/first", trust_remote_code=True)
    images = pipe(2, generator=torch.Generator().manual_seed(0), num_inference_steps=4, output_type="pt").images
    torch.save(images, folder + "/images.pt")
    pipe.save_pretrained(folder + "/again")
"""


def draw(pipeline):
    pipeline.set_progress_bar_config(disable=True)
    return pipeline(2, generator=seeded(), num_inference_steps=4, output_type="pt").images


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """For every origin a folder with `first` from here, and from a process without the package `again` and images."""
    root = tmp_path_factory.mktemp("folders")
    folders = {}
    for origin in ORIGINS:
        torch.manual_seed(0)
        folders[origin] = root / origin.__name__
        origin(root / origin.__name__ / "source").save_pretrained(root / origin.__name__ / "first")
    environment = {**os.environ, "HF_HOME": str(root / "cache"), "HF_MODULES_CACHE": str(root / "modules")}
    done = run([sys.executable, "-I", "-c", WITHOUT_THE_PACKAGE, *folders.values()], env=environment, cwd=root)
    assert done.returncode == 0, done.stderr
    return folders


def same_files(first, second):
    names = sorted(path.relative_to(first) for path in first.rglob("*") if path.is_file())
    assert names == sorted(path.relative_to(second) for path in second.rglob("*") if path.is_file())
    for name in names:
        assert (first / name).read_bytes() == (second / name).read_bytes(), name


@pytest.mark.parametrize("origin", ORIGINS)
def test_a_folder_loads_with_and_without_the_package_and_after_saving_again(origin, written, tmp_path):
    folder = written[origin]
    loaded = NCSNPipeline.from_pretrained(folder / "first")
    if origin is own:
        assert isinstance(loaded.unet, ScoreUNet)
    expected = draw(loaded)
    assert expected.std() > 0.01
    assert torch.equal(torch.load(folder / "images.pt", weights_only=True), expected)

    same_files(folder / "first", folder / "again")
    reloaded = NCSNPipeline.from_pretrained(folder / "again")
    assert torch.equal(draw(reloaded), expected)
    reloaded.save_pretrained(tmp_path / "third")
    same_files(folder / "first", tmp_path / "third")


def test_the_index_names_files_beside_the_weights_and_whose_they_are(written):
    folder = written[own] / "first"
    index = json.loads((folder / "model_index.json").read_text(encoding="utf-8"))
    assert index["_class_name"] == ["pipeline_ncsn", "NCSNPipeline"]
    assert index["unet"] == ["modeling_score_unet", "ScoreUNet"]
    assert index["scheduler"] == ["scheduling_annealed", "ConsistentAnnealedScheduler"]
    assert (index["data_min"], index["data_max"]) == (0.0, 1.0)
    assert index["_ncsn_pipeline_version"] == VERSION
    assert index["_ncsn_pipeline_format"] == FOLDER_FORMAT
    assert index["_diffusers_version"]
    for name in ("pipeline_ncsn.py", "unet/modeling_score_unet.py", "scheduler/scheduling_annealed.py"):
        assert (folder / name).is_file()


@pytest.mark.parametrize("origin", ORIGINS)
def test_automodel_finds_the_network_and_nothing_warns(origin, written, logged):
    folder = written[origin] / "first"
    pipeline = NCSNPipeline.from_pretrained(folder)
    own_code = origin is not from_score_sde
    network = AutoModel.from_pretrained(str(folder), subfolder="unet", trust_remote_code=own_code)
    alone = AutoModel.from_pretrained(str(folder / "unet"), trust_remote_code=own_code)
    assert type(network).__name__ == type(alone).__name__ == type(pipeline.unet).__name__
    x, sigma = torch.rand(2, 1, 8, 8, generator=seeded()), torch.tensor(0.5)
    with torch.no_grad():
        for loaded in (network, alone):
            assert torch.equal(loaded(x, sigma).sample, pipeline.unet(x, sigma).sample)
    DiffusionPipeline.from_pretrained(folder, trust_remote_code=True)
    ignored = [record.getMessage() for record in logged.records if "not expected" in record.getMessage()]
    assert ignored == []


def test_parts_of_diffusers_need_no_code_beside_them(written):
    for origin, name in ((with_a_solver, "scheduler"), (from_score_sde, "unet")):
        folder = written[origin] / "first"
        assert json.loads((folder / "model_index.json").read_text(encoding="utf-8"))[name][0] == "diffusers"
        assert not list((folder / name).glob("*.py"))


def test_the_version_is_the_packages():
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert ncsn_pipeline.__version__ == project["version"] == VERSION


@pytest.mark.parametrize("found", [FOLDER_FORMAT + 1, "later"])
def test_a_newer_format_is_refused(found, tmp_path):
    own(None).save_pretrained(tmp_path)
    index = json.loads((tmp_path / "model_index.json").read_text(encoding="utf-8"))
    changed = index | {"_ncsn_pipeline_format": found, "_ncsn_pipeline_version": "9.1"}
    (tmp_path / "model_index.json").write_text(json.dumps(changed), encoding="utf-8")
    with pytest.raises(
        ValueError, match=f"format {found}, written by ncsn_pipeline 9.1.*up to {FOLDER_FORMAT}.*Upgrade"
    ):
        NCSNPipeline.from_pretrained(tmp_path)


def test_a_folder_from_before_versions_were_written_loads(tmp_path):
    own(None).save_pretrained(tmp_path)
    index = json.loads((tmp_path / "model_index.json").read_text(encoding="utf-8"))
    old = {key: value for key, value in index.items() if not key.startswith("_ncsn_pipeline")}
    (tmp_path / "model_index.json").write_text(json.dumps(old), encoding="utf-8")
    assert isinstance(NCSNPipeline.from_pretrained(tmp_path).unet, ScoreUNet)


def test_a_subclass_writes_an_ordinary_folder(tmp_path):
    class Another(NCSNPipeline):
        """Another way to sample the same parts."""

    Another(own_network(), ConsistentAnnealedScheduler(6, sigma_max=5.0), data_min=-2.0).save_pretrained(tmp_path)
    for kind in (NCSNPipeline, Another):
        loaded = kind.from_pretrained(tmp_path)
        assert type(loaded) is kind
        assert loaded.config.data_min == -2


def test_a_part_without_a_file_of_its_own_is_refused_before_anything_is_written(tmp_path):
    class Wrapper(ScoreUNet):
        """A network that is not in a file `modeling_*.py`."""

    pipeline = NCSNPipeline(Wrapper(sample_size=8, block_out_channels=(8,)), ConsistentAnnealedScheduler(6))
    with pytest.raises(ValueError, match="cannot be saved"):
        pipeline.save_pretrained(tmp_path / "folder")
    assert not (tmp_path / "folder").exists()
