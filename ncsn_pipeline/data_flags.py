"""Flags that say which part of a data set is meant, spelled as in training."""

import argparse

# The defaults and meanings of `ncsn_pipeline.data.Selection`, without the libraries that it loads.
_FLAGS = {
    "dataset_config_name": (None, "one of the configurations of a data set on the Hub"),
    "image_column": (None, "the column of images, where there are several"),
    "label_column": (None, "the column of classes, where there are several"),
    "train_split": ("train", "the part to train on (default: train)"),
    "test_split": (None, "the part to measure on; by default test or validation, or what training keeps aside"),
}


def add_data_flags(parser: argparse.ArgumentParser, *names: str) -> None:
    """Adds the flags called `names`, by default all of them; dashes between words are read too."""
    for name in names or _FLAGS:
        default, text = _FLAGS[name]
        parser.add_argument(f"--{name}", f"--{name.replace('_', '-')}", default=default, metavar="NAME", help=text)
