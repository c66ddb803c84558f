"""The classifier of pictures: its shapes, its training, and those that come with the package."""

import json
import math
import runpy
import sys

import numpy as np
import pytest
import torch
from PIL import Image

from ncsn_pipeline.data.avatars import STYLES, draw_avatar
from ncsn_pipeline.evaluation.classifier import ImageClassifier
from ncsn_pipeline.evaluation.features import (
    ClassifierFeatures,
    extract_features,
    framed,
    load_feature_network,
)
from ncsn_pipeline.evaluation.train_classifier import accuracy, augment, batches, main, parse_args
from ncsn_pipeline.shipped import shipped_folder


@pytest.fixture(scope="module")
def shipped() -> ImageClassifier:
    return ImageClassifier.from_pretrained(str(shipped_folder("mnist_classifier"))).eval()


def test_features_and_logits_have_their_shapes():
    model = ImageClassifier(num_classes=7).eval()
    images = torch.rand(3, 1, 28, 28)
    features = model.features(images)
    assert features.shape == (3, 64) and model.num_features == 64
    assert model(images).shape == (3, 7)
    torch.testing.assert_close(model(images), model.head(features))
    assert (features >= 0).all()
    for channels, size in ((3, 32), (1, 8), (3, 30)):
        model = ImageClassifier(4, in_channels=channels, sample_size=size).eval()
        assert model(torch.rand(2, channels, size, size)).shape == (2, 4)
    with pytest.raises(ValueError, match="even and at least 8; got 27"):
        ImageClassifier(sample_size=27)
    with pytest.raises(ValueError, match="num_classes must be at least 2; got 1"):
        ImageClassifier(1)


@pytest.mark.parametrize("shape", [(2, 3, 28, 28), (2, 1, 32, 32), (1, 28, 28)])
def test_images_of_another_shape_are_refused(shape):
    with pytest.raises(ValueError, match=r"\(B, 1, 28, 28\); got .*Resize"):
        ImageClassifier().features(torch.rand(shape))


def test_augmentation_is_small_seeded_and_different_for_each_image():
    images = torch.zeros(64, 1, 28, 28)
    images[:, :, 11:17, 11:17] = 1
    first = augment(images, torch.Generator().manual_seed(1))
    torch.testing.assert_close(first, augment(images, torch.Generator().manual_seed(1)), rtol=0, atol=0)
    assert first.min() >= 0 and first.max() <= 1
    assert (first[0] - first[1]).abs().max() > 0.1
    # The ink stays: its area changes by the scale (at most 1.1^2) and, a little, by bending.
    assert ((first.sum((1, 2, 3)) / 36 - 1).abs() < 0.5).all()
    # The centre moves by at most 7 % of 28 pixels, and a little by turning and bending.
    axis = torch.arange(28.0)
    for dim in (2, 3):
        centre = (first.sum((1, 5 - dim)) * axis).sum(1) / first.sum((1, 2, 3))
        assert ((centre - 13.5).abs() < 3.5).all()


def test_augmentation_takes_each_pixel_from_where_its_draws_say():
    """Ramps show where: turned by up to 12 degrees, scaled by 10 %, sheared by 0.15, moved by 7 % of the side, bent."""
    axis = (2 * torch.arange(28) + 1) / 28 - 1  # the middle of each pixel, where the sides are at -1 and 1
    u, v, n = axis[None], axis[:, None], 50
    found = [
        2 * augment((ramp.expand(n, 1, 28, 28) + 1) / 2, torch.Generator().manual_seed(1))[:, 0] - 1 for ramp in (u, v)
    ]
    generator = torch.Generator().manual_seed(1)
    limits = (math.radians(12), 0.10, 0.15, 0.14, 0.14)
    angle, scale, shear, right, down = (
        ((2 * torch.rand(n, generator=generator) - 1) * limit).reshape(n, 1, 1) for limit in limits
    )
    bend = 0.05 * torch.randn(n, 2, 4, 4, generator=generator)
    bend = torch.nn.functional.interpolate(bend, size=(28, 28), mode="bicubic", align_corners=True)
    x = (1 + scale) * angle.cos() * u + (shear - angle.sin()) * v + right + bend[:, 0]
    y = angle.sin() * u + (1 + scale) * angle.cos() * v + down + bend[:, 1]
    inside = torch.maximum(x.abs(), y.abs()) < axis.max()
    assert inside.float().mean() > 0.8
    for got, expected in zip(found, (x, y), strict=True):
        torch.testing.assert_close(got[inside], expected[inside], rtol=0, atol=1e-4)


def test_batches_see_every_image_once_an_epoch(train_digits):
    stream = batches(train_digits, 100, torch.Generator().manual_seed(0))
    epoch = [next(stream) for _ in range(15)]
    labels = torch.cat([labels for _, labels in epoch])
    assert labels.bincount().tolist() == train_digits.labels.bincount().tolist()
    assert epoch[0][0].shape == (100, 1, 28, 28) and epoch[0][0].dtype == torch.float32
    # What is left over at the end of an epoch makes no smaller batch.
    uneven = batches(train_digits, 400, torch.Generator().manual_seed(0))
    assert [len(next(uneven)[1]) for _ in range(8)] == [400] * 8


def test_the_script_learns_and_writes_a_folder_that_loads(tmp_path, repo_root, monkeypatch, capsys):
    words = ["--dataset_name", "digits", "--output_dir", str(tmp_path), "--max_train_steps", "40"]
    monkeypatch.setattr(sys, "argv", ["train_classifier.py", *words, "--train_batch_size", "32", "--seed", "1"])
    runpy.run_path(str(repo_root / "train" / "train_classifier.py"), run_name="__main__")
    record = json.loads((tmp_path / "training.json").read_text(encoding="utf-8"))
    assert record["losses"][-1] < 0.5 * record["losses"][0]
    assert record["steps"] == 40 and record["dataset"] == "digits"
    model = ImageClassifier.from_pretrained(str(tmp_path))
    assert f"{100 * record['test_accuracy']:.2f} %" in capsys.readouterr().out
    assert record["test_accuracy"] > 0.5  # a tenth is chance
    assert (model.config.num_classes, model.config.sample_size, model.config.dataset) == (10, 8, "digits")
    assert {path.name for path in tmp_path.iterdir()} == {
        "config.json",
        "diffusion_pytorch_model.safetensors",
        "training.json",
    }


def test_colour_pictures_in_class_folders_get_a_classifier_too(tmp_path):
    rng = np.random.default_rng(0)
    for name, colour in (("red", 0), ("blue", 2)):
        (tmp_path / "data" / name).mkdir(parents=True)
        for number in range(40):
            pixels = rng.integers(0, 120, (20, 20, 3), dtype=np.uint8)
            pixels[..., colour] += 130
            Image.fromarray(pixels).save(tmp_path / "data" / name / f"{number}.png")
    flags = ["--resolution", "16", "--max_train_steps", "15", "--train_batch_size", "16"]
    main(["--dataset_name", str(tmp_path / "data"), "--output_dir", str(tmp_path / "judge"), *flags])
    assert json.loads((tmp_path / "judge" / "training.json").read_text(encoding="utf-8"))["dataset"] == "data"
    network = load_feature_network("classifier", tmp_path / "judge")
    blue = torch.tensor([0.1, 0.1, 0.9]).reshape(1, 3, 1, 1).expand(5, 3, 24, 24)
    found = extract_features(blue, network)
    assert found.vectors.shape == (5, 64)
    assert found.probabilities.argmax(1).tolist() == [0] * 5  # classes are sorted by name
    with pytest.raises(SystemExit, match="15x15 pixels: .* Set --resolution"):
        main(["--dataset_name", str(tmp_path / "data"), "--output_dir", str(tmp_path / "odd"), "--resolution", "15"])


@pytest.mark.parametrize(
    ("flag", "value"),
    [("--learning_rate", "nan"), ("--max_train_steps", "0"), ("--train_batch_size", "1"), ("--num_train_epochs", "-1")],
)
def test_senseless_settings_are_refused(flag, value, capsys):
    with pytest.raises(SystemExit):
        parse_args(["--output_dir", "unused", flag, value])
    assert flag in capsys.readouterr().err


def test_an_unknown_folder_ends_with_a_message(tmp_path):
    with pytest.raises(SystemExit, match="error: There is no folder"):
        main(["--dataset_name", str(tmp_path / "nothing"), "--output_dir", str(tmp_path / "out")])
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("name", "licence", "tested"),
    [("mnist_classifier", "CC BY-SA 3.0", 10_000), ("avatars_classifier", "CC0 1.0", 3_000)],
)
def test_shipped_classifiers_are_small_and_say_what_they_were_trained_on(name, licence, tested):
    folder = shipped_folder(name)
    assert sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) <= 1_000_000
    card = (folder / "README.md").read_text(encoding="utf-8")
    assert licence in card and "train_classifier.py" in card
    weights = sum(parameter.numel() for parameter in ImageClassifier.from_pretrained(folder).parameters())
    assert f"{weights:,} parameters" in card
    record = json.loads((folder / "training.json").read_text(encoding="utf-8"))
    assert record["test_accuracy"] >= 0.99 and record["test_images"] == tested
    assert f"{100 * record['test_accuracy']:.2f} %" in card


def test_the_shipped_classifier_of_avatars_reads_their_styles_but_not_from_noise():
    """Pictures of seeds beyond those of its training and its test."""
    drawn = [np.asarray(draw_avatar(style, seed)) for style in STYLES for seed in (10**6, 10**6 + 1)]
    images = torch.from_numpy(np.stack(drawn)).permute(0, 3, 1, 2)
    found = extract_features(images, load_feature_network("classifier", "avatars_classifier"))
    assert found.probabilities.argmax(1).tolist() == [number for number in range(len(STYLES)) for _ in range(2)]
    noise = torch.randint(0, 256, images.shape, generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    read = extract_features(noise, load_feature_network("classifier", "avatars_classifier")).probabilities.argmax(1)
    assert len(read.unique()) <= 3


def test_the_shipped_classifier_reads_other_peoples_digits(shipped, train_digits):
    # Other writers, another scanner, 8x8 pixels enlarged: far from MNIST, and far above chance (0.1).
    assert accuracy(shipped, train_digits) > 0.9  # measured: 0.943


def test_feature_network_loads_by_name_and_resizes(shipped, train_digits):
    network = load_feature_network("classifier")
    images = train_digits.images[:20]
    found = extract_features(images, network, batch_size=7)
    torch.testing.assert_close(found.vectors.float(), shipped.features(images / 255), rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(found.probabilities.sum(1), torch.ones(20, dtype=torch.float64))
    assert extract_features(images.repeat(1, 1, 2, 2), network).vectors.shape == (20, 64)


def test_small_digits_get_the_margin_that_mnist_has():
    small = framed(torch.ones(2, 1, 8, 8), 28, margin=4)
    assert small.shape == (2, 1, 28, 28)
    torch.testing.assert_close(small[..., 4:24, 4:24], torch.ones(2, 1, 20, 20))
    assert small.sum() == pytest.approx(2 * 400)
    torch.testing.assert_close(framed(torch.ones(1, 1, 56, 56), 28, margin=4), torch.ones(1, 1, 28, 28))
    torch.testing.assert_close(framed(torch.ones(1, 3, 16, 16), 32), torch.ones(1, 3, 32, 32))
    unchanged = torch.rand(1, 1, 28, 28)
    assert framed(unchanged, 28, margin=4) is unchanged


def test_colour_images_and_unknown_networks_are_refused():
    with pytest.raises(ValueError, match="inception"):
        ClassifierFeatures(ImageClassifier())(torch.rand(2, 3, 28, 28))
    with pytest.raises(ValueError, match="classifier, inception"):
        load_feature_network("resnet")
    with pytest.raises(ValueError, match="no images"):
        extract_features(torch.rand(0, 1, 28, 28), ClassifierFeatures(ImageClassifier()))


def test_a_missing_classifier_is_named(tmp_path):
    with pytest.raises(ValueError, match=r"There is no folder .*nothing"):
        load_feature_network("classifier", tmp_path / "nothing")
    with pytest.raises(ValueError, match="Could not read a classifier"):
        load_feature_network("classifier", tmp_path)


def test_inception_says_what_to_install(monkeypatch):
    from torchmetrics.image import fid

    monkeypatch.setattr(fid, "_TORCH_FIDELITY_AVAILABLE", False)
    with pytest.raises(ModuleNotFoundError, match="pip install torch-fidelity torchvision"):
        load_feature_network("inception")
