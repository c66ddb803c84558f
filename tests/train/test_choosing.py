"""Features are those of the pictures, from the model to its card: clothes are not read as digits."""

import json
import shutil

import numpy as np
import pytest
import torch
from PIL import Image

from ncsn_pipeline import ConsistentAnnealedScheduler, NCSNPipeline, ScoreUNet, write_card
from ncsn_pipeline.commands.evaluate import main
from ncsn_pipeline.commands.hub import main as hub
from ncsn_pipeline.evaluation.choosing import choose_features, training_data, training_facts
from ncsn_pipeline.evaluation.features import SHIPPED_CLASSIFIERS, load_feature_network
from ncsn_pipeline.evaluation.train_classifier import main as train_classifier
from ncsn_pipeline.hub.contents import pipeline_files


@pytest.fixture(scope="module")
def clothes(tmp_path_factory):
    """Grey pictures of two classes, which are no digits: stripes along and across."""
    folder = tmp_path_factory.mktemp("data") / "clothes"
    generator = np.random.default_rng(0)
    for split, count in (("train", 60), ("test", 50)):
        for name in ("sandal", "trouser"):
            (folder / split / name).mkdir(parents=True)
            for number in range(count):
                stripes = 200 * (np.arange(8) % 4 < 2) + np.zeros((8, 8))
                pixels = (stripes if name == "sandal" else stripes.T) + generator.integers(0, 55, (8, 8))
                Image.fromarray(pixels.astype(np.uint8)).save(folder / split / name / f"{number}.png")
    return folder


@pytest.fixture(scope="module")
def saved(tmp_path_factory, clothes):
    folder = tmp_path_factory.mktemp("models") / "wardrobe"
    torch.manual_seed(2)
    network = ScoreUNet(8, 1, (8, 16), num_class_embeds=2, sigma_data=0.4, sigma_max=5.0)
    NCSNPipeline(network, ConsistentAnnealedScheduler(6, sigma_max=5.0)).save_pretrained(folder)
    (folder / "train_config.json").write_text(json.dumps({"train_data_dir": str(clothes)}), encoding="utf-8")
    return folder


@pytest.fixture
def model(saved, tmp_path):
    return shutil.copytree(saved, tmp_path / "wardrobe")


def evaluated(model, *flags):
    words = ["--model", str(model), "--num_samples", "100", "--num_inference_steps", "3"]
    assert main([*words, *flags]) == 0
    return json.loads((model / "evaluation" / "evaluation.json").read_text(encoding="utf-8"))["results"][-1]


def test_clothes_are_measured_without_the_features_of_digits(model, capsys):
    """The data are those of the training, the numbers lie where the card finds them."""
    result = evaluated(model)
    said = capsys.readouterr().out
    assert "The shipped classifiers know ylecun/mnist and avatars alone, and these pictures are clothes." in said
    assert "recognised" not in said and "two sample accuracy" in said and "nearer to a training image" in said
    for name in ("features", "samples", "agreement", "predicted_classes", "confidence"):
        assert result[name] is None
    assert result["arguments"]["dataset_name"] == "clothes" and result["num_train_images"] == 120
    # An untrained network draws no clothes, which every measure sees.
    measures = result["measures"]
    assert measures["two_sample_accuracy"]["samples"] > 0.8 > measures["two_sample_accuracy"]["real"]
    assert measures["sliced_wasserstein"]["samples"] > 2 * measures["sliced_wasserstein"]["real"]
    assert measures["recall"]["samples"] < measures["recall"]["real"]
    assert len(result["closest_pairs"]) == 10 and (model / "evaluation" / "evaluation.png").stat().st_size > 10_000

    assert hub(["card", str(model)]) == 0
    card = (model / "README.md").read_text(encoding="utf-8")
    assert "| told apart | precision | recall |" in card
    assert "class recognised" not in card and "Frechet distance |" not in card
    told = measures["two_sample_accuracy"]
    assert f"| {100 * told['samples']:.1f} % ({100 * told['real']:.1f} %) |" in card
    assert "type: two_sample_accuracy" in card and "split: test" in card
    assert "evaluation/evaluation.json" in pipeline_files(model)


def test_a_classifier_that_was_chosen_is_named_everywhere(model, clothes, tmp_path, capsys):
    judge = str(tmp_path / "judge")
    train_classifier(
        ["--dataset_name", str(clothes), "--output_dir", judge, "--max_train_steps", "12", "--train_batch_size", "20"]
    )
    result = evaluated(model, "--classifier", judge)
    assert result["features"] == "a classifier of clothes" and result["agreement"] is not None
    assert result["measures"]["precision"]["samples"] <= 1 and result["arguments"]["classifier"] == "judge"
    assert "in the features of a classifier of clothes: Frechet distance" in capsys.readouterr().out
    assert "measured in the features of a classifier of clothes." in write_card(model).read_text(encoding="utf-8")


def test_features_of_digits_are_refused_for_clothes_by_name(model, capsys):
    assert main(["--model", str(model), "--features", "classifier"]) == 2
    assert (
        "know ylecun/mnist and avatars alone, and these pictures are clothes. Give the --classifier"
        in capsys.readouterr().err
    )


def test_a_sweep_without_features_is_of_the_sliced_distance(model):
    flags = ["--num_samples", "12", "--sweep", "2,3", "--samplers", "consistent,heun,EDMEulerScheduler"]
    assert main(["--model", str(model), *flags]) == 0
    sweep = json.loads((model / "evaluation" / "sweep.json").read_text(encoding="utf-8"))["rows"]
    # Heun makes 2 N - 1, and without noise there is one more for the start.
    assert [row["nfe"] for row in sweep] == [2, 3, 4, 6, 3, 4]
    assert all(row["frechet"] is None and row["sliced_wasserstein"] > row["real_sliced_wasserstein"] for row in sweep)
    assert "| sliced Wasserstein |" in (model / "evaluation" / "sweep.md").read_text(encoding="utf-8")
    card = write_card(model).read_text(encoding="utf-8")
    assert "Sliced Wasserstein distance of patches against the number" in card and "`HeunDiscreteScheduler`" in card


@pytest.mark.parametrize(
    ("source", "trained_on", "apply"),
    [
        ("ylecun/mnist", None, True),
        ("mnist", None, True),
        ("digits", None, True),
        ("digits", "zalando-datasets/fashion_mnist", True),
        ("zalando-datasets/fashion_mnist", None, False),
        ("fashion_mnist", "ylecun/mnist", False),
        ("someone/mnist", None, False),
        ("{here}/mnist", None, True),
        ("{here}/pictures", None, False),
        ("{here}/pictures", "ylecun/mnist", True),
        ("{here}/pictures", "ylecun/fashion", False),
    ],
)
def test_features_apply_by_name_of_the_data_or_of_the_training(source, trained_on, apply, tmp_path):
    (tmp_path / "mnist").mkdir()
    (tmp_path / "pictures").mkdir()
    network, why_not = choose_features(None, None, source.format(here=tmp_path), trained_on, 1)
    assert (network is not None) == apply == (why_not == "")
    assert network is None or network.name == "a classifier of ylecun/mnist"


@pytest.mark.parametrize("source", ["avatars", "runs/data/avatars", "{here}/avatars"])
def test_avatars_are_measured_in_features_of_their_own(source, tmp_path):
    """Also where the folder that a model was trained on is one of another machine."""
    (tmp_path / "avatars").mkdir()
    network, why_not = choose_features(None, None, source.format(here=tmp_path), None, 3)
    assert (network.name, why_not) == ("a classifier of avatars", "")


def test_features_are_refused_for_pictures_with_other_channels():
    network, why_not = choose_features(None, None, "avatars", None, 1)
    assert network is None and "makes images with 1 channels, and the classifier avatars_classifier" in why_not


@pytest.mark.parametrize(("data", "name"), SHIPPED_CLASSIFIERS.items())
def test_shipped_classifiers_know_the_data_by_whose_name_they_are_chosen(data, name):
    assert load_feature_network("classifier", name).name == f"a classifier of {data}"


def test_what_a_model_was_trained_on_is_told_by_its_folder(model, clothes, tmp_path, capsys):
    def told(name: str) -> str | None:
        return training_data(training_facts(name))

    assert told("mnist") == "ylecun/mnist"
    assert told(str(model)) == str(clothes) and told("user/model") is None
    (model / "train_config.json").unlink()
    (model / "training.json").write_text(json.dumps({"dataset": {"name": "kittens"}}), encoding="utf-8")
    assert told(str(model)) == "kittens"
    (model / "training.json").write_text("[1]", encoding="utf-8")
    assert main(["--model", str(model)]) == 2
    (model / "training.json").unlink()
    assert main(["--model", str(model)]) == 2
    said = capsys.readouterr().err
    assert "training.json is no JSON dictionary" in said and "does not say what it was trained on" in said
