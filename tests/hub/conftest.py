"""One Hub and two clients of it for all these tests: one with the package, one that cannot import it."""

import json
import shutil

import pytest
import torch

from ncsn_pipeline import ConsistentAnnealedScheduler, NCSNPipeline, ScoreUNet
from tests.hub_client import Client
from tests.hub_server import WRITER, client_environment, running_hub


@pytest.fixture(scope="session")
def hub():
    with running_hub() as server:
        yield server


@pytest.fixture(autouse=True)
def without_faults(request):
    """No test inherits what another one broke."""
    yield
    if "hub" in request.fixturenames:
        server = request.getfixturevalue("hub")
        server.faults.clear()
        server.requests.clear()


def _client(hub, folder, **options):
    with Client(client_environment(hub.url, folder / "home", options.pop("token", None)), folder, **options) as client:
        yield client


@pytest.fixture(scope="session")
def installed(hub, tmp_path_factory):
    """A process with the package, logged in as one who may write."""
    yield from _client(hub, tmp_path_factory.mktemp("installed"), token=WRITER, package=True)


@pytest.fixture(scope="session")
def bare(hub, tmp_path_factory):
    """A process without the package, not logged in."""
    yield from _client(hub, tmp_path_factory.mktemp("bare"), package=False)


@pytest.fixture(scope="session")
def saved(tmp_path_factory):
    """A small pipeline with three classes as it is saved, with the facts of a training run; not to be changed."""
    folder = tmp_path_factory.mktemp("saved") / "tiny"
    torch.manual_seed(7)
    network = ScoreUNet(
        sample_size=8, block_out_channels=(8, 16), num_class_embeds=3, sigma_data=0.4, sigma_min=0.01, sigma_max=5.0
    )
    torch.nn.init.normal_(network.conv_out.weight, std=0.05)
    NCSNPipeline(network, ConsistentAnnealedScheduler(6, sigma_max=5.0)).save_pretrained(folder)
    settings = {"dataset_name": "user/digits", "train_data_dir": None, "learning_rate": 1e-3, "max_train_steps": 20}
    (folder / "train_config.json").write_text(json.dumps(settings), encoding="utf-8")
    return folder


@pytest.fixture
def folder(saved, tmp_path):
    """A copy of it for one test."""
    return shutil.copytree(saved, tmp_path / "tiny")
