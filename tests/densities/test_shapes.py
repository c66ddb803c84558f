"""Ready-made shapes: chords as close to their curve as stated, pictures the right way up."""

import math

import numpy as np
import pytest
import torch
from PIL import Image

from ncsn_pipeline.densities import checkerboard, from_image, ring, spiral, swiss_roll, two_moons

F64 = torch.float64


def archimedean(start, end, radius):
    t = torch.linspace(start, end, 20_011, dtype=F64)
    return radius * (t / end)[:, None] * torch.stack([t.cos(), t.sin()], 1)


def circle(start, end):
    t = torch.linspace(start, end, 20_011, dtype=F64)
    return torch.stack([t.cos(), t.sin()], 1)


TRUTH = {
    "upper moon": (two_moons, circle(0, math.pi), 7.6e-5),
    "lower moon": (two_moons, torch.tensor([1.0, 0.5]) - circle(0, math.pi), 7.6e-5),
    "ring": (ring, circle(0, 2 * math.pi), 7.6e-5),
    "spiral": (spiral, archimedean(0, 4 * math.pi, 1.0), 3.1e-4),
    "swiss roll": (swiss_roll, archimedean(1.5 * math.pi, 4.5 * math.pi, 1.0), 1.8e-4),
}


@pytest.mark.parametrize(("shape", "truth", "stated"), TRUTH.values(), ids=TRUTH)
def test_chords_keep_the_stated_distance(shape, truth, stated):
    """The bound is stated for the default number of segments; it is nearly reached, and falls as 1 / n²."""
    error = shape(dtype=F64).distance(truth[::7]).max().item()
    assert 0.3 * stated < error <= stated
    fewer = shape(num_segments=32, dtype=F64).distance(truth[::7]).max().item()
    n = 128 if shape is two_moons else 256
    assert fewer <= stated * (n / 32) ** 2
    assert fewer / error == pytest.approx((n / 32) ** 2, rel=0.35)


@pytest.mark.parametrize(
    ("shape", "length"),
    [
        (two_moons, 2 * math.pi),
        (ring, 2 * math.pi),
        # int sqrt(1 + t²) dt / t_1
        (spiral, (4 * math.pi * math.hypot(1, 4 * math.pi) + math.asinh(4 * math.pi)) / 2 / (4 * math.pi)),
    ],
)
def test_length_and_type(shape, length):
    assert shape().length == pytest.approx(length, rel=1e-3)
    assert shape().sample(2).dtype == torch.float32
    assert shape(dtype=F64, sigma=0.1).sample(2).dtype == F64
    assert shape(sigma=0.1).sigma == 0.1


def test_size_is_the_radius():
    assert ring(3.0, dtype=F64).sample(2000).norm(dim=1).max().item() == pytest.approx(3, rel=1e-3)
    for shape in (spiral(radius=3.0, dtype=F64), swiss_roll(3.0, dtype=F64)):
        assert shape.sample(5000).norm(dim=1).max().item() == pytest.approx(3, rel=1e-2)


def test_checkerboard_fills_every_other_square():
    board = checkerboard(4, dtype=F64)
    x = board.sample(2000)
    squares = (x + 2).floor().long()
    assert (squares.sum(1) % 2 == 1).all()
    assert squares.unique(dim=0).shape == (8, 2)
    centres = torch.tensor([[-1.5, -1.5], [-0.5, -1.5]], dtype=F64)
    torch.testing.assert_close(board.log_prob(centres), torch.tensor([-math.inf, -math.log(8)], dtype=F64))


PAPER = np.full((2, 4), 255, dtype=np.uint8)
PAPER[0, 0] = 0  # one dark pixel, top left


@pytest.mark.parametrize("image", [PAPER, Image.fromarray(PAPER), PAPER / 255, np.stack([PAPER] * 3, 2)])
def test_dark_pixels_are_mass_the_right_way_up(image):
    density = from_image(image)
    assert density.extent == (-1, 1, -0.5, 0.5)
    assert density.weights.tolist() == [[0, 0, 0, 0], [1, 0, 0, 0]]
    x = density.sample(50)
    assert (x[:, 0] < -0.5).all() and (x[:, 1] > 0).all()


def test_bright_pixels_are_mass():
    density = from_image(torch.from_numpy(PAPER), (0, 4, 0, 2), mass="bright")
    torch.testing.assert_close(density.weights, torch.tensor([[1.0, 1, 1, 1], [0, 1, 1, 1]]) / 7)
    assert density.extent == (0, 4, 0, 2)


def test_transparent_is_white_and_colours_count_by_luminance():
    image = Image.new("RGBA", (3, 1), (0, 0, 0, 0))
    image.putpixel((1, 0), (0, 0, 0, 255))
    image.putpixel((2, 0), (0, 0, 255, 255))
    weights = from_image(image).weights[0]
    assert weights[0] == 0
    assert (weights[2] / weights[1]).item() == pytest.approx(1 - 0.114, abs=1 / 255)  # ITU-R 601: blue has 11.4 %


def test_sixteen_bits_are_greys_and_floats_without_a_range_are_refused():
    greys = np.array([[0, 32768, 65535, 49152]], dtype=np.uint16)
    deep, plain = (from_image(Image.fromarray(pixels)) for pixels in (greys, (greys >> 8).astype(np.uint8)))

    assert torch.equal(deep.weights, plain.weights)
    with pytest.raises(ValueError, match="the image has floating-point pixels.*or give an array"):
        from_image(Image.new("F", (4, 4), 0.5))


def test_large_pictures_shrink_to_means():
    image = np.full((40, 80), 255, dtype=np.uint8)
    image[:10, 75:] = 0
    density = from_image(image, max_size=8)
    assert density.weights.shape == (4, 8)
    assert density.weights.argmax().item() == 31  # top right
    assert density.weights[3, 7] == 1  # half dark, and the only one: 5 of 10 columns
    assert density.extent == (-1, 1, -0.5, 0.5)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: two_moons(num_segments=0), "num_segments"),
        (lambda: ring(0.0), "radius"),
        (lambda: ring(num_segments=2), "at least 3; got 2"),
        (lambda: spiral(turns=0.0), "turns"),
        (lambda: spiral(radius=math.nan), "radius"),
        (lambda: swiss_roll(-1.0), "radius"),
        (lambda: checkerboard(1), "squares"),
        (lambda: from_image(PAPER, mass="grey"), "mass"),
        (lambda: from_image(PAPER, max_size=0), "max_size"),
        (lambda: from_image(np.full((2, 2), 255, dtype=np.uint8)), 'no dark pixel.*"bright"'),
        (lambda: from_image(np.zeros((2, 2)), mass="bright"), 'no bright pixel.*"dark"'),
        (lambda: from_image(np.full((2, 2), 3.0)), r"numbers in \[0, 1\]"),
        (lambda: from_image(np.zeros((2, 2, 4))), "shape"),
    ],
)
def test_bad_shapes_are_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
