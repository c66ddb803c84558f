"""A folder is what lies in it: pictures, parts, classes, metadata, whatever names may suggest; the rest is named."""

import os
import shutil
import sys
import tarfile
from pathlib import Path

import numpy as np
import pyarrow
import pytest
import torch
import yaml
from datasets import ClassLabel, Dataset, DatasetDict, Features, load_from_disk
from datasets import Image as ImageFeature
from PIL import Image

from ncsn_pipeline.data import load_images, load_train_and_held_out, stream_train_and_held_out
from ncsn_pipeline.data.layout import divide_pictures, divide_tables
from ncsn_pipeline.data.left_out import LeftOut

from .numbered import numbers_of, picture, write_parquet


def write(folder, first, count, ending=".png", form="PNG"):
    """Numbered pictures, called by their numbers."""
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(first, first + count):
        picture(number).save(folder / f"{number:03d}{ending}", format=form)


def by_class(data):
    """The numbers of the pictures of each class."""
    numbers = numbers_of([{"image": data.images}])
    names = [data.label_names[label] for label in data.labels.tolist()]
    return {name: [n for n, own in zip(numbers, names, strict=True) if own == name] for name in data.label_names}


def test_a_class_called_train_is_a_class(tmp_path):
    for i, name in enumerate(("train", "bus", "car")):
        write(tmp_path / name, 10 * i, 10)
    data = load_images(str(tmp_path))
    assert by_class(data) == {"bus": [*range(10, 20)], "car": [*range(20, 30)], "train": [*range(10)]}
    stream, held_out = stream_train_and_held_out(str(tmp_path))
    assert len(held_out) == 3 and sum(1 for _ in stream) == 27 and stream.label_names == ("bus", "car", "train")
    assert "from 30 file(s)" in stream.about and "3 classes (bus, car, train)." in stream.about


@pytest.mark.parametrize("name", ["train.png", "scan_test.png", "test.png", "valid-1.png", "my training.png"])
def test_the_name_of_a_picture_makes_no_part(tmp_path, name):
    write(tmp_path, 0, 20)
    picture(20).save(tmp_path / name)
    assert len(load_images(str(tmp_path))) == 21
    train, held_out = load_train_and_held_out(str(tmp_path))
    assert (len(train), len(held_out)) == (20, 1)
    assert train.about == (
        f"20 images to train on, 1 kept aside at random to measure on, from 21 file(s) in the folder '{tmp_path}'; "
        "no classes."
    )


@pytest.mark.parametrize("names", [("val d'isere", "zermatt"), ("test", "cat"), ("dev", "ops"), ("train 1", "train 2")])
def test_classes_with_a_word_of_a_part_in_their_names(tmp_path, names):
    for i, name in enumerate(names):
        write(tmp_path / name, 10 * i, 4)
    assert by_class(load_images(str(tmp_path))) == {name: [*range(10 * i, 10 * i + 4)] for i, name in enumerate(names)}


PARTS = {
    "plain": {"train/a.png": "train", "test/b.png": "test"},
    "capitals": {"Train/a.png": "train", "Val/b.png": "validation"},
    "inside one folder": {"images/training/a.png": "train", "images/testing/b.png": "test"},
    "COCO": {"train2017/a.png": "train", "val2017/b.png": "validation"},
    "unpacked": {"seg_train/seg_train/a.png": "train", "seg_test/seg_test/b.png": "test"},
    "more beside": {"train/a.png": "train", "test/b.png": "test", "docs/c.png": None, "d.png": None},
    "classes": {"train/a.png": "train", "bus/b.png": "train"},
    "other words around": {"cat_train/a.png": "train", "dog_test/b.png": "train"},
    "loose": {"train/a.png": "train", "b.png": "train"},
    "inside of classes": {"cat/train/a.png": "train", "cat/test/b.png": "test", "dog/train/c.png": "train"},
    "beside those": {"cat/train/a": "train", "cat/val/b": "validation", "dog/train/c": "train", "dog/d.png": None},
}


@pytest.mark.parametrize("case", PARTS)
def test_parts_are_folders_whose_names_leave_no_doubt(case):
    left_out = LeftOut()
    assert divide_pictures(list(PARTS[case]), left_out)[0] == list(PARTS[case].values())
    missing = [path for path, part in PARTS[case].items() if part is None]
    assert all(path in str(left_out) for path in missing) and bool(str(left_out)) == bool(missing)


CLASSES = {
    "years below": {"cat/2023/a": "cat", "cat/2024/b": "cat", "dog/2023/c": "dog"},
    "deeper or not": {"cat/a": "cat", "dog/old/b": "dog"},
    "one name below": {"cat/images/a": "cat", "dog/images/b": "dog"},
    "in one folder": {"all/cat/a": "cat", "all/dog/b": "dog"},
    "around parts": {"cat/train/a": "cat", "dog/train/b": "dog", "dog/test/c": "dog"},
    "of all parts": {"train/cat/a": "cat", "train/dog/b": "dog", "test/cat/c": "cat"},
    "one is none": {"cat/a": None, "cat/b": None},
    "some are loose": {"a": None, "cat/b": "cat", "dog/c": "dog"},
}


@pytest.mark.parametrize("case", CLASSES)
def test_classes_are_the_outermost_folders_that_tell_pictures_apart(case):
    _, classes, names = divide_pictures(list(CLASSES[case]), LeftOut())
    assert classes == list(CLASSES[case].values())
    assert names == (tuple(sorted(set(classes) - {None})) or None)


TABLES = {
    "shards": {"data/train-00000-of-00001-ab.parquet": "train", "data/test-00000-of-00001.parquet": "test"},
    "any shard": {"data/train-00000-of-00001.parquet": "train", "data/extra-00000-of-00001.parquet": "extra"},
    "folders": {"default/train/0.parquet": "train", "default/val/0.parquet": "validation"},
    "no part": {"a.parquet": "train", "b.parquet": "train"},
    "a train beside others": {"train.parquet": "train", "bus.parquet": "train"},
    "others beside parts": {"train.parquet": "train", "test.parquet": "test", "bus.parquet": None},
}


@pytest.mark.parametrize("case", TABLES)
def test_parts_of_tables_are_words_of_their_names(case):
    left_out, paths = LeftOut(), list(TABLES[case])
    parts = divide_tables(paths, left_out)
    assert {path: split for split, names in parts.items() for path in names} | dict.fromkeys(
        path for path in paths if path in str(left_out)
    ) == TABLES[case]


@pytest.mark.parametrize("paths", [["cat/train/a", "cat/test/b", "dog/c"], ["test/b", "a"]])
def test_pictures_for_testing_that_are_in_no_part_are_named(paths):
    left_out = LeftOut()
    assert set(divide_pictures(paths, left_out)[0]) == {"train"}
    (path,) = (path for path in paths if "test" in path)
    assert str(left_out) == f"Used like all others, though named as for testing: 1 image(s), such as {path}."


def test_tables_for_testing_that_are_in_no_part_are_named():
    left_out, paths = LeftOut(), ["data.parquet", "test.parquet"]
    assert divide_tables(paths, left_out) == {"train": paths}
    assert str(left_out) == "Used like all others, though named as for testing: 1 table(s), such as test.parquet."


def test_a_class_without_a_picture_is_named(tmp_path):
    for i, name in enumerate(("cat", "dog", "owl")):
        write(tmp_path / "train" / name, 10 * i, 3)
        write(tmp_path / "test" / name, 50 + 10 * i, 3)
    write(tmp_path / "test" / "bee", 90, 1)
    for path in (tmp_path / "train" / "owl").iterdir():
        path.write_text("torn", encoding="utf-8")
    about = load_train_and_held_out(str(tmp_path))[0].about
    assert "4 classes (bee, cat, dog, owl). No image is of bee, owl." in about


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="nothing is forbidden here")
def test_a_folder_that_cannot_be_read_is_named(tmp_path):
    write(tmp_path / "closed", 0, 2)
    write(tmp_path, 10, 2)
    (tmp_path / "closed").chmod(0)
    assert "1 folder(s) that cannot be read (closed)" in load_images(str(tmp_path)).about
    (tmp_path / "closed").chmod(0o700)


def test_a_few_pictures_beside_class_folders_are_named_and_many_cost_the_classes(tmp_path, caplog):
    for i, name in enumerate(("cat", "dog")):
        write(tmp_path / name, 10 * i, 4)
    write(tmp_path, 50, 2)
    data, _ = load_train_and_held_out(str(tmp_path))
    assert data.label_names == ("cat", "dog") and "2 that cannot be used (050.png, 051.png)" in data.about
    assert "050.png has no label" in caplog.text
    write(tmp_path, 60, 9)
    data, held_out = load_train_and_held_out(str(tmp_path))
    assert data.labels is None and len(data) + len(held_out) == 19
    assert "The classes of 'train' are not used: 11 of 19 images have none." in data.about


def test_pictures_that_a_metadata_file_does_not_list_are_counted_and_named(tmp_path):
    write(tmp_path, 0, 10)
    (tmp_path / "metadata.jsonl").write_text(
        "\n".join(f'{{"file_name": "{i:03d}.png", "text": "t", "label": {i % 2}}}' for i in (4, 3, 2, 1, 0)),
        encoding="utf-8",
    )
    data = load_images(str(tmp_path))
    assert numbers_of([{"image": data.images}]) == [4, 3, 2, 1, 0] and data.labels.tolist() == [0, 1, 0, 1, 0]
    assert "5 not in metadata.jsonl (005.png, 006.png, 007.png and 2 more)" in data.about
    assert "1 other column(s) (text)" in data.about


@pytest.mark.parametrize("where", ["above all", "in each class", "in one class"])
def test_captions_in_metadata_files_leave_the_classes(tmp_path, where):
    for i, name in enumerate(("cat", "dog")):
        write(tmp_path / name, 10 * i, 3)
    files = {"above all": [""], "in each class": ["cat", "dog"], "in one class": ["cat"]}[where]
    for folder in files:
        paths = sorted((tmp_path / folder).rglob("*.png"))
        lines = [f"{path.relative_to(tmp_path / folder).as_posix()},a picture" for path in paths]
        (tmp_path / folder / "metadata.csv").write_text("\n".join(["file_name,text", *lines]), encoding="utf-8")
    assert by_class(load_images(str(tmp_path))) == {"cat": [0, 1, 2], "dog": [10, 11, 12]}


def test_metadata_above_the_parts_is_of_all_of_them(tmp_path):
    write(tmp_path / "train", 0, 3)
    write(tmp_path / "test", 10, 2)
    lines = [f"train/{i:03d}.png,{i}" for i in range(3)] + [f"test/{i:03d}.png,{i - 10}" for i in (10, 11)]
    (tmp_path / "metadata.csv").write_text("\n".join(["file_name,label", *lines]), encoding="utf-8")
    train, test = load_train_and_held_out(str(tmp_path))
    assert (train.labels.tolist(), test.labels.tolist(), test.label_names) == ([0, 1, 2], [0, 1], ("0", "1", "2"))


def test_metadata_files_of_several_kinds_go_together(tmp_path):
    write(tmp_path, 0, 3)
    (tmp_path / "metadata.csv").write_text("file_name,label\n000.png,1\n001.png,3\n", encoding="utf-8")
    (tmp_path / "metadata.jsonl").write_text(
        '{"file_name": "002.png", "label": "b", "box": [1, 2]}\n', encoding="utf-8"
    )
    data = load_images(str(tmp_path))
    assert data.label_names == ("1", "3", "b") and data.labels.tolist() == [0, 1, 2]
    assert "1 other column(s) (box)" in data.about


def test_what_several_metadata_files_say_of_a_picture_goes_together(tmp_path):
    write(tmp_path, 0, 6)
    lines = "\n".join(f"{i:03d}.png,a picture" for i in range(6))
    (tmp_path / "metadata.csv").write_text(f"file_name,text\n{lines}", encoding="utf-8")
    lines = "\n".join(f'{{"file_name": "{i:03d}.png", "label": {i % 3}}}' for i in (5, 4, 3, 2, 1, 0))
    (tmp_path / "metadata.jsonl").write_text(lines, encoding="utf-8")
    data = load_images(str(tmp_path))
    assert numbers_of([{"image": data.images}]) == [*range(6)] and data.labels.tolist() == [0, 1, 2, 0, 1, 2]
    assert "6 in metadata.jsonl that another metadata file lists (005.png, 004.png, 003.png and 3 more)" in data.about


@pytest.mark.parametrize(
    ("labels", "names"),
    [
        ("NA,EU,US", ("EU", "NA", "US")),
        ("None,b,nan", ("None", "b", "nan")),
        ("001,010,002", ("001", "002", "010")),
        ("1,10,2", ("1", "2", "10")),
        ("1,NA,2", ("1", "2")),
        ("b,,a", ("a", "b")),
        ("True,False,", ("0", "1")),
    ],
)
def test_words_of_a_csv_file_stay_as_they_are_written(tmp_path, labels, names):
    """And numbers are numbers, also where some are missing."""
    for i in range(3):
        picture(i).save(tmp_path / f"{i:04d}", format="PNG")
    lines = [f"{i:04d},{label}" for i, label in enumerate(labels.split(","))]
    (tmp_path / "metadata.csv").write_text("\n".join(["file_name,label", *lines]), encoding="utf-8")
    data = load_images(str(tmp_path))
    assert data.label_names == names and len(data) == (2 if len(names) == 2 else 3)


@pytest.mark.parametrize("header", ["file_name,image,label", "image,file_name,label"])
def test_a_column_that_is_called_like_the_pictures_is_left_out(tmp_path, header):
    write(tmp_path, 0, 3)
    rows = ["000.png,7,1", "001.png,8,0"] if header.startswith("file") else ["7,000.png,1", "8,001.png,0"]
    (tmp_path / "metadata.csv").write_text("\n".join([header, *rows]), encoding="utf-8")
    data = load_images(str(tmp_path))
    assert numbers_of([{"image": data.images}]) == [0, 1] and data.labels.tolist() == [1, 0]
    assert "1 other column(s) (image)" in data.about


@pytest.mark.parametrize("text", ["file_name,label\n", "", '"'])
def test_a_metadata_file_that_lists_nothing_is_named(tmp_path, text):
    write(tmp_path, 0, 3)
    (tmp_path / "metadata.csv").write_text(text, encoding="utf-8")
    with pytest.raises(ValueError, match=r"metadata.csv lists no pictures or cannot be read"):
        load_images(str(tmp_path))


@pytest.mark.parametrize("name", ["../out.png", "/etc/out.png", "file://out.png", "a/../../out.png"])
def test_metadata_leads_nowhere_else(tmp_path, name):
    write(tmp_path / "data", 0, 2)
    (tmp_path / "data" / "metadata.csv").write_text(f"file_name,label\n{name},1\n", encoding="utf-8")
    with pytest.raises(ValueError, match=r"metadata.csv names '.*out.png'; it must be a path below"):
        load_images(str(tmp_path / "data"))


@pytest.mark.parametrize(
    ("ending", "form"),
    [(".avif", "AVIF"), ("", "PNG"), (".JPEG", "JPEG"), (".image", "JPEG"), (".png_large", "PNG"), (".jpg~", "WEBP")],
)
def test_whatever_pillow_reads_is_a_picture(tmp_path, ending, form):
    write(tmp_path, 0, 3)
    write(tmp_path, 3, 2, ending, form)
    assert len(load_images(str(tmp_path))) == 5


def test_what_is_no_picture_is_counted_and_named(tmp_path):
    write(tmp_path, 0, 3)
    for name in ("notes.txt", "LICENSE", "film.mpg", "features.h5", "list.jsonl", "empty", "table.parquet"):
        (tmp_path / name).write_bytes(b"" if name == "empty" else b"nothing that is a picture")
    (tmp_path / "._a.png").write_bytes(b"what another system left behind")
    (tmp_path / ".thumbs").mkdir()
    (tmp_path / "gone.png").symlink_to(tmp_path / "nowhere.png")
    about = load_images(str(tmp_path)).about
    assert "3 images, from 11 file(s)" in about
    for words in (
        "6 not images (LICENSE, empty, features.h5 and 3 more)",
        "1 hidden (._a.png)",
        "1 hidden folder(s) (.thumbs)",
        "1 link(s) to nothing (gone.png)",
        "1 table(s) (table.parquet)",
    ):
        assert words in about


def test_folders_behind_links_are_read_once(tmp_path):
    for i, name in enumerate(("cat", "dog")):
        write(tmp_path / "store" / name, 10 * i, 3)
        (tmp_path / "data").mkdir(exist_ok=True)
        (tmp_path / "data" / name).symlink_to(tmp_path / "store" / name)
    (tmp_path / "data" / "again").symlink_to(tmp_path / "data")
    (tmp_path / "data" / "kitten").symlink_to(tmp_path / "data" / "cat")
    data = load_images(str(tmp_path / "data"))
    assert by_class(data) == {"cat": [0, 1, 2], "dog": [10, 11, 12]}
    assert "2 folder(s) that are there twice by a link (again, kitten)" in data.about


def test_of_a_folder_and_a_link_to_it_the_folder_is_read(tmp_path):
    write(tmp_path / "dog", 0, 3)
    (tmp_path / "a dog").symlink_to("dog")
    write(tmp_path / "cat", 10, 3)
    assert by_class(load_images(str(tmp_path))) == {"dog": [0, 1, 2], "cat": [10, 11, 12]}


@pytest.mark.skipif(sys.platform != "linux", reason="other systems refuse such names themselves")
def test_a_name_that_is_not_utf_8_costs_one_picture_and_is_named(tmp_path):
    write(tmp_path, 0, 5)
    os.rename(os.fsencode(tmp_path / "004.png"), os.fsencode(tmp_path) + b"/caf\xe9.png")
    data = load_images(str(tmp_path))
    assert len(data) == 4 and "1 with names that are not UTF-8, which have to be renamed (caf\ufffd.png)" in data.about


@pytest.mark.parametrize("name", ["set [1]", "a*b?", "{x}", "50%", "a b", "100#", "täler"])
@pytest.mark.parametrize("streaming", [False, True])
def test_no_name_of_a_folder_is_read_as_a_pattern(tmp_path, name, streaming):
    pictures, tables = tmp_path / name / "pictures", tmp_path / name / "tables [2]"
    write(pictures, 0, 6)
    write_parquet(tables, 6, split="train")
    write_parquet(tables, 3, split="test")
    load = stream_train_and_held_out if streaming else load_train_and_held_out
    train, held_out = load(str(pictures))
    kept = numbers_of([{"image": held_out.images}])
    assert sorted(kept + numbers_of(list(train) if streaming else [{"image": train.images}])) == [*range(6)]
    assert len(load(str(tables))[1]) == 3


def test_tables_that_changed_are_read_anew(tmp_path):
    source = write_parquet(tmp_path, 6)
    assert len(load_images(source)) == 6
    write_parquet(tmp_path, 9)
    assert len(load_images(source)) == 9


def _labelled(names, labels):
    rows = {"image": [Image.new("L", (6, 6)) for _ in labels], "label": [names.index(label) for label in labels]}
    return Dataset.from_dict(rows, Features({"image": ImageFeature(), "label": ClassLabel(names=names)}))


@pytest.mark.parametrize("streaming", [False, True])
def test_tables_that_number_their_classes_differently_are_refused(tmp_path, streaming):
    _labelled(["bee", "cat"], ["bee", "cat"]).to_parquet(tmp_path / "test.parquet")
    _labelled(["ant", "bee", "cat"], ["ant", "bee", "cat"]).to_parquet(tmp_path / "train.parquet")
    load = stream_train_and_held_out if streaming else load_train_and_held_out
    with pytest.raises(ValueError, match="are ant, bee, cat in train.parquet, and bee, cat in test.parquet"):
        load(str(tmp_path))


@pytest.mark.parametrize("kept_as", ["tables with a description", "what save_to_disk writes"])
def test_no_kind_of_tables_numbers_its_classes_differently(tmp_path, kept_as):
    parts = {"train": ["cat", "dog"], "test": ["dog", "cat"]}
    parts = DatasetDict({split: _labelled(names, ["cat", "dog"]) for split, names in parts.items()})
    if kept_as.startswith("tables"):
        for split, part in parts.items():
            part.to_parquet(tmp_path / f"{split}.parquet")
        files = [{"split": split, "path": f"{split}.parquet"} for split in parts]
        description = {"configs": [{"config_name": "default", "data_files": files}]}
        (tmp_path / "README.md").write_text(f"---\n{yaml.dump(description)}---\n", encoding="utf-8")
    else:
        parts.save_to_disk(tmp_path)
    with pytest.raises(ValueError, match=r"are (cat, dog|dog, cat) in .*, and (dog, cat|cat, dog) in .* same numbers"):
        load_train_and_held_out(str(tmp_path))


def test_what_datasets_caches_beside_its_tables_is_left_out(tmp_path):
    _labelled(["ant", "bee"], ["ant", "bee"] * 3).save_to_disk(tmp_path)
    saved = load_from_disk(tmp_path)
    saved.map(lambda row: row)
    saved.shuffle(seed=0)
    data = load_images(str(tmp_path))
    assert len(data) == 6 and "2 cached by datasets of what lies beside" in data.about


def test_captions_in_a_table_beside_pictures_are_left_out_and_pictures_beside_tables_too(tmp_path):
    write(tmp_path / "pictures", 0, 4)
    Dataset.from_dict({"text": ["a" * 5000] * 400}).to_parquet(tmp_path / "pictures" / "captions.parquet")
    data = load_images(str(tmp_path / "pictures"))
    assert len(data) == 4 and "1 table(s) (captions.parquet)" in data.about
    write(tmp_path / "tables", 0, 1)
    rng = np.random.default_rng(0)
    large = [Image.fromarray(rng.integers(0, 256, (6, 6), dtype=np.uint8)) for _ in range(60)]
    Dataset.from_dict({"image": large}).cast_column("image", ImageFeature()).to_parquet(
        tmp_path / "tables" / "a.parquet"
    )
    data = load_images(str(tmp_path / "tables"))
    assert len(data) == 60 and "1 beside the tables (000.png)" in data.about


@pytest.mark.parametrize("beside", ["pets.tar", "other.tar", "features.arrow", "features.PARQUET"])
def test_an_archive_or_a_table_of_other_things_takes_no_pictures_place(tmp_path, beside):
    write(tmp_path / "cat", 0, 3)
    write(tmp_path / "dog", 10, 3)
    if beside.endswith(".tar"):
        with tarfile.open(tmp_path / beside, "w", encoding="utf-8") as archive:
            for path in sorted(tmp_path.rglob("*.png") if beside == "pets.tar" else [Path(__file__)]):
                archive.add(path, path.name)
    else:
        other = Dataset.from_dict({"feature": np.random.default_rng(0).normal(size=2000)})
        if beside.endswith(".arrow"):
            with pyarrow.ipc.new_stream(tmp_path / beside, other.features.arrow_schema) as stream:
                stream.write_table(other.data.table)
        else:
            other.to_parquet(tmp_path / beside)
    data = load_images(str(tmp_path))
    assert by_class(data) == {"cat": [0, 1, 2], "dog": [10, 11, 12]} and f"1 table(s) ({beside})" in data.about


@pytest.mark.parametrize("declared", [False, True])
def test_a_picture_beside_archives_is_none_of_the_data(tmp_path, declared):
    write(tmp_path / "made", 0, 30 if declared else 20)
    with tarfile.open(tmp_path / "train-000.tar", "w", encoding="utf-8") as archive:
        for path in sorted((tmp_path / "made").iterdir()):
            archive.add(path, path.name)
    shutil.rmtree(tmp_path / "made")
    write(tmp_path, 90, 5 if declared else 1)
    if declared:
        lines = ["---", "configs:", "- config_name: default", "  data_files: train-000.tar", "---", ""]
        (tmp_path / "README.md").write_text("\n".join(lines), encoding="utf-8")
    assert len(load_images(str(tmp_path))) == (30 if declared else 20)


@pytest.mark.parametrize("there", ["nothing", "pictures", "no pictures", "a run's output"])
def test_a_folder_called_digits_is_the_users(tmp_path, monkeypatch, there):
    monkeypatch.chdir(tmp_path)
    if there != "nothing":
        (tmp_path / "digits").mkdir()
    if there in ("pictures", "a run's output"):
        write(tmp_path / "digits" / "samples", 0, 20)
    if there == "a run's output":
        (tmp_path / "digits" / ".run.lock").touch()
    wanted = "20 file(s) in the folder 'digits'" if there == "pictures" else "the built-in 'digits'"
    for load in (load_train_and_held_out, stream_train_and_held_out):
        assert wanted in load("digits")[0].about


def test_pictures_are_opened_without_a_copy_or_a_bar(tmp_path, capfd):
    """Opening a folder of links to one picture: nothing is written, nothing is said to be downloaded."""
    write(tmp_path / "one", 0, 1)
    (tmp_path / "many").mkdir()
    for i in range(2000):
        (tmp_path / "many" / f"{i}.png").symlink_to(tmp_path / "one" / "000.png")
    import datasets

    datasets.enable_progress_bars()
    data = load_images(str(tmp_path / "many"))
    assert len(data) == 2000 and torch.equal(data.images.amin(0), data.images.amax(0))
    assert capfd.readouterr() == ("", "")
    assert not list(datasets.config.HF_DATASETS_CACHE.rglob("*.arrow"))
