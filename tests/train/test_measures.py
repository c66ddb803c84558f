"""The measures that suit any pictures, against closed forms, brute force and planted differences."""

import math

import pytest
import torch

from ncsn_pipeline import ConsistentAnnealedScheduler, NCSNPipeline, ScoreUNet
from ncsn_pipeline.data import ImageData
from ncsn_pipeline.evaluation.evaluate import lines_of
from ncsn_pipeline.evaluation.figure import evaluation_figure
from ncsn_pipeline.evaluation.held_out import denoising_losses
from ncsn_pipeline.evaluation.measures import MOST_IMAGES, measure_pictures
from ncsn_pipeline.evaluation.precision_recall import precision_and_recall
from ncsn_pipeline.evaluation.pyramid import laplacian_pyramid, pyramid_distances, random_patches
from ncsn_pipeline.evaluation.quality import RealImages, evaluate_samples
from ncsn_pipeline.evaluation.two_sample import null_deviation, two_sample_accuracy

F = torch.nn.functional


@pytest.mark.parametrize(("shape", "heights"), [((1, 28, 28), [28, 14]), ((3, 37, 20), [37, 18]), ((1, 8, 8), [8])])
def test_a_pyramids_levels_enlarged_and_added_are_the_images(shape, heights):
    images = torch.rand(5, *shape)
    levels = laplacian_pyramid(images)
    assert [level.shape[-2] for level in levels] == heights
    whole = levels[-1]
    for level in reversed(levels[:-1]):
        whole = level + F.interpolate(whole, size=level.shape[-2:], mode="bilinear")
    torch.testing.assert_close(whole, images)


def test_patches_are_cut_whole_and_anywhere():
    images = torch.arange(2 * 3 * 9 * 8.0).reshape(2, 3, 9, 8)
    patches = random_patches(images, 200, torch.Generator().manual_seed(0))
    assert patches.shape == (400, 3, 7, 7)
    possible = {
        images[n, :, top : top + 7, left : left + 7].flatten().tolist().__str__()
        for n in range(2) for top in range(3) for left in range(2)
    }  # fmt: skip
    assert {str(patch.flatten().tolist()) for patch in patches} == possible


def test_a_brighter_set_is_that_much_further_at_the_coarsest_scale_alone():
    images = torch.randn(400, 1, 16, 16) * 0.1
    assert pyramid_distances(images, images) == {16: 0, 8: 0}
    coarse = laplacian_pyramid(images)[-1]
    once, twice = (pyramid_distances(images + shift, images) for shift in (0.1, 0.2))
    assert once[16] < 1e-4 and twice[8] == pytest.approx(2 * once[8], rel=1e-4)
    # A direction v turns a shift of c deviations per pixel into c |v . 1|, of mean c sqrt(2 / pi) in 49 dimensions but
    # for terms of 1 / 49, and of deviation c sqrt(1 - 2 / pi).
    shift = 0.1 / coarse.std().item()
    tolerance = 4 * math.sqrt((1 - 2 / math.pi) / 128) + 1 / 49
    assert once[8] / shift == pytest.approx(math.sqrt(2 / math.pi), abs=tolerance)


def test_fine_noise_shows_at_the_fine_scale_and_a_wrong_layout_at_the_coarse_one():
    brighter_below = torch.linspace(0, 1, 32)[:, None].expand(32, 32)
    coarse = F.interpolate(torch.rand(300, 1, 4, 4), size=(32, 32), mode="bilinear") + brighter_below
    images, others = coarse[:150], coarse[150:]
    sign = 1 - 2 * ((torch.arange(32)[:, None] + torch.arange(32)) % 2)
    same = pyramid_distances(images, others)
    checkered = pyramid_distances(images + 0.05 * sign, others)
    assert checkered[32] > 5 * same[32] and checkered[8] == pytest.approx(same[8], rel=0.1)
    upside_down = pyramid_distances(images.flip(2), others)
    assert upside_down[8] > 5 * same[8] and upside_down[32] < 2 * same[32]


def test_two_sets_of_one_distribution_are_told_apart_by_chance():
    images = torch.rand(600, 1, 10, 10).cumsum(-1) / 10
    accuracy = two_sample_accuracy(images[:300], images[300:])
    # Folds share training pictures, which widens the null a little.
    assert abs(accuracy - 0.5) < 5 * null_deviation(300)
    assert null_deviation(300) == pytest.approx(math.sqrt(0.25 / 600))


def test_overlapping_sets_are_told_apart_as_well_as_anything_could():
    # Grey pictures of one value each, uniform on [0, 2/3] and on [1/3, 1]: half of the mass overlaps, so no classifier
    # is right more often than 1/2 + 1/4.
    count = 500
    low, high = (start + torch.rand(count, 1, 1, 1).expand(-1, 1, 8, 8) * 2 / 3 for start in (0, 1 / 3))
    error = math.sqrt(0.75 * 0.25 / (2 * count))
    assert 0.75 - 5 * error < two_sample_accuracy(low, high) < 0.75 + 4 * error
    assert two_sample_accuracy(low, high + 1) > 0.99


@pytest.mark.parametrize(("samples", "test", "told"), [(100, 100, True), (99, 100, False), (100, 99, False)])
def test_below_100_pictures_nothing_is_said_of_telling_apart_and_of_copies(samples, test, told, test_digits):
    """Of 2 a classifier is right by chance, and of 2 the nearer is "nearer than 99 %"."""
    real = RealImages(ImageData(test_digits.images[100:]), ImageData(test_digits.images[:test]), None)
    quality = evaluate_samples(test_digits.images[150 : 150 + samples] / 255, None, real)
    assert ("two_sample_accuracy" in quality.measures) == told
    assert (quality.closer_than_test is not None) == told
    said = "\n".join(lines_of(quality))
    assert ("two sample accuracy" in said) == ("nearer to a training image" in said) == told
    figure = evaluation_figure(test_digits.images[:samples] / 255, real.train.images, quality, title="a model")
    titles = [axes.get_title(loc="left") for part in figure.subfigs for axes in part.axes]
    assert any("too few to tell" in title for title in titles) != told


def test_with_fewer_training_images_as_many_samples_are_measured(train_digits, test_digits):
    """The sliced distance, like Frechet's, depends on the number."""
    real = RealImages(ImageData(train_digits.images[:30]), test_digits, None)
    few, many = (evaluate_samples(test_digits.images[:n] / 255, None, real).measures for n in (30, 90))
    assert few == many


@pytest.mark.parametrize("change", ["noise", "blur", "contrast"])
def test_a_small_corruption_of_digits_is_seen_by_all(change, train_digits, test_digits):
    order = torch.randperm(len(train_digits))
    real = train_digits.images[order[:100]] / 255
    wrong = {
        "noise": (real + 0.08 * torch.randn_like(real)).clamp(0, 1),
        "blur": F.avg_pool2d(real, 3, 1, 1),
        "contrast": real * 0.7,
    }[change]
    as_bytes = lambda images: (images * 255).round().byte()  # noqa: E731
    clean = measure_pictures(as_bytes(real), test_digits.images)
    found = measure_pictures(as_bytes(wrong), test_digits.images)
    assert found["sliced_wasserstein"] > 1.5 * clean["sliced_wasserstein"]
    assert found["two_sample_accuracy"] > 0.9 > clean["two_sample_accuracy"] + 0.2
    assert min(found["precision"] - clean["precision"], found["recall"] - clean["recall"]) < -0.02
    assert set(found) == {
        "sliced_wasserstein", "sliced_wasserstein_28", "sliced_wasserstein_14", "two_sample_accuracy", "precision",
        "recall",
    }  # fmt: skip
    scales = found["sliced_wasserstein_28"], found["sliced_wasserstein_14"]
    assert found["sliced_wasserstein"] == pytest.approx(sum(scales) / 2)


def test_precision_and_recall_of_copies_of_half_the_real_pictures_and_of_junk():
    real = torch.cat([torch.randn(50, 6), torch.randn(50, 6) + 100])
    assert precision_and_recall(real, real) == (1, 1)
    assert precision_and_recall(real[:50], real) == (1, 0.5)
    with_junk = torch.cat([real, torch.randn(100, 6) - 100])
    assert precision_and_recall(with_junk, real) == (0.5, 1)


def test_precision_and_recall_are_the_formula(k=2):
    samples, real = torch.randn(40, 3).double(), torch.randn(30, 3).double() + 0.8

    def part(points, centres):
        within = 0
        for point in points:
            within += any(
                (point - centre).norm() <= sorted((centre - other).norm().item() for other in centres)[k]
                for centre in centres
            )
        return within / len(points)

    assert precision_and_recall(samples, real, k=k, batch_size=7) == (part(samples, real), part(real, samples))
    assert 0.1 < part(samples, real) < 0.95


def test_sets_that_cannot_be_compared_are_refused():
    with pytest.raises(ValueError, match="differ in shape"):
        pyramid_distances(torch.rand(4, 1, 8, 8), torch.rand(4, 3, 8, 8))
    with pytest.raises(ValueError, match="equally many"):
        two_sample_accuracy(torch.rand(4, 1, 8, 8), torch.rand(5, 1, 8, 8))
    with pytest.raises(ValueError, match="vectors of one length"):
        precision_and_recall(torch.rand(9, 3), torch.rand(9, 4))
    with pytest.raises(ValueError, match="k must be at least 1"):
        precision_and_recall(torch.rand(3, 3), torch.rand(9, 3))


def test_samples_without_features_are_measured_beside_as_many_real_images(train_digits, test_digits):
    real = RealImages(train_digits, test_digits, None)
    labels = torch.arange(120) % 10
    quality = evaluate_samples(0.8 * test_digits.images[:120] / 255, labels, real)
    assert (
        quality.features is quality.samples is quality.ratio is quality.agreement is quality.predicted_classes is None
    )
    assert quality.requested_classes == [12] * 10 and quality.sample_neighbours.count == 120
    for name in ("sliced_wasserstein", "two_sample_accuracy"):
        assert quality.measures[name].samples > quality.measures[name].real
    again = evaluate_samples(real._drawn(120, True, 0) / 255, labels, real).measures
    assert all(measured.samples == measured.real for measured in again.values())
    assert quality.numbers()["measures"]["recall"] == vars(quality.measures["recall"])


def test_two_samples_are_enough_and_many_are_cut_to_the_first(test_digits):
    few = measure_pictures(test_digits.images[:2], test_digits.images)
    assert "precision" not in few and math.isfinite(few["sliced_wasserstein"])
    assert MOST_IMAGES == 2000
    data = ImageData(test_digits.images)
    assert evaluate_samples(test_digits.images[:5] / 255, None, RealImages(data, data, None)).measures["recall"].real


def test_the_denoising_loss_is_that_of_the_closed_form():
    """A new network is D = c_skip x', so its loss at a level is known: half, whatever the weight's level."""
    torch.manual_seed(0)
    network = ScoreUNet(8, 1, (8,), sigma_data=0.5, data_mean=0.0, sigma_min=0.05, sigma_max=5.0)
    pipe = NCSNPipeline(network, ConsistentAnnealedScheduler(5, sigma_max=5.0), data_min=-1.0, data_max=1.0)
    spread = (torch.randn(300, 1, 8, 8, generator=torch.Generator().manual_seed(1)) * 0.5).clamp(-1, 1)
    images = ((spread + 1) * 127.5).round().byte()
    losses = denoising_losses(pipe, images, None)
    assert len(losses) == 8 and next(iter(losses)).startswith("sigma 0.05 to 0.089")
    assert losses == denoising_losses(pipe, images, None)
    variance = (images.float() / 127.5 - 1).square().mean().item()
    # |x - D|² with D = x_noised sd² / (sigma² + sd²), in EDM's weight (sigma² + sd²) / (sigma sd)², over two.
    for (band, loss), place in zip(losses.items(), (torch.arange(8) + 0.5) / 8, strict=True):
        sigma, sd = 0.05 * 100 ** place.item(), 0.5
        expected = (sigma**2 * variance + sd**4) / (2 * sd**2 * (sigma**2 + sd**2))
        assert loss == pytest.approx(expected, rel=0.05), band
