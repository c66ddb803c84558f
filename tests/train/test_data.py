"""What a run says of its data before anything else, and data that cannot be trained on, refused by what is wrong."""

import logging

import numpy as np
import pytest
from accelerate.state import AcceleratorState
from PIL import Image

from ncsn_pipeline.training import train as training
from ncsn_pipeline.training.config import TrainConfig
from ncsn_pipeline.training.network import measure_data

SMALL = {
    "block_out_channels": (8, 8), "num_levels": 4, "train_batch_size": 4, "lr_warmup_steps": 1, "max_train_steps": 1,
    "num_validation_images": 8, "num_sample_images": 1, "report_to": "none",
}  # fmt: skip


def write(folder, pictures, dtype=np.uint8):
    folder.mkdir(parents=True, exist_ok=True)
    for i, pixels in enumerate(pictures):
        Image.fromarray(np.asarray(pixels, dtype=dtype)).save(folder / f"{i}.png")
    return str(folder)


def run(tmp_path, source, **settings):
    AcceleratorState._reset_state(reset_partial_state=True)
    config = TrainConfig(train_data_dir=source, output_dir=str(tmp_path / "out"), **(SMALL | settings))
    training.train(config)


def noise(count, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (count, 8, 8))


@pytest.mark.parametrize("streaming", [False, True])
def test_the_first_line_says_what_is_read_and_what_is_not(tmp_path, capsys, caplog, streaming):
    for i, name in enumerate(("train", "bus", "car")):
        write(tmp_path / "data" / name, noise(10, i))
    (tmp_path / "data" / "notes.txt").write_text("notes", encoding="utf-8")
    with caplog.at_level(logging.INFO):
        run(tmp_path, str(tmp_path / "data"), streaming=streaming)
    count = "a stream of images to train on, 3 kept aside"
    count = count if streaming else "28 images to train on, 2 kept aside at random"
    assert capsys.readouterr().out.splitlines()[0] == (
        f"Data: {count} to measure on, from 31 file(s) in the folder '{tmp_path / 'data'}'; "
        "3 classes (bus, car, train). Left out: 1 not images (notes.txt)."
    )
    measured = "all 27" if streaming else "all 28"
    assert f"Measuring sigma_max: the largest distance between two of {measured} images." in caplog.messages


BAD = {
    "blank": (np.full((20, 8, 8), 255), r"The 19 image\(s\) .* are blank: every pixel is 255"),
    "transparent": (np.zeros((20, 8, 8, 4)), r"blank: every pixel is 255"),
    "equal": (np.tile(noise(1), (20, 1, 1)), "The 19 images .* are all equal: .* Look at the files"),
    "two": (noise(2), "has one image to train on beside those kept aside"),
    "one": (noise(1), r"has 1 image\(s\)"),
    "nearly equal": (
        noise(1) // 2 + (np.arange(8)[:, None] == np.arange(20)[:, None, None] % 3) * (np.arange(8) < 4),
        "differ by 0.0111 at most, not more than sigma_min",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_data_without_differences_are_refused_by_what_is_wrong_with_them(tmp_path, case):
    pictures, words = BAD[case]
    settings = {"held_out_fraction": 0.0, "sigma_min": 0.05} if case == "nearly equal" else {}
    with pytest.raises(ValueError, match=words) as refused:
        run(tmp_path, write(tmp_path / "data", pictures), **settings)
    assert "got 0.0" not in str(refused.value)


@pytest.mark.parametrize("streaming", [False, True])
def test_the_folder_of_train_data_dir_is_a_folder_even_if_it_is_called_digits(tmp_path, monkeypatch, streaming):
    monkeypatch.chdir(tmp_path)
    for name in ("digits", "mnist"):
        with pytest.raises(ValueError, match=f"There is no folder '{name}'. Give train_data_dir a folder"):
            run(tmp_path, name, streaming=streaming)
    (tmp_path / "digits").mkdir()
    with pytest.raises(ValueError, match="Could not read images from './digits'"):
        run(tmp_path, "digits", streaming=streaming)


def test_of_large_images_as_many_are_measured_as_take_seconds(tmp_path, caplog):
    """With a thousandth of the pixels and of the products of 256x256 colour images."""
    from ncsn_pipeline.data import load_images
    from ncsn_pipeline.noise_levels import distance

    data = load_images(write(tmp_path, noise(300)))
    config = TrainConfig(train_data_dir=str(tmp_path))
    with pytest.MonkeyPatch.context() as patch, caplog.at_level(logging.INFO):
        patch.setattr(distance, "MOST_PRODUCTS", 64 * 100 * 99 // 2)
        sigma_max = measure_data(config, data, None).sigma_max
    assert "the largest distance between two of 100 at random of the 300 images." in caplog.messages[-1]
    of_all = measure_data(config, data, None).sigma_max
    assert 0.8 * of_all < sigma_max <= of_all
