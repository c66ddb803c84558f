"""The owner's list of models: only those, each loaded once, a few kept, and a failure said in words."""

import pytest

from ncsn_pipeline.space import models as module
from ncsn_pipeline.space.limits import SettingsError
from ncsn_pipeline.space.models import SpaceModels


@pytest.fixture
def models(model_folder, other_model_folder, tmp_path):
    return SpaceModels([str(model_folder), str(other_model_folder), str(tmp_path / "gone"), "nobody/nothing"])


def test_the_first_is_the_default_and_every_one_has_a_name(models):
    assert models.names[:2] == ("small", "colour")
    assert models.names[2].endswith("gone") and models.names[3] == "nobody/nothing"
    assert models.default is models.get("small")
    assert models.default.num_classes == 10


def test_a_model_is_loaded_when_it_is_asked_for_and_kept(models):
    colour = models.get("colour")
    assert colour.num_classes is None
    assert colour.pipeline.unet.config.in_channels == 3
    assert models.get("colour") is colour


@pytest.mark.parametrize("name", ["google/ncsnpp", "", None, True, 3, ["small"], "../small"])
def test_what_is_not_on_the_list_is_refused(models, name):
    with pytest.raises(SettingsError, match="Model must be one of small, colour"):
        models.get(name)


def test_what_cannot_be_loaded_is_said_and_tried_again(models, caplog):
    for _ in range(2):
        with pytest.raises(SettingsError, match="could not be loaded. Choose another model"):
            models.get(models.names[2])
    assert caplog.text.count("could not be loaded") >= 2


def test_the_one_unused_for_longest_is_forgotten(model_folder, other_model_folder, tmp_path):
    folders = [tmp_path / f"m{i}" for i in range(module.MOST_LOADED)]
    for folder in folders:
        folder.symlink_to(other_model_folder)
    models = SpaceModels([str(model_folder), *map(str, folders)])
    loaded = [models.get(folder.name) for folder in folders]
    assert models.get(folders[-1].name) is loaded[-1]
    assert models.get(folders[0].name) is not loaded[0]
    assert models.default is models.get("small")


def test_a_page_without_a_model_is_refused():
    with pytest.raises(ValueError, match="at least one model"):
        SpaceModels([])


def test_estimates_come_to_what_runs_take(models):
    model = models.default
    estimated = model.seconds(100, 8)
    for _ in range(12):
        model.learn_pace(50, 8, 3 * estimated / 2)
    assert model.seconds(100, 8) == pytest.approx(3 * estimated, rel=1e-3)
    model.learn_pace(9, 8, 1000.0)
    assert model.seconds(100, 8) == pytest.approx(3 * estimated, rel=1e-3)
    for _ in range(12):
        model.learn_pace(100, 8, estimated)
    assert model.seconds(200, 8) == pytest.approx(2 * estimated, rel=1e-3)
