"""Settings from flags and YAML: the same types, the same ranges, one sentence with the setting's name."""

import dataclasses

import pytest

from ncsn_pipeline.training.config import TrainConfig
from ncsn_pipeline.training.distill_config import DistillConfig
from ncsn_pipeline.training.tracking import tracker_names

DIGITS = ["--dataset_name", "digits"]


def refusal(capsys, arguments):
    """The one line with which the command line is refused."""
    with pytest.raises(SystemExit) as end:
        TrainConfig.from_command_line([*arguments], prog="train.py")
    error = capsys.readouterr().err
    assert end.value.code == 2 and error.startswith("train.py: error: ") and error.count("\n") == 1
    return error


# What is wrong, and what the sentence holds.  `None` stands for what a flag cannot say.
WRONG = [
    ("learning_rate", "abc", "learning_rate is 'abc'"),
    ("learning_rate", "-1", "it should be greater than 0"),
    ("learning_rate", "nan", "finite"),
    ("mixed_precision", "yes", "it should be 'no', 'fp16' or 'bf16'"),
    ("train_batch_size", "2.5", "train_batch_size is"),
    ("train_batch_size", "0", "greater than or equal to 1"),
    ("num_validation_images", "7", "greater than or equal to 8"),
    ("held_out_fraction", "1", "less than 1"),
    ("class_dropout", "1.5", "less than or equal to 1"),
    ("seed", "-3", "seed is"),
    ("adam_beta2", "1", "adam_beta2 is"),
    ("resolution", "0", "resolution is"),
    ("network", "unet", "network is 'unet'; it should be 'score_unet'"),
    ("hub_strategy", "always", "it should be 'end' or 'checkpoint'"),
    ("checkpoints_total_limit", "all", "checkpoints_total_limit is 'all'"),
    ("output_dir", "''", "output_dir is ''; it should have at least 1 character"),
]


@pytest.mark.parametrize(("name", "value", "words"), WRONG, ids=[f"{name}={value}" for name, value, _ in WRONG])
def test_a_wrong_value_is_refused_by_flag_and_by_file(capsys, tmp_path, name, value, words):
    by_flag = refusal(capsys, [*DIGITS, f"--{name}={value}".removesuffix("''")])
    (tmp_path / "run.yaml").write_text(f"dataset_name: digits\n{name}: {value}\n", encoding="utf-8")
    by_file = refusal(capsys, ["--config", str(tmp_path / "run.yaml")])
    for sentence in (by_flag, by_file):
        assert sentence.startswith(f"train.py: error: {name} is ") and words in sentence


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("learning_rate: null", "learning_rate is None; it should be a valid number"),
        ("train_batch_size: true", "train_batch_size is True; it is not a switch"),
        ("use_labels: 7", "use_labels is 7"),
        ("block_out_channels: [16, x]", "block_out_channels, item 2, is 'x'"),
        ("block_out_channels: 16", "block_out_channels is 16"),
        ("output_dir: 3", "output_dir is 3; it should be a valid string"),
        ("lerning_rate: 3", "has no setting lerning_rate, did you mean learning_rate?"),
        ("- 3", "run.yaml must hold settings as `name: value`"),
        ("seed: [", "run.yaml is not YAML"),
    ],
)
def test_a_wrong_file_is_refused(capsys, tmp_path, line, words):
    (tmp_path / "run.yaml").write_text(
        ("" if line.startswith("-") else "dataset_name: digits\n") + line + "\n", encoding="utf-8"
    )
    assert words in refusal(capsys, ["--config", str(tmp_path / "run.yaml")])


def test_a_misspelt_flag_is_told_the_nearest(capsys):
    assert "There is no flag --lerning_rate, did you mean --learning_rate?" in refusal(
        capsys, [*DIGITS, "--lerning_rate", "1"]
    )
    assert "There is no flag --frobnicate. --help" in refusal(capsys, [*DIGITS, "--frobnicate"])


def test_a_token_is_never_shown(capsys, tmp_path):
    (tmp_path / "run.yaml").write_text("dataset_name: digits\nhub_token: [secret-word]\n", encoding="utf-8")
    assert "secret-word" not in refusal(capsys, ["--config", str(tmp_path / "run.yaml")])


def test_text_becomes_the_type_of_its_setting(tmp_path):
    (tmp_path / "run.yaml").write_text(
        "dataset_name: digits\nmixed_precision: no\nlearning_rate: 1e-3\nseed: '8'\nblock_out_channels: [8, 16]\n",
        encoding="utf-8",
    )
    config = TrainConfig.from_command_line(["--config", str(tmp_path / "run.yaml"), "--sigma-max", "3", "--no-use_ema"])
    assert (config.mixed_precision, config.learning_rate, config.seed) == ("no", 1e-3, 8)
    assert (config.block_out_channels, config.sigma_max, config.use_ema) == ((8, 16), 3.0, False)


@pytest.mark.parametrize("flag", ["--learning_rate", "--learning-rate", "--learning-rate=1e-4"])
def test_underscores_and_dashes_are_one(flag):
    words = [flag] if "=" in flag else [flag, "1e-4"]
    assert TrainConfig.from_command_line([*DIGITS, *words]).learning_rate == 1e-4


def test_a_recipe_is_named_and_an_unknown_one_is_refused(capsys):
    assert TrainConfig.from_command_line(["--config", "mnist"]).dataset_name == "ylecun/mnist"
    assert "There is no configuration file mnits" in refusal(capsys, ["--config", "mnits"])


def test_a_file_that_cannot_be_read_is_refused(capsys):
    for name in ("/proc/self/mem", "a" * 300):
        assert f"The configuration file {name} cannot be read: " in refusal(capsys, [*DIGITS, "--config", name])


@pytest.mark.parametrize("value", [-1.0, -0.25, -1e-5, -2.5e20])
def test_a_negative_number_is_no_flag(value):
    config = TrainConfig(dataset_name="digits", data_min=value)
    assert TrainConfig.from_command_line(config.flags()) == config


def test_flags_say_again_what_was_set():
    config = TrainConfig.from_command_line([*DIGITS, "--block_out_channels", "8", "16", "--no-use_ema", "--seed", "4"])
    assert TrainConfig.from_command_line(config.flags()) == config


@pytest.mark.parametrize("value", [None, ()], ids=["none", "empty"])
@pytest.mark.parametrize(
    ("cls", "needed"), [(TrainConfig, {"dataset_name": "digits"}), (DistillConfig, {"teacher": "mnist"})]
)
def test_flags_say_again_what_is_none_or_empty(cls, needed, value):
    """Every setting that can be, one at a time; trackers are compared by what they name."""
    found = []
    for field in dataclasses.fields(cls):
        try:
            config = cls(**needed | {field.name: value})
        except ValueError:  # it cannot be
            continue
        found.append(field.name)
        again = cls.from_command_line(config.flags())
        assert dataclasses.replace(again, report_to=config.report_to) == config, field.name
        assert tracker_names(again.report_to) == tracker_names(config.report_to)
    assert "report_to" in found and (value == () or "checkpoints_total_limit" in found)


def test_none_is_a_word_where_a_setting_can_be_none_and_is_not_by_default(tmp_path):
    (tmp_path / "run.yaml").write_text("dataset_name: digits\ncheckpoints_total_limit: none\n", encoding="utf-8")
    for words in ([*DIGITS, "--checkpoints_total_limit", "none"], ["--config", str(tmp_path / "run.yaml")]):
        assert TrainConfig.from_command_line(words).checkpoints_total_limit is None
    assert TrainConfig(train_data_dir="none").train_data_dir == "none"


def test_sliced_is_not_compiled(capsys):
    words = [*DIGITS, "--torch_compile", "--objective"]
    assert "sliced objective needs a second derivative" in refusal(capsys, [*words, "sliced"])
    for other in ("denoising", "single_sigma"):
        assert TrainConfig.from_command_line([*words, other]).torch_compile
