import dataclasses
import json
import math
import warnings

import pytest
import torch

from ncsn_pipeline.noise_levels import (
    diagnose_noise_levels,
    end_variance_ratio,
    geometric_noise_levels,
    largest_pairwise_distance,
    num_levels_for_overlap,
    step_size_for_end_variance,
    step_size_for_variance,
    suggest_noise_levels,
)


def images(n=60, shape=(1, 8, 8)):
    return torch.rand(n, *shape)


def test_is_the_three_techniques_in_a_row():
    data = images()
    found = suggest_noise_levels(data, sigma_min=0.02, steps_per_level=3, quantile=0.9)
    assert (found.num_points, found.dimension) == (60, 64)
    assert found.sigma_max == found.sigma_max_largest == largest_pairwise_distance(data)
    assert found.sigma_max_robust == largest_pairwise_distance(data, quantile=0.9) < found.sigma_max
    assert (found.sigma_min, found.steps_per_level) == (0.02, 3)
    assert found.num_levels == num_levels_for_overlap(64, found.sigma_max, 0.02)
    assert torch.equal(found.sigmas, geometric_noise_levels(found.sigma_max, 0.02, found.num_levels))
    assert (found.step_size, found.variance_ratio) == step_size_for_variance(found.sigmas, 3)
    relative_step = found.step_size / float(found.sigmas[-1]) ** 2
    assert found.end_variance_ratio == end_variance_ratio(found.sigmas, relative_step, 3)
    assert (found.end_step_size, found.least_end_variance_ratio) == step_size_for_end_variance(found.sigmas, 3)
    assert found.num_evaluations == found.num_levels * 3 + 1


def test_the_robust_variant_starts_at_the_quantile():
    data = images()
    found = suggest_noise_levels(data, quantile=0.5, robust=True)
    assert found.sigma_max == found.sigma_max_robust == largest_pairwise_distance(data, quantile=0.5)
    assert found.sigmas[0] == torch.tensor(found.sigma_max)


@pytest.mark.parametrize("shape", [(2,), (5,), (16,), (1, 8, 8), (3, 16, 16)])
@pytest.mark.parametrize("scale", [0.05, 1.0, 40.0])
def test_what_is_suggested_has_no_fault(shape, scale):
    found = suggest_noise_levels(scale * images(30, shape), steps_per_level=5)
    assert (
        diagnose_noise_levels(
            found.sigmas, found.steps_per_level, found.step_size, found.dimension, data_extent=found.sigma_max
        )
        == []
    )


@pytest.mark.parametrize("steps, advice", [(1, "More steps per level"), (5, "Close enough")])
def test_the_end_is_judged_and_not_one_level(steps, advice):
    """At one step per level technique 4 promises 1.15 and ends with 2.00; no step ends below 1.38."""
    found = suggest_noise_levels(torch.tensor([[0.0], [1.0]]).expand(2, 784) / 28, steps_per_level=steps)
    assert found.variance_ratio < 1.15 and found.num_levels == 59
    assert advice in found.reasons["least_end_variance_ratio"]
    assert found.end_variance_ratio == pytest.approx({1: 2.000, 5: 1.146}[steps], abs=6e-4)
    assert found.least_end_variance_ratio == pytest.approx({1: 1.383, 5: 1.128}[steps], abs=6e-4)


def test_few_dimensions_are_told_in_words_and_not_as_a_warning():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = suggest_noise_levels(torch.randn(50, 2), sigma_min=0.01)
    assert "gamma = 2" in found.reasons["num_levels"]


def test_every_suggested_value_has_its_reason_and_a_line():
    found = suggest_noise_levels(images(), quantile=0.95)
    fields = {f.name for f in dataclasses.fields(found)} - {"num_points", "dimension", "sigmas", "reasons"}
    assert set(found.reasons) == fields
    table = str(found)
    for name in fields:
        line = next(line for line in table.splitlines() if line.split(" ")[0] == name)
        assert float(line.split()[1]) == pytest.approx(getattr(found, name), rel=1e-3)
    assert max(map(len, table.splitlines())) <= 118
    assert "0.95 quantile" in table


def test_is_frozen_and_survives_json():
    found = suggest_noise_levels(images())
    with pytest.raises(dataclasses.FrozenInstanceError):
        found.sigma_max = 1.0
    read = json.loads(json.dumps(found.as_dict()))
    assert torch.equal(torch.tensor(read["sigmas"]), found.sigmas)
    assert (read["step_size"], read["num_evaluations"]) == (found.step_size, found.num_evaluations)


def test_a_subset_of_many_points_is_said_and_drawn_by_the_generator():
    data = torch.randn(10_050, 2)

    one, two = (suggest_noise_levels(data, generator=torch.Generator().manual_seed(s), quantile=0.5) for s in (1, 2))
    assert "random 10,000 of the 10,050 points" in one.reasons["sigma_max_largest"]
    assert one.sigma_max_robust != two.sigma_max_robust


@pytest.mark.parametrize(
    "data, arguments, message",
    [
        (torch.zeros(1, 4), {}, "at least two points"),
        (torch.ones(9, 4), {}, "All data points are equal"),
        (torch.tensor([[0.0], [math.nan]]), {}, "must be finite"),
        (images(), {"sigma_min": 0.0}, "sigma_min must be"),
        (images(), {"sigma_min": math.nan}, "sigma_min must be"),
        (images(), {"sigma_min": 100.0}, "sigma_min must lie below"),
        (images(), {"steps_per_level": 0}, "steps_per_level must be"),
        (images(), {"overlap": 1.0}, "overlap must lie"),
        (images(), {"quantile": 99.0}, "quantile must lie"),
    ],
)
def test_bad_arguments_are_refused(data, arguments, message):
    with pytest.raises(ValueError, match=message):
        suggest_noise_levels(data, **arguments)
