"""The measures of sample quality against truths: closed forms, planted copies, known corruptions."""

import json
import math
import shutil
from dataclasses import asdict
from types import SimpleNamespace

import pytest
import torch
from PIL import Image

from ncsn_pipeline import AnnealedLangevinScheduler, ConsistentAnnealedScheduler, NCSNPipeline, ScoreUNet, write_card
from ncsn_pipeline.commands.evaluate import main, parse_args
from ncsn_pipeline.data import ImageData, load_images, load_train_and_held_out
from ncsn_pipeline.evaluation.choosing import class_numbers, shown_name
from ncsn_pipeline.evaluation.evaluate import Sampled, SweepRow, lines_of, sample_images, sweep_table
from ncsn_pipeline.evaluation.features import extract_features, load_feature_network
from ncsn_pipeline.evaluation.figure import evaluation_figure, sweep_figure, tile
from ncsn_pipeline.evaluation.quality import (
    Neighbours,
    RealImages,
    balanced_indices,
    evaluate_samples,
    frechet_distance,
    kernel_distance,
    nearest_neighbours,
)
from ncsn_pipeline.samplers import sampler_for


@pytest.fixture(scope="module")
def real(train_digits, test_digits) -> RealImages:
    return RealImages(train_digits, test_digits, load_feature_network("classifier"))


def with_moments(count: int, mean: torch.Tensor, factor: torch.Tensor) -> torch.Tensor:
    """Points whose sample mean is exactly `mean` and whose sample covariance is exactly `factor @ factor.T`."""
    points = torch.randn(count, len(mean), dtype=torch.float64)
    points -= points.mean(0)
    white = points @ torch.linalg.inv(torch.linalg.cholesky(torch.atleast_2d(points.T.cov()))).T
    return mean + white @ factor.T


def noisy(images: torch.Tensor, level: float) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return (images / 255 + level / 255 * torch.randn(images.shape, generator=generator)).clamp(0, 1)


def test_frechet_distance_of_a_set_with_itself_is_zero():
    features = torch.randn(300, 64, dtype=torch.float64)
    assert abs(frechet_distance(features, features)) < 1e-8


@pytest.mark.parametrize("dimension", [1, 5, 64])
def test_frechet_distance_is_the_closed_form(dimension):
    # Commuting covariances: d^2 = ||mu_1 - mu_2||^2 + sum_k (s_k - t_k)^2, with the standard deviations on the axes.
    mean = torch.randn(2, dimension, dtype=torch.float64)
    deviation = 0.2 + torch.rand(2, dimension, dtype=torch.float64)
    rotation = torch.linalg.qr(torch.randn(dimension, dimension, dtype=torch.float64))[0]
    first, second = (with_moments(400, m, rotation @ torch.diag(s)) for m, s in zip(mean, deviation, strict=True))
    exact = ((mean[0] - mean[1]).square().sum() + (deviation[0] - deviation[1]).square().sum()).item()
    assert math.isclose(frechet_distance(first, second), exact, rel_tol=1e-8)
    assert math.isclose(frechet_distance(second, first), exact, rel_tol=1e-8)


def test_kernel_distance_is_near_zero_for_one_distribution_and_not_for_two():
    first, second = torch.randn(2, 800, 16, dtype=torch.float64)
    mean, deviation = kernel_distance(first, second)
    # Subsets of half of each set: their spread bounds the error of their mean generously.
    assert abs(mean) < 4 * deviation
    shifted, _ = kernel_distance(first + 0.5, second)
    assert shifted > 20 * deviation


def test_kernel_distance_is_the_formula_and_leaves_the_global_generator_alone():
    # Two vectors a set leave one subset: all of it.
    first, second = torch.randn(2, 2, 3, dtype=torch.float64)

    def kernel(a, b):
        return ((a @ b / 3) + 1) ** 3

    cross = sum(kernel(a, b) for a in first for b in second) / 4
    exact = kernel(first[0], first[1]) + kernel(second[0], second[1]) - 2 * cross
    state = torch.get_rng_state()
    mean, deviation = kernel_distance(first, second)
    assert math.isclose(mean, exact.item(), rel_tol=1e-9) and deviation < 1e-9
    assert torch.equal(state, torch.get_rng_state())


@pytest.mark.parametrize("distance", [frechet_distance, kernel_distance])
@pytest.mark.parametrize("shapes", [((1, 4), (5, 4)), ((5, 4), (5, 3)), ((5,), (5,))])
def test_features_that_cannot_be_compared_are_refused(distance, shapes):
    with pytest.raises(ValueError, match="at least two feature vectors"):
        distance(*(torch.rand(shape) for shape in shapes))


def test_nearest_neighbours_find_planted_copies():
    database = torch.rand(500, 1, 8, 8)
    queries = torch.rand(40, 1, 8, 8)
    queries[7], queries[23] = database[123], database[499]
    queries[30] = database[5] + 0.01
    distances, indices = nearest_neighbours(queries, database, batch_size=16)
    assert indices[[7, 23, 30]].tolist() == [123, 499, 5]
    assert distances[[7, 23]].tolist() == [0, 0]
    assert distances[30].item() == pytest.approx(0.01 * 8, rel=1e-3)
    exact = torch.cdist(queries.flatten(1).double(), database.flatten(1).double()).min(1)
    torch.testing.assert_close(distances.double(), exact.values, rtol=1e-5, atol=1e-6)
    assert torch.equal(indices, exact.indices)


def test_nearest_neighbours_read_bytes_and_refuse_other_shapes():
    images = torch.randint(0, 256, (20, 1, 8, 8), dtype=torch.uint8)
    distances, indices = nearest_neighbours(images / 255, images)
    assert distances.max() < 1e-5 and indices.tolist() == list(range(20))
    with pytest.raises(ValueError, match="differ in shape"):
        nearest_neighbours(torch.rand(2, 1, 8, 8), torch.rand(2, 3, 8, 8))


def test_balanced_indices_rotate_through_the_classes_as_long_as_they_last():
    labels = torch.tensor([0] * 50 + [1] * 3 + [2] * 50)[torch.randperm(103)]
    generator = torch.Generator().manual_seed(0)
    chosen = balanced_indices(labels, 9, 103, generator)
    assert labels[chosen].tolist() == [0, 1, 2] * 3
    assert labels[balanced_indices(labels, 13, 103, generator)].bincount().tolist() == [5, 3, 5]
    everything = balanced_indices(labels, 1000, 103, generator)
    assert sorted(everything.tolist()) == list(range(103))
    assert len(balanced_indices(None, 10, 103, generator).unique()) == 10
    assert not torch.equal(chosen, balanced_indices(labels, 9, 103, generator))


def test_the_test_images_themselves_are_perfect(real, test_digits):
    quality = evaluate_samples(test_digits.images / 255, test_digits.labels, real)
    assert abs(quality.samples.frechet) < 1e-6
    assert quality.predicted_classes == quality.predictions.bincount(minlength=10).tolist()
    assert sum(quality.predicted_classes) == quality.samples.count == len(test_digits)
    assert quality.requested_classes == test_digits.labels.bincount().tolist()
    assert quality.agreement == quality.real_agreement and quality.confidence == pytest.approx(quality.real_confidence)
    assert torch.equal(quality.sample_distances.sort().values, quality.test_distances.sort().values)
    assert quality.closer_than_test == pytest.approx(0.01, abs=0.005)


def test_real_images_have_the_reference_distance(real, train_digits):
    chosen = balanced_indices(train_digits.labels, 300, len(train_digits), torch.Generator().manual_seed(99))
    quality = evaluate_samples(train_digits.images[chosen] / 255, train_digits.labels[chosen], real)
    assert quality.real.count == 300 and quality.real.frechet_std is not None
    assert 0.7 < quality.ratio < 1.4
    assert quality.requested_classes == [30] * 10
    # They are copies of training images, and that is seen.
    assert quality.closer_than_test == 1 and quality.sample_neighbours.smallest < 1e-5


def test_distances_are_to_the_test_images_and_neighbours_among_the_training_images(real, train_digits, test_digits):
    real = RealImages(train_digits, test_digits, real.network)
    labels = torch.arange(60) % 10
    images = noisy(test_digits.images[:60], 40)
    quality = evaluate_samples(images, labels, real)
    vectors = lambda images: real.network(images / 255).vectors  # noqa: E731
    rounded = (images * 255).round()
    assert quality.samples.frechet == frechet_distance(vectors(rounded), vectors(test_digits.images))
    kernel, spread = kernel_distance(vectors(rounded), vectors(test_digits.images), seed=0)
    assert (quality.samples.kernel, quality.samples.kernel_std) == (kernel, spread)
    frechet = []
    for seed in range(3):
        chosen = balanced_indices(train_digits.labels, 60, 1500, torch.Generator().manual_seed(seed))
        frechet.append(frechet_distance(vectors(train_digits.images[chosen]), vectors(test_digits.images)))
    spread = torch.tensor(frechet).std().item()
    assert (quality.real.frechet, quality.real.frechet_std) == pytest.approx((sum(frechet) / 3, spread), rel=1e-5)
    assert quality.ratio == pytest.approx(quality.samples.frechet / quality.real.frechet)
    exact = torch.cdist(rounded.flatten(1) / 255, train_digits.images.flatten(1) / 255)
    torch.testing.assert_close(quality.sample_distances, exact.amin(1), rtol=1e-3, atol=1e-3)
    probabilities = real.network(rounded / 255).probabilities
    assert quality.confidence == pytest.approx(probabilities.amax(1).mean().item())
    assert quality.agreement == (probabilities.argmax(1) == labels).double().mean().item()
    assert quality.real_confidence == pytest.approx(real.features.probabilities.amax(1).mean().item())


def test_neighbours_are_told_by_their_median_their_first_percentile_and_the_nearest():
    distances = torch.arange(201.0).flip(0)
    assert Neighbours.of(distances) == Neighbours(201, median=100.0, quantile_01=2.0, smallest=0.0)


def test_fewer_real_images_than_samples_have_no_spread_and_no_ratio(real, train_digits, test_digits):
    """Each draw is all of them, and the distance of fewer images is the larger for that alone."""
    few = RealImages(train_digits.subset(torch.arange(60)), test_digits, real.network)
    images = train_digits.images / 255
    fewer, same = (evaluate_samples(images[:count], None, few) for count in (120, 60))
    assert fewer.real == same.real and fewer.real.count == 60
    assert fewer.real.frechet_std is fewer.real.kernel_std is fewer.ratio is None and same.ratio is not None
    assert "(60 real images: " in lines_of(fewer)[0]
    row = SweepRow.of("consistent", None, Sampled(images, None, 3, 0.1), 120, fewer)
    assert f" {row.real_frechet:.3g} (60 images) |" in sweep_table([row]) and "ratio" not in sweep_table([row])
    legend = sweep_figure([asdict(row)], title="a model").legends[0]
    assert "60 real images" in [text.get_text() for text in legend.get_texts()]


def test_samples_without_classes_are_compared_with_independent_draws(real, train_digits):
    images = train_digits.images[:150] / 255
    balanced = evaluate_samples(images, train_digits.labels[:150], real).real
    independent = evaluate_samples(images, None, real).real
    assert balanced == real.distances(150) and independent == real.distances(150, balanced=False)
    # As many of each class: more even than chance, so nearer to the test images, the kernel distance below zero.
    assert balanced.frechet < independent.frechet and balanced.kernel < min(0, independent.kernel)


def test_corruptions_increase_the_distance(real, test_digits):
    images = test_digits.images
    values = [evaluate_samples(noisy(images, level), None, real).samples.frechet for level in (0, 25, 60, 120)]
    assert values == sorted(values) and values[1] > values[0] + 0.1
    blurred = torch.nn.functional.avg_pool2d(images / 255, 3, stride=1, padding=1)
    assert evaluate_samples(blurred, None, real).samples.frechet > values[0] + 1
    without_a_digit = images[test_digits.labels != 1] / 255
    missing = evaluate_samples(without_a_digit, None, real)
    assert missing.samples.frechet > 1 and missing.agreement is None and missing.requested_classes is None


def test_the_class_histogram_shows_a_missing_class(real, test_digits):
    keep = test_digits.labels != 0
    quality = evaluate_samples(test_digits.images[keep] / 255, test_digits.labels[keep], real)
    assert quality.requested_classes[0] == 0 and quality.predicted_classes[0] <= 3
    assert quality.agreement > 0.5


@pytest.mark.parametrize(
    ("images", "labels", "message"),
    [
        (torch.rand(1, 1, 28, 28), None, "At least two samples"),
        (torch.rand(4, 1, 8, 8), None, "At least two samples"),
        (torch.full((4, 1, 28, 28), torch.nan), None, "diverged"),
        (torch.rand(4, 1, 28, 28), torch.zeros(3, dtype=torch.int64), "One label a sample"),
    ],
)
def test_samples_that_cannot_be_measured_are_refused(real, images, labels, message):
    with pytest.raises(ValueError, match=message):
        evaluate_samples(images, labels, real)


def test_tiles_lie_row_by_row():
    picture = tile(torch.arange(3.0).reshape(3, 1, 1, 1).expand(3, 1, 2, 2) / 2, columns=2, gap=1)
    assert picture.shape == (5, 5, 3)
    assert (picture[:2, :2] == 0).all() and (picture[:2, 3:] == 0.5).all() and (picture[3:, :2] == 1).all()
    assert (picture[2] == 1).all() and (picture[3:, 3:] == 1).all()


def test_nothing_in_the_pictures_is_clipped(real, test_digits):
    images = test_digits.images / 255
    quality = evaluate_samples(images, test_digits.labels, real)
    rows = [
        {"scheduler": name, "count": 100, "nfe": nfe, "frechet": 30 / nfe + 2, "real_frechet": 1.5}
        for name in ("annealed_langevin", "consistent")
        for nfe in (10, 100)
    ]
    for figure in (
        evaluation_figure(images, real.train.images, quality, title="a model"),
        sweep_figure(rows, title="a model"),
    ):
        figure.canvas.draw()
        width, height = figure.canvas.get_width_height()
        box = figure.get_tightbbox()  # inches
        assert box.x0 >= 0 and box.y0 >= 0
        assert box.x1 * figure.dpi <= width and box.y1 * figure.dpi <= height


class RepeatedImages:
    """Stands in for a pipeline: returns given images by class, with the pipeline's interface, in three evaluations."""

    def __init__(self, data: ImageData, num_classes: int | None) -> None:
        self.data, self.calls = data, []
        config = SimpleNamespace(num_class_embeds=num_classes, in_channels=1, sample_size=data.images.shape[-1])
        self.unet = torch.nn.Identity()
        self.unet.config = config
        self.scheduler = SimpleNamespace(steps_per_level=5)

    def __call__(self, *, batch_size, generator, output_type, class_labels=None, **options):
        assert output_type == "pt" and isinstance(generator, torch.Generator)
        self.calls.append((class_labels, options))
        indices = torch.arange(batch_size)
        for _ in range(3):
            self.unet(indices)
        if class_labels is not None:
            indices = torch.stack([(self.data.labels == label).nonzero()[0, 0] for label in class_labels])
        return SimpleNamespace(images=self.data.images[indices] / 255)


def test_classes_are_asked_for_in_rotation(test_digits):
    pipe = RepeatedImages(test_digits, num_classes=10)
    sampled = sample_images(pipe, 23, batch_size=10, num_inference_steps=3)
    assert sampled.labels.tolist() == [i % 10 for i in range(23)]
    assert torch.cat([labels for labels, _ in pipe.calls]).tolist() == sampled.labels.tolist()
    assert sampled.images.shape == (23, 1, 28, 28) and sampled.nfe == 3 and sampled.seconds_per_image > 0
    assert all(options == {"num_inference_steps": 3} for _, options in pipe.calls)
    unlabelled = sample_images(RepeatedImages(test_digits, num_classes=None), 5, batch_size=2)
    assert unlabelled.labels is None and len(unlabelled.images) == 5


@pytest.fixture
def command(monkeypatch, tmp_path, test_digits):
    """Runs the command on the stand-in pipeline; 8x8 digits enlarge to 28x28 on the way."""
    from ncsn_pipeline.evaluation import evaluate

    def run(*arguments: str):
        pipe = RepeatedImages(test_digits, num_classes=10)
        monkeypatch.setattr(evaluate, "load_pipeline", lambda model, device: pipe)
        monkeypatch.setattr(evaluate, "sampler_for", lambda scheduler, name, sigma_max=None, **settings: scheduler)
        words = ["--model", "some/model", "--dataset_name", "digits", "--output_dir", str(tmp_path)]
        assert main([*words, *arguments]) == 0
        return pipe

    return run


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """A small model of ten classes of 8x8 digits, as a folder."""
    folder = tmp_path_factory.mktemp("saved") / "model"
    torch.manual_seed(1)
    network = ScoreUNet(8, 1, (8, 16), num_class_embeds=10, sigma_data=0.4, sigma_max=5.0)
    torch.nn.init.normal_(network.conv_out.weight, std=0.05)
    NCSNPipeline(network, ConsistentAnnealedScheduler(6, sigma_max=5.0)).save_pretrained(folder)
    return folder


def test_the_command_measures_what_its_flags_say(saved, tmp_path, capsys):
    """The same samples, drawn and measured by hand."""
    flags = "--num_samples 40 --batch_size 16 --sampler annealed_langevin --num_inference_steps 5 --steps_per_level 2"
    flags += " --step_size 1e-5 --sigma_max 3 --guidance_scale 1.5 --guidance_interval 0.1 1 --seed 5"
    flags += " --dataset_name digits --device cpu"
    output = tmp_path / "out"
    assert main(["--model", str(saved), "--output_dir", str(output), *flags.split()]) == 0
    (result,) = json.loads((output / "evaluation.json").read_text(encoding="utf-8"))["results"]
    assert result["steps_per_level"] == 2

    pipe = NCSNPipeline.from_pretrained(saved)
    pipe.set_progress_bar_config(disable=True)
    langevin = {"sigma_max": 3.0, "steps_per_level": 2, "step_size": 1e-5}
    pipe.scheduler = AnnealedLangevinScheduler.from_config(pipe.scheduler.config, **langevin)
    labels, generator = torch.arange(40) % 10, torch.Generator().manual_seed(5)
    options = {"num_inference_steps": 5, "guidance_scale": 1.5, "guidance_interval": (0.1, 1.0)}
    images = torch.cat([
        pipe(len(part), class_labels=part, generator=generator, output_type="pt", **options).images
        for part in labels.split(16)
    ])  # fmt: skip
    levels = pipe.scheduler.timesteps
    assert levels[0] == 3
    assert result["nfe"] == 5 + ((0.1 <= levels) & (levels <= 1)).sum()  # guided ones are two
    images = (images * 255).round().byte()
    train, test = load_images("digits"), load_images("digits", split="test")
    network = load_feature_network("classifier")
    test_vectors = extract_features(test.images, network).vectors
    found = extract_features(images, network)
    assert result["samples"]["frechet"] == pytest.approx(frechet_distance(found.vectors, test_vectors), rel=1e-9)
    assert result["agreement"] == (found.probabilities.argmax(1) == labels).double().mean().item()
    frechet = []
    for seed in (5, 6, 7):
        chosen = balanced_indices(train.labels, 40, 1500, torch.Generator().manual_seed(seed))
        frechet.append(frechet_distance(extract_features(train.images[chosen], network).vectors, test_vectors))
    assert result["real"]["frechet"] == pytest.approx(sum(frechet) / 3, rel=1e-9)
    assert (result["num_train_images"], result["num_test_images"], result["requested_classes"]) == (1500, 297, [4] * 10)
    distances, neighbours = nearest_neighbours(images, train.images)
    nearest = sorted(zip(distances.tolist(), range(40), neighbours.tolist(), strict=True))
    pairs = [(pair["distance"], pair["sample"], pair["training_image"]) for pair in result["closest_pairs"]]
    assert pairs == nearest[:10]
    assert (result["scheduler"], result["split"]) == ("AnnealedLangevinScheduler", "test")
    assert set(result) >= {"seconds_per_image", "versions", "arguments", "threads"}
    assert (result["arguments"]["model"], result["arguments"]["guidance_scale"]) == ("model", 1.5)
    assert str(tmp_path) not in json.dumps(result)
    assert (output / "evaluation.png").stat().st_size > 10_000
    assert "Frechet distance" in capsys.readouterr().out


def test_without_a_test_split_the_part_that_training_keeps_aside_is_measured_against(saved, tmp_path, capsys):
    digits = load_images("digits")
    for i in range(200):
        folder = tmp_path / "data" / digits.label_names[digits.labels[i]]
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(digits.images[i, 0].numpy()).save(folder / f"{i}.png")
    words = ["--model", str(saved), "--dataset_name", str(tmp_path / "data"), "--device", "cpu"]
    words += "--num_samples 10 --num_inference_steps 2 --held_out_fraction 0.2 --held_out_seed 7".split()
    words += ["--classifier", "mnist_classifier"]
    assert main([*words, "--output_dir", str(tmp_path / "out")]) == 0
    (result,) = json.loads((tmp_path / "out" / "evaluation.json").read_text(encoding="utf-8"))["results"]
    assert result["split"] == "held out"
    assert (result["num_train_images"], result["num_test_images"]) == (160, 40)
    assert "160 images to train on, 40 kept aside at random to measure on" in capsys.readouterr().out
    train, test = load_train_and_held_out(str(tmp_path / "data"), held_out_fraction=0.2, seed=7)
    real = RealImages(train, test, load_feature_network("classifier"))
    assert result["real"]["frechet"] == pytest.approx(real.distances(10).frechet, rel=1e-9)
    assert main([*words, "--output_dir", str(tmp_path / "out"), "--test_split", "dev"]) == 2
    assert "no split 'dev'; there are: train" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        parse_args([*words, "--held_out_fraction", "1"])


def test_the_data_are_divided_as_the_models_training_divided_them(saved, tmp_path, capsys):
    """So that no picture that it was trained on is measured against; a flag wins, other data have the defaults."""
    digits = load_images("digits")
    for name in ("data", "other"):
        (tmp_path / name).mkdir()
        for i in range(50):
            Image.fromarray(digits.images[i, 0].numpy()).save(tmp_path / name / f"{i}.png")
    model = shutil.copytree(saved, tmp_path / "model")
    settings = {"train_data_dir": str(tmp_path / "data"), "held_out_fraction": 0.3, "seed": 4, "image_column": "image"}
    (model / "train_config.json").write_text(json.dumps(settings), encoding="utf-8")

    def recorded(*flags: str) -> dict:
        words = ["--model", str(model), "--output_dir", str(tmp_path / "out"), "--device", "cpu"]
        words += "--num_samples 2 --num_inference_steps 2 --classifier mnist_classifier".split()
        assert main([*words, *flags]) == 0
        capsys.readouterr()
        result = json.loads((tmp_path / "out" / "evaluation.json").read_text(encoding="utf-8"))["results"][-1]
        names = ("held_out_fraction", "held_out_seed", "image_column", "train_split", "test_split")
        return {name: result["arguments"][name] for name in names} | {"images": result["num_test_images"]}

    as_trained = {
        "held_out_fraction": 0.3, "held_out_seed": 4, "image_column": "image", "train_split": "train",
        "test_split": None, "images": 15,
    }  # fmt: skip
    assert recorded() == as_trained
    assert recorded("--held_out_fraction", "0.1") == as_trained | {"held_out_fraction": 0.1, "images": 5}
    for flags in (["--held_out_seed", "5"], ["--held_out_fraction", "0.4"]):
        assert main(["--model", str(model), "--output_dir", str(tmp_path / "out"), *flags]) == 2
        assert "some of those to measure on are ones that it was trained on" in capsys.readouterr().err
    other = recorded("--dataset_name", str(tmp_path / "other"))
    assert other == as_trained | {"held_out_fraction": 0.05, "held_out_seed": 0, "image_column": None, "images": 2}


def test_too_few_images_to_measure_on_are_told_with_the_way_out(saved, tmp_path, capsys):
    for i in range(40):
        (tmp_path / "data").mkdir(exist_ok=True)
        Image.new("L", (8, 8), 6 * i).save(tmp_path / "data" / f"{i}.png")
    words = ["--model", str(saved), "--dataset_name", str(tmp_path / "data"), "--output_dir", str(tmp_path / "out")]
    words += "--num_samples 4 --num_inference_steps 2 --device cpu".split()
    assert main(words) == 0
    assert "Only 2 images to measure on" in (said := capsys.readouterr().out) and "--held_out_fraction" in said
    assert main([*words, "--held_out_fraction", "0"]) == 2
    assert "has 1 image(s) to measure on" in (said := capsys.readouterr().err)
    assert "--held_out_fraction" in said and "--dataset_name" in said


def test_the_split_that_was_measured_on_is_written(saved, tmp_path):
    for split in ("train", "validation"):
        (tmp_path / "data" / split).mkdir(parents=True)
        for i in range(4):
            Image.new("L", (8, 8), 60 * i).save(tmp_path / "data" / split / f"{i}.png")
    words = ["--model", str(saved), "--dataset_name", str(tmp_path / "data"), "--output_dir", str(tmp_path)]
    assert main([*words, *"--num_samples 4 --num_inference_steps 2 --device cpu".split()]) == 0
    (result,) = json.loads((tmp_path / "evaluation.json").read_text(encoding="utf-8"))["results"]
    assert result["split"] == "validation"


def test_a_second_evaluation_stands_beside_the_first(saved, tmp_path, capsys):
    """Until its own way of sampling is measured again, or the weights have changed."""
    model = shutil.copytree(saved, tmp_path / "model")

    def samplers(*flags: str) -> list[tuple[str, int]]:
        words = ["--model", str(model), "--dataset_name", "digits", "--num_samples", "10", "--device", "cpu"]
        assert main([*words, "--num_inference_steps", "2", *flags]) == 0
        results = json.loads((model / "evaluation" / "evaluation.json").read_text(encoding="utf-8"))["results"]
        return [(result["scheduler"], result["nfe"], result["sample_neighbours"]["count"]) for result in results]

    own, heun = ("ConsistentAnnealedScheduler", 2, 10), ("HeunDiscreteScheduler", 4, 10)
    assert samplers() == [own]
    assert samplers("--sampler", "heun") == [own, heun]
    assert "kept: ConsistentAnnealedScheduler, 2 evaluations, 10 samples, digits" in capsys.readouterr().out
    card = write_card(model).read_text(encoding="utf-8")
    assert (
        "| `ConsistentAnnealedScheduler`, the default | 2 | 10 |" in card and "| `HeunDiscreteScheduler` | 4 |" in card
    )
    assert samplers("--num_samples", "12") == [heun, (*own[:2], 12)]
    assert "replaced: ConsistentAnnealedScheduler, 2 evaluations, 10 samples" in capsys.readouterr().out
    network = ScoreUNet.from_pretrained(model / "unet")
    torch.nn.init.zeros_(network.conv_out.bias)
    torch.nn.init.normal_(network.conv_out.weight, std=0.1)
    network.save_pretrained(model / "unet")
    assert samplers("--sampler", "euler") == [("EulerDiscreteScheduler", 3, 10)]
    assert capsys.readouterr().out.count("removed, as it is of other weights") == 2


def test_a_sweep_is_refused_before_any_sampling_and_fits_models_of_few_evaluations(tmp_path, capsys):
    network = ScoreUNet(8, 1, (8, 16), sigma_data=0.4, sigma_max=5.0, trained_sigmas=[1.5, 0.5])
    scheduler = ConsistentAnnealedScheduler(sigmas=[1.5, 0.5], eta=1.0)
    NCSNPipeline(network, scheduler).save_pretrained(tmp_path / "fast")
    words = ["--model", str(tmp_path / "fast"), "--dataset_name", "digits", "--num_samples", "4", "--device", "cpu"]
    words += ["--output_dir", str(tmp_path / "out")]
    assert main([*words, "--sweep", "2,3"]) == 2
    said = capsys.readouterr()
    assert "--sweep 3 by consistent is not possible" in said.err and "Data:" not in said.out
    assert main([*words, "--sweep", "2", "--samplers", "consistent,annealed_langevin"]) == 2
    assert "--sweep 2 by annealed_langevin is not possible" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
    assert main([*words, "--sweep", "2"]) == 0
    rows = json.loads((tmp_path / "out" / "sweep.json").read_text(encoding="utf-8"))["rows"]
    assert [(row["scheduler"], row["nfe"]) for row in rows] == [("consistent", 2)]


def test_classes_are_the_models_by_their_names():
    network = ScoreUNet(8, 1, (8, 16), num_class_embeds=3, id2label={"0": "cat", "1": "ant", "2": "bee"}).config
    assert class_numbers(network, ("ant", "bee", "cat")).tolist() == [1, 2, 0]
    for other in (("ant", "bee"), ("ant", "bee", "dog"), ("ant", "bee", "cat", "dog"), None):
        assert class_numbers(network, other) is None
    unnamed = ScoreUNet(8, 1, (8, 16), num_class_embeds=3).config
    assert class_numbers(unnamed, ("x", "y", "z")).tolist() == [0, 1, 2]
    assert class_numbers(unnamed, ("x", "y")) is None
    assert class_numbers(ScoreUNet(8, 1, (8, 16)).config, ("x", "y", "z")) is None


@pytest.mark.parametrize("names", [("ant", "bee", "cat"), ("ant", "bee", "cat", "dog")])
def test_the_losses_are_those_of_the_models_classes_or_of_none(names, monkeypatch):
    """Of both parts alike: of classes of which one knows nothing, or has no labels, the null class's."""
    from ncsn_pipeline.evaluation import evaluate

    given = []
    monkeypatch.setattr(evaluate, "denoising_losses", lambda pipe, images, labels, **_: given.append(labels) or {})
    config = SimpleNamespace(num_class_embeds=3, id2label={"0": "cat", "1": "ant", "2": "bee"})
    pipe = SimpleNamespace(unet=SimpleNamespace(config=config))
    part = ImageData(torch.zeros(4, 1, 8, 8, dtype=torch.uint8), torch.tensor([0, 1, 2, 2]), names)
    evaluate.held_out_losses(pipe, SimpleNamespace(test=part, train=part), 2)
    unlabelled = ImageData(part.images, None, names)
    evaluate.held_out_losses(pipe, SimpleNamespace(test=unlabelled, train=part), 2)
    same = len(names) == 3
    assert [labels is not None for labels in given] == [same, same, False, False]
    assert not same or given[0].tolist() == given[1].tolist() == [1, 2, 0, 0]


def test_what_a_stream_kept_aside_is_not_drawn_anew(saved, tmp_path, capsys):
    model, data = shutil.copytree(saved, tmp_path / "model"), tmp_path / "data" / "train"
    data.mkdir(parents=True)
    for i in range(4):
        Image.new("L", (8, 8), i).save(data / f"{i}.png")
    settings = {"train_data_dir": str(data.parent), "streaming": True}
    (model / "train_config.json").write_text(json.dumps(settings), encoding="utf-8")
    words = ["--model", str(model), "--output_dir", str(tmp_path / "out"), "--classifier", "mnist_classifier"]
    words += "--num_samples 2 --num_inference_steps 2 --device cpu".split()
    assert main(words) == 2
    assert "Give others by --dataset_name, or a --test_split" in capsys.readouterr().err
    shutil.copytree(data, data.with_name("test"))
    assert main(words) == 0


def test_a_run_that_diverges_and_pictures_that_are_not_square_end_in_words(saved, tmp_path, capsys, monkeypatch):
    words = ["--model", str(saved), "--dataset_name", "digits", "--output_dir", str(tmp_path), "--device", "cpu"]
    assert main([*words, *"--guidance_scale 1e30 --num_inference_steps 40 --num_samples 4".split()]) == 2
    assert "not finite" in capsys.readouterr().err
    from ncsn_pipeline.evaluation import evaluate

    wide = SimpleNamespace(unet=SimpleNamespace(config=SimpleNamespace(in_channels=1, sample_size=(8, 16))))
    monkeypatch.setattr(evaluate, "load_pipeline", lambda model, device: wide)
    assert main(words) == 2
    assert "images are 8x16; only square ones" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("default", ConsistentAnnealedScheduler),
        ("consistent", ConsistentAnnealedScheduler),
        ("annealed_langevin", AnnealedLangevinScheduler),
    ],
)
def test_a_scheduler_has_the_pipelines_levels_or_its_own_start(name, kind):
    pipe = SimpleNamespace(scheduler=ConsistentAnnealedScheduler(sigmas=[4.0, 1.0, 0.5]))
    scheduler = sampler_for(pipe.scheduler, name)
    assert type(scheduler) is kind
    assert scheduler.sigmas.tolist() == [4, 1, 0.5]
    shorter = sampler_for(pipe.scheduler, name, sigma_max=2.0)
    assert type(shorter) is kind
    torch.testing.assert_close(shorter.sigmas, torch.tensor([2.0, 1.0, 0.5]))


def test_the_sweep_writes_a_row_for_each_scheduler_count_and_number_of_evaluations(command, tmp_path):
    pipe = command("--sweep", "10,3", "--samplers", "annealed_langevin,consistent", "--num_samples", "30,60")
    rows = json.loads((tmp_path / "sweep.json").read_text(encoding="utf-8"))["rows"]
    assert [(row["scheduler"], row["count"]) for row in rows] == [
        (name, count) for name in ("annealed_langevin", "consistent") for _ in range(2) for count in (30, 60)
    ]
    drawn = [options for _, options in pipe.calls if "callback_on_step_end" not in options]
    assert [options["num_inference_steps"] for options in drawn] == [3, 10, 3, 10]
    assert all(math.isfinite(row["real_frechet"]) and row["real_frechet"] > 0 for row in rows)
    table = (tmp_path / "sweep.md").read_text(encoding="utf-8").splitlines()
    assert len(table) == 2 + 8 and len({line.count("|") for line in table}) == 1
    assert (tmp_path / "sweep.png").exists()
    assert sweep_table([]).count("\n") == 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--num_samples", "1"], "at least 2"),
        (["--num_samples", "10,20"], "--sweep"),
        (["--num_samples", "ten"], "whole numbers"),
        (["--step_size", "nan"], "positive"),
        (["--batch_size", "0"], "positive"),
        (["--sweep", "10", "--num_inference_steps", "5"], "give one"),
        (["--sampler", "consistent", "--steps_per_level", "5"], "annealed_langevin"),
        (["--sampler", "heun", "--step_size", "1e-5"], "annealed_langevin"),
        (["--sampler", "PNDMScheduler"], "predictor_corrector, heun"),
        (["--features", "inception", "--classifier", "mine"], "give one"),
        (["--samplers", "eular"], "annealed_langevin"),
        (["--samplers", "heun"], "give one --sampler"),
        (["--sweep", "3,4", "--sampler", "heun"], "leave --sampler out"),
    ],
)
def test_senseless_arguments_are_refused(arguments, message, capsys):
    with pytest.raises(SystemExit):
        parse_args(["--model", "unused", *arguments])
    assert message in capsys.readouterr().err


def test_colour_models_get_no_features_of_grey_digits(monkeypatch, test_digits, capsys):
    from ncsn_pipeline.evaluation import evaluate

    pipe = RepeatedImages(test_digits, num_classes=None)
    pipe.unet.config.in_channels = 3
    monkeypatch.setattr(evaluate, "load_pipeline", lambda model, device: pipe)
    assert main(["--model", "unused", "--dataset_name", "digits", "--features", "classifier"]) == 2
    assert "--features inception" in capsys.readouterr().err
    pipe.unet.config.in_channels = 1
    assert main(["--model", "unused", "--dataset_name", "digits", "--guidance_scale", "2"]) == 2
    assert "model with classes" in capsys.readouterr().err


def test_guidance_that_makes_no_sense_is_refused_before_data_are_read(saved, capsys):
    words = ["--model", str(saved), "--dataset_name", "nothing-there", "--guidance_interval"]
    assert main([*words, "0.1", "1"]) == 2
    assert "Give guidance_scale" in capsys.readouterr().err
    assert main([*words, "1", "0.1", "--guidance_scale", "2"]) == 2
    assert "two noise levels, the smaller one first" in capsys.readouterr().err


def test_a_local_folder_is_shown_without_its_parents(tmp_path):
    (tmp_path / "mnist").mkdir()
    assert shown_name(str(tmp_path / "mnist")) == "mnist"
    assert shown_name("ylecun/mnist") == "ylecun/mnist"
