"""The numbers that posterior methods are compared by (`benchmarks.posterior_records`, `benchmarks.posterior_tasks`)."""

import json

import pytest
import torch
from PIL import Image

from benchmarks.posterior_records import as_markdown, calibration, drawn, extended, measured, recognised, row
from benchmarks.posterior_tasks import NOISE_STD, Comparison, tasks
from ncsn_pipeline.shipped import folder_or_shipped


def test_numbers_of_two_samples_at_a_known_distance():
    truth = torch.rand(3, 1, 4, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    samples = torch.stack([truth + 0.1 + 0.2, truth + 0.1 - 0.2], dim=1)
    found = measured(samples, truth, y=2 * truth, operator=lambda x: 2 * x, noise_std=0.5)
    assert found["psnr"] == pytest.approx([20.0] * 3)
    assert found["error"] == pytest.approx([16 * 0.1**2] * 3)
    assert found["spread"] == pytest.approx([16 * 1.5 * 2 * 0.2**2] * 3)
    assert found["fidelity"] == pytest.approx([((2 * 0.3 / 0.5) ** 2 + (2 * 0.1 / 0.5) ** 2) / 2] * 3)


def test_right_samples_have_calibration_and_fidelity_1_and_too_sure_ones_have_not():
    """x ~ N(0, I), y = x + sigma_y z: x given y is N(y / (1 + v), v / (1 + v)), v = sigma_y²."""
    generator, v = torch.Generator().manual_seed(1), 0.5**2
    truth, noise = torch.randn(2, 400, 1, 4, 4, generator=generator, dtype=torch.float64)
    y = truth + v**0.5 * noise
    z = torch.randn(400, 8, 1, 4, 4, generator=generator, dtype=torch.float64)
    for width in (1.0, 0.9):
        samples = (y / (1 + v))[:, None] + width * (v / (1 + v)) ** 0.5 * z
        records = measured(samples, truth, y, lambda x: x, v**0.5)
        ratio, error = calibration(records)
        assert error == pytest.approx(ratio * (2 / truth.numel()) ** 0.5, rel=0.5)
        expected = (1 + width**2 / 8) / (width**2 * 9 / 8)  # of the mean of 8 samples over what they lead to expect
        assert abs(ratio - expected) < 4 * error
        assert (abs(ratio - 1) < 4 * error) == (width == 1)
        # y - x_k is v / (1 + v) y less the sample's own noise.
        fidelity = torch.tensor(records["fidelity"], dtype=torch.float64)
        expected = ((v / (1 + v)) ** 2 * (1 + v) + width**2 * v / (1 + v)) / v
        assert abs(fidelity.mean() - expected) < 4 * fidelity.std() / 400**0.5


def test_recognised_is_the_share_of_single_samples_of_the_true_class():
    def classifier(images):  # class 1 where the picture is bright
        bright = images.mean((1, 2, 3))
        return torch.stack([0.5 - bright, bright - 0.5], dim=1)

    samples = torch.tensor([0.9, 0.2, 0.8, 5.0, 0.1, 0.2, 0.3, -9.0]).reshape(2, 4, 1, 1, 1).expand(2, 4, 1, 2, 2)
    assert recognised(samples, torch.tensor([1, 0]), classifier) == [0.75, 1.0]


def test_tasks_measure_what_they_say():
    truth = torch.rand(4, 1, 28, 28, generator=torch.Generator().manual_seed(2))
    found = tasks(truth)
    numbers = {name: task.y[0].numel() for name, task in found.items()}
    assert numbers == {"blur": 784, "4x": 49, "half": 392, "random": 78}
    for task in found.values():
        z = (task.y - task.operator(truth)) / NOISE_STD
        assert abs(z.square().mean() - 1) < 4 * (2 / z.numel()) ** 0.5
    assert torch.equal(found["half"].operator(truth), truth[:, :, :14].flatten(2))
    impulses = torch.eye(784).reshape(784, 1, 28, 28)
    assert torch.allclose(found["random"].operator(impulses).square().sum(0), torch.ones(78))


def result(network, count):
    numbers = {"psnr": 20.0, "error": 4.0, "spread": 2.0, "fidelity": 1.0, "recognised": 0.5}
    records = {name: [value + 0.1 * i for i in range(count)] for name, value in numbers.items()}
    return {"network": network, "settings": {"samples": 8, "scale": 0.3}, "evaluations": 102, "records": records}


def test_further_pictures_are_added_unless_the_network_is_another():
    assert len(extended(result("a", 5), result("a", 2))["records"]["psnr"]) == 7
    assert extended(result("b", 5), result("a", 2)) == result("a", 2)
    assert extended(None, result("a", 2)) == result("a", 2)


def test_the_table_has_the_best_mean_first():
    better = result("a", 3)
    better["records"]["psnr"] = [30.0, 31.0, 32.0]
    lines = as_markdown({"blur": {"dps": result("a", 5), "pigdm": better}}).splitlines()
    assert lines[-2] == "| pigdm | scale 0.3 | 8 | 816 | 31.00 ± 0.58 |  | 1.95 ± 0.03 | 1.10 ± 0.06 | 60 ± 6 % | 3 |"
    # 20.0 less 30, 20.1 less 31 and 20.2 less 32; the fourth and fifth picture have no other.
    assert lines[-1].startswith("| dps | scale 0.3 | 8 | 816 | 20.20 ± 0.07 | -10.90 ± 0.52 |")


def test_what_another_network_measured_is_left_out_and_named():
    found = {"dps": result("a", 5), "pigdm": result("b", 3), "mmps": result("b", 3)}
    text = as_markdown({"blur": found})
    assert "weights begins with b. Left out, since they were measured with another: dps." in text
    assert "| mmps |" in text and "| dps |" not in text


def test_the_figure_has_a_row_for_each_method_of_each_task():
    truth = torch.rand(1, 28, 28)
    rows = {"4x": {"pigdm": row(truth, torch.rand(1, 7, 7), torch.rand(8, 1, 28, 28))}}
    rows["random"] = {name: row(truth, torch.rand(78), torch.rand(8, 1, 28, 28)) for name in ("dps", "pigdm")}
    figure = drawn(rows)
    shown = [sum(bool(axis.images) for axis in part.axes) for part in figure.subfigs]
    assert shown == [6, 12]
    assert [part.axes[6].get_ylabel() for part in figure.subfigs] == ["pigdm", ""]
    assert [axis.get_title() for axis in figure.subfigs[1].axes[:4]] == ["truth", "y", "mean", "deviation"]
    assert figure.subfigs[1].axes[1].images[0].get_array().shape == (6, 13)


def test_a_comparison_goes_on_where_it_was(tmp_path):
    generator = torch.Generator().manual_seed(3)
    for i in range(55):
        path = tmp_path / "data" / "test" / str(i % 2) / f"{i:02}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(torch.randint(256, (28, 28), dtype=torch.uint8, generator=generator).numpy()).save(path)

    def draw(y, seed):
        return torch.rand(len(y), 2, 1, 28, 28, generator=torch.Generator().manual_seed(seed)), 3

    def stored(folder, *counts):
        for count in counts:
            comparison = Comparison(str(tmp_path / "data"), folder_or_shipped("mnist"), folder, folder / "rows")
            comparison.extend("4x", "random", {"samples": 2}, draw, count)
        comparison.draw_figure()
        assert (folder / "measurements.png").stat().st_size > 1000
        return json.loads((folder / "measurements.json").read_text(encoding="utf-8"))

    at_once, in_parts = stored(tmp_path / "a", 10), stored(tmp_path / "b", 5, 5, 10)
    assert at_once == in_parts
    assert len(at_once["4x"]["random"]["records"]["psnr"]) == 10
