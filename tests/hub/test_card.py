"""The model card says what the JSON files say, nothing that they do not, and what the Hub can read."""

import json
import shutil

import pytest
import torch
from huggingface_hub import ModelCard

from ncsn_pipeline import NCSNPipeline, ScoreUNet, write_card
from ncsn_pipeline.fingerprint import fingerprint
from ncsn_pipeline.hub.card import named_card
from ncsn_pipeline.hub.card_tables import training_rows
from ncsn_pipeline.hub.contents import WEIGHTS, pipeline_files, publishable
from ncsn_pipeline.hub.facts import read_facts
from ncsn_pipeline.shipped import MODELS

TRAINING = {
    "command": "accelerate launch train/train.py --dataset_name digits --hub_token hf_abc",
    "steps": 2000,
    "images_seen": 128_000,
    "seconds": 7500.0,
    "hardware": "one CPU core",
    "processes": 2,
    "versions": {"torch": "2.13.0"},
    "dataset": {"name": "digits", "images": 1437, "held_out": 360, "shape": [1, 8, 8]},
    "resumed": 1,
    "held_out_loss": 0.12345,
}
RESULT = {
    "sampler": "ConsistentAnnealedScheduler",
    "nfe": 50,
    "num_samples": 2000,
    "frechet_distance": 0.2506,
    "reference": 0.1653,
    "recognised": 0.963,
    "seconds_per_image": 0.1331,
}
# As `train/evaluate.py` writes one evaluation.
MEASURED = {
    "scheduler": "ConsistentAnnealedScheduler",
    "nfe": 50,
    "seconds_per_image": 0.1331,
    "samples": {"count": 2000, "frechet": 0.2506},
    "real": {"count": 2000, "frechet": 0.1653},
    "agreement": 0.963,
}


def put(folder, **files):
    for name, content in files.items():
        (folder / f"{name}.json").write_text(json.dumps(content), encoding="utf-8")


def cut(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def halved(folder, only):
    """Writes the weights in half precision too, or alone."""
    ScoreUNet.from_pretrained(folder / "unet", torch_dtype=torch.float16).save_pretrained(
        folder / "unet", variant="fp16"
    )
    if only:
        (folder / "unet" / WEIGHTS).unlink()


def sharded(folder):
    """Writes the weights in several files; the first of them."""
    ScoreUNet.from_pretrained(folder / "unet").save_pretrained(folder / "unet", max_shard_size="20KB")
    (folder / "unet" / WEIGHTS).unlink(missing_ok=True)
    return sorted((folder / "unet").glob("*-of-*.safetensors"))[0]


def body_and_data(folder):
    card = ModelCard.load(write_card(folder))
    return card.text, card.data.to_dict()


def test_without_facts(folder):
    """The model itself is enough; what is not known is not there."""
    (folder / "train_config.json").unlink()
    text, data = body_and_data(folder)
    assert data == {
        "library_name": "diffusers",
        "license": "unknown",
        "pipeline_tag": "unconditional-image-generation",
        "tags": ["score-based", "ncsn", "annealed-langevin-dynamics", "diffusers"],
    }
    count = sum(weights.numel() for weights in ScoreUNet.from_pretrained(folder / "unet").parameters())
    assert f"`ScoreUNet`, {count:,} parameters" in text
    assert "8x8 pixels, with 3 classes and a null class, trained for every noise level sigma from 0.01 to 5" in text
    assert "6 levels from 5 to 0.01" in text
    for absent in ("## Quality", "```bash", "| steps |", "None", "nan"):
        assert absent not in text


def test_the_training_run(folder):
    put(folder, training=TRAINING, train_config={"learning_rate": 1e-3, "lr_decay_steps": 500, "loss_weight": "edm"})
    text, _ = body_and_data(folder)
    assert "accelerate launch train/train.py --dataset_name digits --hub_token ***" in text
    assert "hf_abc" not in text
    for row in (
        "| data | digits, 1,437 images, 360 held out, 1x8x8 |",
        "| optimiser | AdamW, learning rate 0.001, linear decay over the last 500 |",
        "| steps | 2,000 of 64 images, 128,000 in all; resumed 1 time |",
        "| time | 2 h 05 min |",
        "| hardware | one CPU core, 2 processes |",
        "| held-out loss | 0.1235 |",
        "| versions | torch 2.13.0 |",
    ):
        assert row in text
    assert "karras2022elucidating" in text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.6, "1 s"),
        (119.4, "119 s"),
        (120, "2 min"),
        (7140, "119 min"),
        (7199, "2 h 00 min"),
        (36_310, "10 h 05 min"),
    ],
)
def test_durations_are_in_seconds_minutes_and_hours(seconds, text, folder):
    put(folder, training={"seconds": seconds})
    assert training_rows(read_facts(folder))["time"] == text


def test_the_settings_of_a_training_run(folder):
    """The range of noise levels is the network's own."""
    settings = {
        "learning_rate": 0.002,
        "lr_warmup_steps": 1500,
        "lr_decay_steps": 400,
        "use_ema": True,
        "ema_decay": 0.999,
        "mixed_precision": "bf16",
        "sigma_distribution": "mixture",
        "sigma_log_mean": -1.5,
        "sigma_log_std": 1.3,
        "sigma_lognormal_fraction": 0.7,
        "sigma_min": 0.5,
        "sigma_max": 7.0,
        "loss_weight": "sigma_squared",
        "data_min": -1.0,
        "data_max": 1.0,
        "class_dropout": 0.15,
    }
    training = {"dataset": {"name": "digits", "images": 1437}, "init_from": "mnist"}
    put(folder, train_config=settings, training=training)
    rows = training_rows(read_facts(folder))
    assert rows["began from"] == "the weights of mnist"
    noise = "sigma drawn 70 % log-normal(-1.5, 1.3), 30 % log-uniform, within [0.01, 5]; weight sigma²"
    optimiser = "AdamW, learning rate 0.002, warmed up over 1,500 steps, linear decay over the last 400"
    classes = "labels used, 15 % dropped for the null class"
    assert rows["noise levels"] == noise
    assert rows["optimiser"] == f"{optimiser}, EMA 0.999, bf16"
    assert rows["data"] == f"digits, 1,437 images, values in [-1, 1], {classes}"
    put(folder, train_config=settings | {"use_ema": False, "mixed_precision": "no", "sigma_distribution": "lognormal"})
    rows = training_rows(read_facts(folder))
    assert rows["optimiser"] == optimiser
    assert rows["noise levels"] == "sigma drawn log-normal(-1.5, 1.3), within [0.01, 5]; weight sigma²"


def test_classes_are_told_in_their_order(folder):
    """A configuration's keys are sorted as words: "10" stands before "2"."""
    network = json.loads((folder / "unet" / "config.json").read_text(encoding="utf-8"))
    put(folder / "unet", config=network | {"id2label": {"0": "a", "10": "k", "2": "c"}})
    assert training_rows(read_facts(folder))["classes"] == "a, c, k"


def test_a_schedule_that_is_given_is_told_by_its_ends(folder):
    put(folder / "scheduler", scheduler_config={"sigmas": [7.0, 1.0, 0.5], "sigma_min": 0.01, "sigma_max": 50.0})
    assert training_rows(read_facts(folder))["noise schedule"] == "3 levels from 7 to 0.5, of the sampler"


def test_only_names_on_the_hub_are_data_sets_of_the_metadata(folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "local" / "faces").mkdir(parents=True)
    for settings, names in (
        ({"dataset_name": "user/faces"}, ["user/faces"]),
        ({"dataset_name": "digits"}, []),
        ({"dataset_name": "local/faces"}, []),
        ({"train_data_dir": "my/faces"}, []),
        ({"dataset_name": "a/b/c"}, []),
    ):
        put(folder, train_config=settings)
        assert read_facts(folder).data_on_the_hub == names


def test_a_card_is_named_once():
    text = 'model = "here"  # this folder\nmodel = "other"\n'
    assert named_card(text, "user/name") == 'model = "user/name"\nmodel = "other"\n'
    assert named_card('load(model, revision="main")', "user/name", "v2") == 'load(model, revision="v2")'


@pytest.mark.parametrize("evaluation", [{"results": [RESULT]}, MEASURED], ids=["results", "as measured"])
def test_the_quality(evaluation, folder):
    put(folder, evaluation=evaluation, card={"datasets": ["user/digits"], "data_name": "Digits"})
    text, data = body_and_data(folder)
    row = "| `ConsistentAnnealedScheduler`, the default | 50 | 2,000 | 0.251 | 0.165 | 1.5 | 96.3 % | 0.13 |"
    assert row in text
    (model,) = data["model-index"]
    (result,) = model["results"]
    assert result["dataset"] == {"name": "Digits", "type": "user/digits", "split": "test"}
    values = {metric["type"]: metric["value"] for metric in result["metrics"]}
    assert values == {"frechet_distance": 0.2506, "frechet_distance_of_real_images": 0.1653, "accuracy": 0.963}
    assert result["metrics"][0]["args"] == {"sampler": RESULT["sampler"], "nfe": 50, "num_samples": 2000}


def test_fewer_real_images_than_samples_are_called_so(folder):
    """Also of a file that gives the spread of several draws of all of them."""
    real = {"count": 1500, "frechet": 1.06, "frechet_std": 3.4e-13}
    measured = MEASURED | {"samples": {"count": 5000, "frechet": 123.0}, "real": real, "num_train_images": 1500}
    row = {"scheduler": "consistent", "nfe": 10, "count": 5000, "frechet": 0.5, "real_frechet": 0.2}
    put(folder, evaluation=measured, sweep={"rows": [row], "num_train_images": 1500})
    text, data = body_and_data(folder)
    assert "| samples | Frechet distance | real images | class recognised |" in text
    assert "| 50 | 5,000 | 123 | 1.06 (1,500 images) | 96.3 % |" in text
    assert "larger for that alone, so no ratio is given" in text and "as many real images" not in text
    assert "5,000 samples (real images: 0.2 (1,500 images))" in text and "| 10 | 0.5 |" in text
    metrics = data["model-index"][0]["results"][0]["metrics"]
    assert any(metric["name"].startswith("the same of 1,500 real images (") for metric in metrics)
    as_many = measured | {"samples": {"count": 1500, "frechet": 123.0}}
    put(folder, evaluation=as_many, sweep={"rows": []})
    assert "| as many real images | ratio |" in (text := body_and_data(folder)[0])
    assert "| 1.06 | 1.2e+02 |" in text


def test_images_that_were_held_out_are_no_test_split(folder):
    put(folder, evaluation=MEASURED | {"split": "held out"})
    assert body_and_data(folder)[1]["model-index"][0]["results"][0]["dataset"]["split"] == "held out"


def test_only_what_was_measured_is_explained(folder):
    measures = {"sliced_wasserstein": {"samples": 0.1, "real": 0.05}, "precision": {"samples": 0.5, "real": 0.5}}
    put(folder, evaluation=MEASURED | {"measures": measures})
    assert "told apart" not in body_and_data(folder)[0]


def test_a_quality_is_that_of_what_was_measured(folder):
    how = {"dataset_name": "user/clothes", "test_split": "dev", "guidance_scale": 1.5, "guidance_interval": [0.5, 1.2]}
    more = {"sigma_max": 4.0, "step_size": 1e-5}
    put(folder, evaluation=MEASURED | {"arguments": how | more}, card={"datasets": ["user/digits"]})
    text, data = body_and_data(folder)
    settings = ", guided by 1.5 at sigma 0.5 to 1.2, step size 1e-05, from sigma 4"
    assert f"| `ConsistentAnnealedScheduler`{settings}, compared with user/clothes | 50 |" in text
    (result,) = data["model-index"][0]["results"]
    assert result["dataset"] == {"name": "user/clothes", "type": "user/clothes", "split": "dev"}
    assert settings in result["metrics"][0]["name"]
    row = {"scheduler": "consistent", "nfe": 10, "count": 100, "frechet": 0.5, "real_frechet": 0.2}
    put(folder, sweep={"rows": [row], "arguments": {"guidance_scale": 2.0, "dataset_name": "user/digits"}})
    assert "| evaluations | `ConsistentAnnealedScheduler`, guided by 2 |" in body_and_data(folder)[0]


def test_a_result_of_other_weights_is_left_out_and_that_is_said(folder, caplog):
    own = fingerprint(NCSNPipeline.from_pretrained(folder).unet.state_dict().values())
    entries = [RESULT | {"nfe": nfe, "weights": of} for nfe, of in ((10, own), (20, None), (30, own[::-1]))]
    put(folder, evaluation={"results": [*entries, RESULT | {"nfe": 40}]})
    facts = read_facts(folder)
    assert [result.nfe for result in facts.results] == [entry["nfe"] for entry in facts.evaluations] == [10, 20, 40]
    assert "1 evaluation(s) of other weights" in caplog.text


def test_a_sweep(folder):
    rows = [
        {"scheduler": name, "nfe": nfe, "count": count, "frechet": distance, "real_frechet": real}
        for name, nfe, count, distance, real in (
            ("consistent", 100, 500, 0.6, 0.3),
            ("consistent", 10, 1000, 0.5, 0.2),
            ("annealed_langevin", 10, 1000, 39.4, 0.2),
        )
    ]
    put(folder, sweep={"rows": rows})
    text, _ = body_and_data(folder)
    assert "| evaluations | `ConsistentAnnealedScheduler` | `AnnealedLangevinScheduler` |" in text
    assert "| 10 | 0.5 (2.5) | 39.4 (197) |" in text
    assert "| 100 | 0.6* (2) |  |" in text
    assert "1,000 samples (as many real images: 0.2); those with *: 500 samples" in text


def test_of_several_numbers_of_samples_a_sweep_shows_the_largest(folder):
    row = {"scheduler": "consistent", "nfe": 10, "real_frechet": 0.2}
    counts = [(1000, 0.5), (2000, 0.4), (500, 0.7)]
    put(folder, sweep={"rows": [row | {"count": count, "frechet": distance} for count, distance in counts]})
    assert "| 10 | 0.4 (2) |" in body_and_data(folder)[0]


def test_what_a_person_wrote_stays(folder):
    written = {
        "title": "Three digits",
        "license": "mit",
        "license_text": "MIT, by us.",
        "limits": "Only three.",
        "training": {"steps": "many"},
        "citations": ["@misc{ours}"],
        "tags": ["digits"],
    }
    put(folder, card=written, training=TRAINING)
    text, data = body_and_data(folder)
    assert text.startswith("\n# Three digits\n")
    assert data["license"] == "mit"
    assert data["tags"][-1] == "digits"
    assert "| steps | many |" in text
    assert "2,000 of 64" not in text
    for words in ("MIT, by us.", "## Limits\n\nOnly three.", "```bibtex\n@misc{ours}\n```"):
        assert words in text


def test_written_twice_is_the_same_and_leaves_nothing_beside(folder):
    before = sorted(path.name for path in folder.iterdir())
    first = write_card(folder).read_text(encoding="utf-8")
    assert write_card(folder).read_text(encoding="utf-8") == first
    assert sorted(path.name for path in folder.iterdir()) == sorted([*before, "README.md"])


@pytest.mark.parametrize("name", MODELS)
def test_the_shipped_card_is_what_the_command_writes(repo_root, tmp_path, monkeypatch, name):
    shipped = repo_root / "pretrained" / name
    copy = shutil.copytree(shipped, tmp_path / "pretrained" / name)
    monkeypatch.chdir(tmp_path)
    write_card(copy)
    regenerated, there = (
        (copy / "README.md").read_text(encoding="utf-8"),
        (shipped / "README.md").read_text(encoding="utf-8"),
    )
    assert regenerated == there, f"run `ncsn hub card pretrained/{name}`"
    assert f'model = "pretrained/{name}"' in there


@pytest.mark.parametrize(
    "break_it, words",
    [
        (lambda folder: (folder / "model_index.json").unlink(), "no pipeline folder"),
        (lambda folder: (folder / "model_index.json").write_text("{", encoding="utf-8"), "is not JSON"),
        (lambda folder: (folder / "model_index.json").write_text("{}", encoding="utf-8"), "names no components"),
        (
            lambda folder: (folder / "model_index.json").write_text('{"vae": [null, null]}', encoding="utf-8"),
            "needs the components unet",
        ),
        (lambda folder: (folder / "pipeline_ncsn.py").unlink(), "lacks pipeline_ncsn.py"),
        (lambda folder: (folder / "unet" / "modeling_score_unet.py").unlink(), "lacks unet/modeling_score_unet.py"),
        (lambda folder: (folder / "unet" / "config.json").unlink(), "lacks the configuration of unet"),
        (lambda folder: (folder / "unet" / WEIGHTS).unlink(), "holds no diffusion_pytorch_model.safetensors"),
        (lambda folder: cut(folder / "unet" / WEIGHTS), "is no whole file of weights"),
        (lambda folder: halved(folder, only=True), "model.fp16.safetensors would be loaded by a variant's name only"),
        (lambda folder: sharded(folder).unlink(), "lacks diffusion_pytorch_model-00001-of-.* parts"),
        (lambda folder: shutil.rmtree(folder / "scheduler"), "lacks the configuration of scheduler"),
        (lambda folder: (folder / "training.json").write_text("half {", encoding="utf-8"), "training.json is not JSON"),
        (lambda folder: (folder / "training.json").write_text("[1]", encoding="utf-8"), "holds a list"),
        (lambda folder: put(folder, card={"limits": 3}), "card.json, train_config.json in .* of another type"),
        (lambda folder: put(folder, card={"training": ["a"]}), "One of card.json"),
        (lambda folder: put(folder, evaluation={"results": None}), "evaluation.json in"),
        (lambda folder: put(folder, evaluation={"results": [3]}), "evaluation.json in"),
        (lambda folder: put(folder, sweep={"rows": [None]}), "sweep.json in"),
        (lambda folder: put(folder, training={"versions": ["a"]}), "training.json in"),
        (lambda folder: put(folder, training={"seconds": "3 h"}), "training.json in"),
    ],
)
def test_a_broken_folder_gets_no_card(break_it, words, folder):
    break_it(folder)
    with pytest.raises(ValueError, match=words):
        write_card(folder)
    assert not (folder / "README.md").exists()


def test_only_what_is_loaded_is_counted(folder):
    count = read_facts(folder).num_parameters
    halved(folder, only=False)
    facts = read_facts(folder)
    assert (facts.num_parameters, facts.num_bytes) == (count, (folder / "unet" / WEIGHTS).stat().st_size)
    assert any("fp16" in name for name in pipeline_files(folder))
    sharded(folder)
    assert read_facts(folder).num_parameters == count


def test_a_folder_that_loads_only_with_the_package_is_refused(folder):
    index = json.loads((folder / "model_index.json").read_text(encoding="utf-8"))
    index["unet"][0] = "ncsn_pipeline.networks.modeling_score_unet"
    put(folder, model_index=index)
    with pytest.raises(ValueError, match="exists only where that package is installed"):
        pipeline_files(folder)


@pytest.mark.parametrize(
    "given, published",
    [
        ("/home/me/data/faces", "faces"),
        ("~/runs/a", "a"),
        ("/home/anna/My Drive/clients/acme scans/train", "train"),
        ("C:\\Users\\Anna Maria\\secret\\x", "x"),
        ("/usr/bin/python train.py --out /mnt/c/d", "python train.py --out d"),
        ("see \\url{https://yann.lecun.com/exdb/mnist/}", "see \\url{https://yann.lecun.com/exdb/mnist/}"),
        ("a multi-token model;", "a multi-token model;"),
        ("C:\\Users\\me\\faces", "faces"),
        ("/home/me/My pics/cats, resized to 32/64 pixels", "My pics/cats, resized to 32/64 pixels"),
        ("\\alpha and \\beta", "\\alpha and \\beta"),
        ("runs/a", "runs/a"),
        ("ylecun/mnist", "ylecun/mnist"),
        ("https://host.org/a/b", "https://host.org/a/b"),
        ("python train.py --hub_token=hf_x --seed 1", "python train.py --hub_token=*** --seed 1"),
        ("--data_dir /mnt/a/b --out '/mnt/c/d'", "--data_dir b --out 'd'"),
        ("see hf_" + "a" * 34, "see ***"),
        ({"wandb_api_key": "1", "a": [{"password": "2", "b": "/x/y/z"}]}, {"a": [{"b": "z"}]}),
    ],
)
def test_what_everyone_may_read(given, published):
    assert publishable(given) == published
