"""What is pushed is what is loaded: with the package and without, saved again by either, in part, by its revision."""

import re
import shutil
from itertools import pairwise

import pytest
import torch

from tests.hub_server import READER, STRANGER, WRITER


def value(answer):
    assert "value" in answer, answer
    return answer["value"]


def images(answer):
    return torch.tensor(value(answer)["images"])


def assert_equal(first, second):
    """The same pixels; and pictures of something, since two empty ones would be equal too."""
    assert first.shape == second.shape == (2, 1, 8, 8)
    assert first.std() > 0.01
    assert (first - second).abs().max() <= 1e-6


@pytest.fixture(scope="module")
def pushed(installed, saved):
    value(installed.push(folder=str(saved), repo_id="user/tiny"))
    return "user/tiny"


@pytest.fixture(scope="module")
def expected(installed, saved):
    """The images of the folder itself, loaded by the installed package."""
    return images(installed.load(model=str(saved), custom=False))


def test_the_second_client_has_no_package(bare):
    assert value(bare.cannot_import_the_package()) is True


def test_loads_where_the_package_cannot_be_imported(bare, pushed, expected):
    answer = bare.load(model=pushed, custom=True)
    assert_equal(images(answer), expected)
    assert answer["value"]["pipeline"].startswith("diffusers_modules.")


def test_loads_through_the_installed_package_without_trust(installed, pushed, expected):
    answer = installed.load(model=pushed, custom=False)
    assert_equal(images(answer), expected)
    assert answer["value"]["pipeline"] == "ncsn_pipeline.pipelines.folders.NCSNPipeline"


@pytest.mark.parametrize("by", ["installed", "bare"])
def test_saved_again_and_pushed_again(by, installed, bare, hub, pushed, expected, tmp_path):
    client = {"installed": installed, "bare": bare}[by]
    value(client.load(model=pushed, custom=by == "bare", save_to=str(tmp_path / "again")))
    repo = f"user/again-{by}"
    value(installed.push(folder=str(tmp_path / "again"), repo_id=repo))
    assert_equal(images(bare.load(model=repo, custom=True)), expected)
    assert_equal(images(installed.load(model=repo, custom=False)), expected)
    kept = [path for path in hub.files(pushed) if path.endswith((".py", ".safetensors"))]
    assert len(kept) == 4
    assert all(hub.files(repo)[path] == hub.files(pushed)[path] for path in kept)


@pytest.mark.parametrize(
    "scheduler", [("EDMEulerScheduler", {}), ("HeunDiscreteScheduler", {"use_karras_sigmas": True})], ids=lambda s: s[0]
)
def test_with_a_scheduler_of_diffusers_in_its_place(scheduler, installed, bare, hub, pushed, tmp_path):
    steps = 5
    swapped = images(
        installed.load(model=pushed, custom=False, scheduler=scheduler, steps=steps, save_to=str(tmp_path / "swapped"))
    )
    repo = f"user/{scheduler[0].lower()}"
    value(installed.push(folder=str(tmp_path / "swapped"), repo_id=repo))
    for answer in (
        bare.load(model=repo, custom=True, steps=steps),
        installed.load(model=repo, custom=False, steps=steps),
    ):
        assert_equal(images(answer), swapped)
        assert answer["value"]["scheduler"] == scheduler[0]
    assert not any(path.startswith("scheduler/") and path.endswith(".py") for path in hub.files(repo))


def test_a_swapped_scheduler_leaves_no_code_of_the_old_one(installed, hub, saved, tmp_path):
    value(installed.push(folder=str(saved), repo_id="user/replaced"))
    own = "scheduler/scheduling_annealed.py"
    assert own in hub.files("user/replaced")
    edm = ("EDMEulerScheduler", {})
    value(installed.load(model=str(saved), custom=False, scheduler=edm, save_to=str(tmp_path / "edm")))
    value(installed.push(folder=str(tmp_path / "edm"), repo_id="user/replaced"))
    assert own not in hub.files("user/replaced")
    assert ".gitattributes" in hub.files("user/replaced")


def test_private_opens_to_its_owner_only(installed, bare, hub, saved, expected, tmp_path):
    value(installed.push(folder=str(saved), repo_id="user/hidden", private=True))
    assert hub.repository("user/hidden").private
    routes = [(bare, True), (installed, False)]
    for client, custom in routes:
        for token in (WRITER, READER):
            cache = str(tmp_path / f"{token}{custom}")
            answer = client.load_as(login=token, model="user/hidden", custom=custom, cache_dir=cache)
            assert_equal(images(answer), expected)
        for token in (None, STRANGER, "hf_wrong"):
            cache = str(tmp_path / f"{token}{custom}")
            answer = client.load_as(login=token, model="user/hidden", custom=custom, cache_dir=cache)
            assert "OSError" in answer["kinds"], answer
    # diffusers does not pass `token=` on to the code of a pipeline; the installed package needs no such code.
    options = {"login": None, "token": READER, "cache_dir": str(tmp_path / "given")}
    assert_equal(images(installed.load_as(model="user/hidden", custom=False, **options)), expected)


def test_a_repository_that_is_not_there(bare):
    answer = bare.load(model="user/nothing-here", custom=True)
    assert "OSError" in answer["kinds"]
    assert "user/nothing-here" in answer["error"]


def test_a_pinned_revision_stays_what_it_was(installed, bare, hub, saved, expected, tmp_path):
    value(installed.push(folder=str(saved), repo_id="user/pinned"))
    first = hub.repository("user/pinned").head.oid
    changed = shutil.copytree(saved, tmp_path / "changed")
    code = changed / "pipeline_ncsn.py"
    text = code.read_text(encoding="utf-8")
    assert text.count(".clamp(0, 1)") == 1
    code.write_text(text.replace(".clamp(0, 1)", ".clamp(0, 1) * 0.5"), encoding="utf-8")
    value(installed.push(folder=str(changed), repo_id="user/pinned"))
    assert hub.repository("user/pinned").head.oid != first
    halved = images(bare.load(model="user/pinned", custom=True, cache_dir=str(tmp_path / "new")))
    assert_equal(halved, expected * 0.5)
    pinned = images(bare.load(model="user/pinned", custom=True, revision=first, cache_dir=str(tmp_path / "old")))
    assert_equal(pinned, expected)


def test_a_branch(installed, bare, hub, saved, expected, tmp_path):
    value(installed.push(folder=str(saved), repo_id="user/branched", revision="trial/1"))
    repository = hub.repository("user/branched")
    assert list(repository.head.files) == [".gitattributes"]
    assert "model_index.json" in repository.at("trial/1").files
    assert repository.at("trial/1").files["README.md"].data.decode().count('revision="trial/1"') == 2
    answer = bare.load(model="user/branched", custom=True, revision="trial/1", cache_dir=str(tmp_path))
    assert_equal(images(answer), expected)


def test_the_network_alone(installed, bare, pushed, saved):
    with_package = torch.tensor(value(installed.load_own_network(model=pushed)))
    without = torch.tensor(value(bare.load_network(model=pushed, file="modeling_score_unet.py", name="ScoreUNet")))
    from_folder = torch.tensor(value(installed.load_own_network(model=str(saved))))
    assert from_folder.shape == (1, 1, 8, 8)
    assert from_folder.std() > 0.01
    assert torch.equal(with_package, from_folder)
    assert torch.equal(without, from_folder)


def test_the_scheduler_alone(installed, pushed):
    ladder = value(installed.load_scheduler(model=pushed, name="AnnealedLangevinScheduler"))
    assert len(ladder) == 5
    assert ladder[0] == pytest.approx(5.0)
    consistent = value(installed.load_scheduler(model=pushed, name="ConsistentAnnealedScheduler"))
    ratios = [a / b for a, b in pairwise(consistent)]
    assert ratios == pytest.approx([ratios[0]] * 4)
    assert (consistent[0], consistent[-1]) == pytest.approx((5.0, 0.01))


def test_the_snippets_of_the_card_run_as_pasted(installed, bare, hub, pushed, tmp_path):
    card = hub.files(pushed)["README.md"].decode()
    anyone, with_package = re.findall(r"```python\n(.*?)```", card, re.DOTALL)
    assert "ncsn_pipeline" not in anyone
    assert f'model = "{pushed}"\n' in anyone
    assert "trust_remote_code=True, revision=" in anyone
    assert {"pipe", "images", "ones"} <= set(value(bare.run(code=anyone, folder=str(tmp_path))))
    assert (tmp_path / "sample.png").stat().st_size > 50
    value(installed.run(code=f'model = "{pushed}"\n{with_package}', folder=str(tmp_path)))
