"""Which of several columns, parts and configurations is meant: the usual one, the named one, or a question."""

import json

import numpy as np
import pytest
from datasets import ClassLabel, Dataset, Features, Value
from datasets import Image as ImageFeature
from PIL import Image

from ncsn_pipeline.commands.noise_levels import main as noise_levels
from ncsn_pipeline.data import Selection, load_images, load_train_and_held_out, stream_train_and_held_out
from ncsn_pipeline.evaluation.train_classifier import load_labelled, parse_args
from ncsn_pipeline.training.config import TrainConfig

from .numbered import numbers_of, picture, write_parquet


def table(folder, images, labels, count=6, split="train"):
    """Image column number c shows 100 c + i; label column number c says (i + c) mod 2."""
    folder.mkdir(exist_ok=True)
    rows = {name: [picture(100 * c + i) for i in range(count)] for c, name in enumerate(images)}
    rows |= {name: [(i + c) % 2 for i in range(count)] for c, name in enumerate(labels)}
    features = {name: ImageFeature() for name in images} | {name: ClassLabel(names=["no", "yes"]) for name in labels}
    Dataset.from_dict(rows, Features(features)).to_parquet(folder / f"{split}.parquet")
    return str(folder)


@pytest.mark.parametrize("load", [load_train_and_held_out, stream_train_and_held_out])
@pytest.mark.parametrize(
    ("images", "labels", "image", "label"),
    [
        (["mask", "image"], ["smiling", "label"], 1, 1),
        (["depth", "img"], ["coarse_label", "fine_label"], 1, 1),
        (["only"], ["odd"], 0, 0),
        (["mask", "Image"], ["smiling", "Label"], 1, 1),
        (["image", "img"], ["labels", "label"], 0, 1),
    ],
)
def test_usual_names_win(tmp_path, load, images, labels, image, label):
    source = table(tmp_path, images, labels)
    table(tmp_path, images, labels, split="test")
    train, test = load(source)
    assert numbers_of([{"image": test.images}]) == [100 * image + i for i in range(6)]
    assert test.labels.tolist() == [(i + label) % 2 for i in range(6)]
    others = [name for name in [*images, *labels] if name not in (images[image], labels[label])]
    assert all(name in train.about for name in others) and ("other column" in train.about) == bool(others)


def test_without_a_usual_name_it_is_asked_for(tmp_path):
    source = table(tmp_path / "images", ["front", "back"], [])
    with pytest.raises(ValueError, match=r"2 columns of images: front, back. Which one is meant\? Set image_column"):
        load_images(source)
    chosen = load_images(source, selection=Selection(image_column="back"))
    assert numbers_of([{"image": chosen.images}]) == [100 + i for i in range(6)]
    source = table(tmp_path / "labels", ["image"], ["smiling", "young"])
    with pytest.raises(
        ValueError, match=r"2 columns of classes: smiling, young. Which one is meant\? Set label_column"
    ):
        load_images(source)
    assert load_images(source, selection=Selection(label_column="young")).labels.tolist() == [1, 0] * 3


def test_names_that_are_not_there_are_refused_with_those_that_are(tmp_path):
    source = table(tmp_path, ["image", "mask"], ["label"])
    for selection, words in (
        (Selection(image_column="imag"), "no column of images 'imag'; its columns of images are: image, mask."),
        (Selection(image_column="label"), "no column of images 'label'"),
        (Selection(label_column="age"), "no column of labels 'age'; its other columns are: mask, label."),
        (Selection(label_column="image"), "no column of labels 'image'"),
        (Selection(train_split="tran"), "no split 'tran'; there are: train."),
        (Selection(test_split="dev"), "no split 'dev'; there are: train."),
        (Selection(dataset_config_name="large"), "large"),
    ):
        for load in (load_train_and_held_out, stream_train_and_held_out):
            with pytest.raises(ValueError, match=words):
                load(source, selection=selection)
    for selection in (Selection(label_column="age"), Selection(dataset_config_name="x"), Selection(image_column="x")):
        with pytest.raises(ValueError, match="The built-in 'digits' has no"):
            load_train_and_held_out("digits", selection=selection)
    with pytest.raises(ValueError, match="both 'train'"):
        Selection(test_split="train")


def test_a_named_column_may_be_of_any_kind_that_makes_sense(tmp_path):
    files = []
    for i in range(6):
        picture(i).save(tmp_path / "one.png")
        files.append((tmp_path / "one.png").read_bytes())
    (tmp_path / "one.png").unlink()
    rows = {"content": files, "breed": list("abcabc"), "weight": [0.5 + i for i in range(6)]}
    rows["struct"] = [{"bytes": content, "path": None} for content in files]
    Dataset.from_dict(rows).to_parquet(tmp_path / "train.parquet")
    with pytest.raises(ValueError, match="no column of images; its columns are: content, breed"):
        load_images(str(tmp_path))
    for name in ("content", "struct"):
        data = load_images(str(tmp_path), selection=Selection(image_column=name, label_column="breed"))
        assert numbers_of([{"image": data.images}]) == [*range(6)] and data.labels.tolist() == [0, 1, 2] * 2
    with pytest.raises(ValueError, match="'weight' of .* holds no classes, which are whole numbers"):
        load_images(str(tmp_path), selection=Selection(image_column="content", label_column="weight"))


def test_columns_of_a_metadata_file(tmp_path):
    for i in range(4):
        picture(i).save(tmp_path / f"{i}.png")
        picture(100 + i).save(tmp_path / f"mask-{i}.png")
    lines = [f"mask-{i}.png,{i}.png,{'ab'[i % 2]}" for i in range(4)]
    (tmp_path / "metadata.csv").write_text(
        "\n".join(["mask_file_name,image_file_name,breed", *lines]), encoding="utf-8"
    )
    data = load_images(str(tmp_path))
    assert numbers_of([{"image": data.images}]) == [0, 1, 2, 3] and data.labels is None
    assert "2 other column(s) (mask, breed)" in data.about
    data = load_images(str(tmp_path), selection=Selection(image_column="mask", label_column="breed"))
    assert numbers_of([{"image": data.images}]) == [100, 101, 102, 103] and data.label_names == ("a", "b")


@pytest.mark.parametrize("streaming", [False, True])
def test_configurations_that_a_readme_declares(tmp_path, streaming):
    for i, name in enumerate(("small", "large")):
        write_parquet(tmp_path / name, 10 * (i + 1))
    lines = [f"- config_name: {name}\n  data_files: {name}/*.parquet" for name in ("small", "large")]
    (tmp_path / "README.md").write_text("\n".join(["---", "configs:", *lines, "---", "# Pictures"]), encoding="utf-8")
    load = stream_train_and_held_out if streaming else load_train_and_held_out
    with pytest.raises(ValueError, match=r"(?s)small.*large.* Choose one by dataset_config_name"):
        load(str(tmp_path))
    train, held_out = load(str(tmp_path), selection=Selection(dataset_config_name="large"))
    assert (sum(1 for _ in train) if streaming else len(train)) + len(held_out) == 20
    with pytest.raises(ValueError, match="huge"):
        load(str(tmp_path), selection=Selection(dataset_config_name="huge"))


def test_named_parts_are_taken_and_others_named(tmp_path):
    for i, split in enumerate(("train", "test", "validation")):
        write_parquet(tmp_path, 10 * (i + 1), split=split)
    for load in (load_train_and_held_out, stream_train_and_held_out):
        train, held_out = load(str(tmp_path), selection=Selection(train_split="test", test_split="validation"))
        assert len(held_out) == 30 and "Not used: the split(s) train." in train.about
        assert (sum(1 for _ in train) if load is stream_train_and_held_out else len(train)) == 20
        _, held_out = load(str(tmp_path), selection=Selection(train_split="test"))
        assert len(held_out) == 30  # never the part that is trained on


def test_flags_of_training_and_of_the_classifier_reach_the_data(tmp_path):
    words = "--image_column back --label_column young --train_split test --test_split train --dataset_config_name x"
    config = TrainConfig.from_command_line(["--dataset_name", "some", *words.split()])
    args = parse_args(["--output_dir", "out", *words.split()])
    for name in ("image_column", "label_column", "train_split", "test_split", "dataset_config_name"):
        assert getattr(config, name) == getattr(args, name) == words.split()[words.split().index(f"--{name}") + 1]
    defaults = parse_args(["--output_dir", "out"])
    assert all(
        getattr(defaults, name) == value == getattr(TrainConfig(dataset_name="digits"), name)
        for name, value in vars(Selection()).items()
    )
    with pytest.raises(ValueError, match="train_split and test_split are both train"):
        TrainConfig(dataset_name="digits", test_split="train")
    source = table(tmp_path, ["front", "back"], ["smiling", "young"])
    train, test = load_labelled(source, None, None, Selection("back", "young"))
    assert len(train) == 5 and len(test) == 1


def test_the_noise_level_command_takes_a_column_and_a_part(tmp_path, capsys):
    source = table(tmp_path, ["front", "back"], [])
    assert noise_levels(["--data", source]) == 2
    assert "Which one is meant?" in capsys.readouterr().err
    assert noise_levels(["--data", source, "--image-column", "back", "--train_split", "train", "--json"]) == 0
    printed = capsys.readouterr()
    assert json.loads(printed.out)["num_points"] == 6 and "1 other column(s) (front)" in printed.err


def save(folder, name, pixels):
    folder.mkdir(exist_ok=True)
    Image.fromarray(pixels).save(folder / name)


@pytest.mark.parametrize(
    ("largest", "words"), [(200, "would be black"), (4095, "would be 16 greys"), (16383, "would be 64 greys")]
)
@pytest.mark.parametrize("load", [load_images, stream_train_and_held_out])
def test_wide_pictures_with_small_values_are_refused(tmp_path, largest, words, load):
    rng = np.random.default_rng(largest)
    for i in range(4):
        save(tmp_path, f"{i}.png", rng.integers(0, largest + 1, (8, 8), dtype=np.uint16))
    save(tmp_path, "5.png", np.full((8, 8), largest, dtype=np.uint16))
    save(tmp_path, "6.tif", np.full((8, 8), largest, dtype=np.int32))
    save(tmp_path, "7.png", np.full((8, 8), 255, dtype=np.uint8))  # another of 8 bits does not hide them
    with pytest.raises(
        ValueError, match=rf"The 6 16-bit image\(s\) of .* no value above {largest} of 65535: .*{words}"
    ):
        load(str(tmp_path))
    save(tmp_path, "8.png", np.full((8, 8), 40_000, dtype=np.uint16))  # one dark picture among bright ones is fine
    load(str(tmp_path))


def test_values_that_are_almost_one_grey_are_mentioned(tmp_path):
    for i in range(5):
        save(tmp_path, f"{i}.png", np.full((8, 8), i, dtype=np.uint8))  # class numbers, saved as a picture
    assert "Their values lie within 0 ... 4 of 0 ... 255, almost one grey" in load_images(str(tmp_path)).about
    assert "almost one grey" in stream_train_and_held_out(str(tmp_path))[0].about
    assert "grey" not in load_images("digits").about


def test_a_column_of_labels_without_classes_is_mentioned(tmp_path):
    features = Features({"image": ImageFeature(), "label": Value("float64")})
    rows = {"image": [picture(i) for i in range(4)], "label": [0.5, 1.5, 2.25, 0.1]}
    Dataset.from_dict(rows, features).to_parquet(tmp_path / "train.parquet")
    assert "The column 'label' holds no classes" in load_images(str(tmp_path)).about
