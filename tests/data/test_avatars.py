"""The data set of avatars: the same bytes whenever it is drawn, and no picture of one part in the other."""

import numpy as np
import pytest

from ncsn_pipeline.data import load_images
from ncsn_pipeline.data.avatars import STYLES, draw_avatar, main, seeds_of, write_avatars


def test_the_same_bytes_whenever_it_is_drawn_whatever_the_processes(tmp_path):
    one = write_avatars(tmp_path / "one", per_style=3, test=1, workers=1)
    two = write_avatars(tmp_path / "two", per_style=3, test=1, workers=2)
    assert [path.name for path in one] == ["train-00000-of-00001.parquet", "test-00000-of-00001.parquet"]
    assert [path.read_bytes() for path in one] == [path.read_bytes() for path in two]
    train, test = (load_images(str(tmp_path / "one"), split=split) for split in ("train", "test"))
    assert train.shape == (3, 32, 32) and train.label_names == STYLES
    assert train.labels.tolist() == list(range(12)) * 3 and len(test) == 12
    assert (train.images[12 + 3].permute(1, 2, 0).numpy() == np.asarray(draw_avatar(STYLES[3], 2))).all()
    everything = {image.tobytes() for part in (train, test) for image in part.images.numpy()}
    assert len(everything) == len(train) + len(test)


def test_seeds_of_the_parts_never_overlap_and_grow_by_adding():
    train, test = seeds_of("train", 5000), seeds_of("test", 9000)
    assert not set(train) & set(test) and (len(train), len(test)) == (5000, 9000)
    assert list(train[:3]) == list(seeds_of("train", 3))


def test_what_is_transparent_lies_on_white():
    corner = np.asarray(draw_avatar("open-peeps", 0))[0, 0]
    assert (corner == 255).all()


def test_bad_counts_and_styles_are_refused(tmp_path, capsys):
    assert main(["--output_dir", str(tmp_path / "out"), "--test", "0"]) == 2
    assert "must be at least 1; got 3000, 0 and 2" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
    with pytest.raises(ValueError, match="style is 'lorelei'; there are pixel-art, critters"):
        draw_avatar("lorelei", 0)
