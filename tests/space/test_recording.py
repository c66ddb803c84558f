"""What is kept of a run: bounded, at even distances, and the truth about equilibrium."""

import math

import numpy as np
import pytest
import torch
from PIL import Image, ImageSequence

from ncsn_pipeline.space.runs.recording import MOST_FRAMES, MOST_VALUES, Recording
from ncsn_pipeline.space.widgets.pictures import STRIP_ROW, save_animation, save_strip
from ncsn_pipeline.space.widgets.plots import deviation_figure


@pytest.mark.parametrize(
    "of, values, kept",
    [
        (1, 784, 1),
        (50, 784, 50),
        (20_001, 784, MOST_FRAMES),
        (251, MOST_VALUES // 20, 10),
        (251, MOST_VALUES, 2),
    ],
)
def test_frames_are_bounded_and_even(of, values, kept):
    recording = Recording()
    wanted = [index for index in range(of) if recording.wants(index, of, values)]
    assert len(wanted) == kept
    assert wanted[0] == 0 and wanted[-1] == of - 1
    gaps = np.diff(wanted)
    assert len(gaps) == 0 or gaps.max() - gaps.min() <= 1


@pytest.mark.parametrize("sigma, std", [(5.0, 0.3), (0.3, 0.3), (0.1, 2.0)])
@pytest.mark.parametrize("excess", [1.0, 2.0])
def test_the_two_numbers_of_a_gaussian(sigma, std, excess):
    """x ~ N(0, excess² (std² + sigma²)), s = -x / (std² + sigma²): in closed form, within 5 standard errors."""
    total = std**2 + sigma**2
    x = excess * math.sqrt(total) * torch.randn(64, 1, 32, 32, generator=torch.Generator().manual_seed(0))
    recording = Recording()
    recording.measure(x, -x / total, sigma)
    error = 5 / math.sqrt(2 * x.numel())
    assert recording.noise_left[0] == pytest.approx(excess * sigma / math.sqrt(total), rel=error)
    assert recording.deviations[0] == pytest.approx(excess * math.sqrt(total), rel=error)
    assert excess > 1 or recording.noise_left[0] <= 1


@pytest.fixture(params=[1, 3])
def recording(request):
    recording = Recording()
    generator = np.random.default_rng(0)
    for evaluation in range(1, 14):
        noisy, denoised = generator.random((2, 5, 4, 6, request.param))
        recording.keep(evaluation, 1 / evaluation, noisy, denoised)
    recording.end(generator.random((5, 4, 6, request.param)))
    return recording


def test_the_strip_holds_every_picture_where_the_page_looks_for_it(recording, tmp_path):
    width, height = save_strip(recording, 3, tmp_path / "strip.png")
    assert (width, height) == (3 * 7 - 1, 2 * 5 - 1)
    strip = np.asarray(Image.open(tmp_path / "strip.png"))
    pictures = [*((frame.noisy, frame.denoised) for frame in recording.frames)]
    pictures.append((recording.samples, recording.frames[-1].denoised))
    for i, (x, denoised) in enumerate(pictures):
        left, top = (i % STRIP_ROW) * width, (i // STRIP_ROW) * 2 * height
        for images, below in ((x, 0), (denoised, height)):
            picture = strip[top + below : top + below + height, left : left + width]
            np.testing.assert_array_equal(picture[:4, :6, :-1], images[0])
            np.testing.assert_array_equal(picture[5:9, 7:13, :-1], images[4])
            assert (picture[4, :, -1] == 0).all()


def test_the_animation_shows_every_step_and_stays_on_the_samples(recording, tmp_path):
    animation = Image.open(save_animation(recording, 3, tmp_path / "a.gif"))
    durations = [frame.info["duration"] for frame in ImageSequence.Iterator(animation)]
    assert len(durations) == len(recording.frames) + 1
    assert durations[-1] > 10 * durations[0]
    assert animation.info["loop"] == 0


def test_the_animation_has_x_on_the_left_and_its_denoised_estimate_on_the_right(tmp_path):
    recording = Recording()
    for evaluation in (1, 2):
        recording.keep(evaluation, 1.0, np.full((1, 4, 4, 1), 0.2), np.full((1, 4, 4, 1), 0.8))
    recording.end(np.full((1, 4, 4, 1), 0.6))
    animation = Image.open(save_animation(recording, 1, tmp_path / "a.gif")).convert("L")
    across = np.asarray(animation)[animation.height // 2]
    assert across[len(across) // 5] == 51 and across[-len(across) // 5] == 204


def test_the_dashed_line_is_the_deviation_in_equilibrium():
    """sqrt(sigma² + s²), s the deviation of the last x."""
    expected, found = deviation_figure([4.0, 1.0, 0.3], [9.0, 2.0, 0.4]).axes[0].lines
    np.testing.assert_allclose(expected.get_ydata(), np.hypot([4, 1, 0.3], 0.4))
    np.testing.assert_allclose(found.get_ydata(), [9, 2, 0.4])
    np.testing.assert_allclose(expected.get_xdata(), [4, 1, 0.3])
