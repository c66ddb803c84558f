"""What the page says of settings and of runs: costs, advice, progress, warnings; each number in closed form."""

import math
import threading
from dataclasses import replace

import numpy as np
import pytest
import torch

from ncsn_pipeline import AnnealedLangevinScheduler, GaussianMixture, NCSNPipeline, ScoreUNet
from ncsn_pipeline.sampling import Row
from ncsn_pipeline.space.generate.call import ladder_of, table_of
from ncsn_pipeline.space.generate.controls import CONTROLS, step_size_of
from ncsn_pipeline.space.generate.report import warnings_about
from ncsn_pipeline.space.generate.settings import check_generate
from ncsn_pipeline.space.learn.plots import dilemma_figure, error_figure, field_figure, loss_figure
from ncsn_pipeline.space.lecture.knobs import knobs_of
from ncsn_pipeline.space.lecture.stops import EXPERIMENTS
from ncsn_pipeline.space.repair.spread import deviation_map
from ncsn_pipeline.space.runs import messages
from ncsn_pipeline.space.runs.controls import ModelFacts, defaults
from ncsn_pipeline.space.runs.events import pause_between_frames
from ncsn_pipeline.space.runs.limits import SettingsError
from ncsn_pipeline.space.runs.model import Pace, SpaceModel
from ncsn_pipeline.space.runs.run import Frame, SamplingRun
from ncsn_pipeline.space.widgets.grid import image_grid, row_of_classes, tile
from ncsn_pipeline.space.widgets.plots import deviation_figure, noise_left_figure, noise_level_figure, table_figure

MODEL = ModelFacts([str(label) for label in range(10)])


def settings(**changed):
    return check_generate(defaults(CONTROLS, MODEL) | changed, MODEL)


@pytest.fixture(scope="module")
def model():
    """3 ms an evaluation and 1 ms an image; runs take as long as that."""
    network = ScoreUNet(
        sample_size=8, in_channels=3, block_out_channels=(8,), attention_levels=(), num_class_embeds=10, sigma_max=12
    )
    pipeline = NCSNPipeline(network, AnnealedLangevinScheduler(sigma_max=12))
    found = SpaceModel(pipeline, "small", "./small", 0.003, 0.001, Pace())
    found.pace.factor, found.pace.is_known = 1.0, True
    return found


def test_a_model_s_estimates_are_its_evaluations_times_what_each_takes(model):
    assert model.seconds(100, 20) == pytest.approx(100 * (0.003 + 20 * 0.001))
    assert replace(model, pace=Pace()).seconds(100, 20) == pytest.approx(2 * 2.3)
    assert (model.dimension, model.trained_range) == (3 * 8**2, (0.01, 12))


def test_a_run_of_a_second_counts_half():
    """The factor is a geometric mean, the newest run's share t / (t + 1 s)."""
    pace = Pace()
    pace.learn(0.25, 1.0)
    assert pace.factor == pytest.approx(math.sqrt(2 * 4))
    pace.learn(1.0, 3.0)
    assert pace.factor == pytest.approx(8**0.125 * 3**0.75)


@pytest.mark.parametrize(
    "changed, said",
    [
        ({"num_levels": 40}, "<b>40</b> network evaluations of <b>20</b> images: under a second on this machine"),
        ({"num_levels": 50}, "<b>50</b> network evaluations of <b>20</b> images: about 1 s on this machine"),
        ({"num_levels": 1, "num_images": 1}, "<b>1</b> network evaluation of <b>1</b> image: under a second on this"),
        ({"guidance_scale": 2}, "<b>20</b> images, each twice for the guidance: about 2 s on this machine"),
    ],
)
def test_the_cost_is_said_in_evaluations_images_and_seconds(model, changed, said):
    assert said in messages.cost(settings(**changed), model)


def test_nothing_is_said_of_time_before_a_run_was_seen(model):
    fresh = replace(model, pace=Pace())
    words = '<div class="cost"><b>50</b> network evaluations of <b>20</b> images</div>'
    assert messages.cost(settings(), fresh) == words
    assert messages.cost_numbers(settings(), fresh) == {
        "evaluations": 50, "images_per_evaluation": 20, "seconds": None,
    }  # fmt: skip
    fresh.learn_pace(50, 20, 50 * (0.003 + 20 * 0.001))
    assert "about 2 s" in messages.cost(settings(), fresh)


def test_a_run_that_would_take_minutes_is_said_to_end_before(model):
    slow = replace(model, seconds_per_evaluation=0.0, seconds_per_image=0.012)
    assert "images: about 120 s on this machine</div>" in messages.cost(settings(num_levels=200, num_images=50), slow)
    words = "about 3 min on this machine, and a run ends after 120 s</div>"
    assert words in messages.cost(settings(num_levels=200, num_images=64), replace(slow, seconds_per_image=0.0141))


def test_a_refused_cost_says_how_it_comes_about():
    with pytest.raises(SettingsError) as caught:
        settings(sampler="annealed_langevin", num_levels=100, steps_per_level=10, num_images=32, guidance_scale=3)
    assert str(caught.value) == (
        "1,001 evaluations × 32 images × 2 for guidance = 64,064, and a run may cost 40,000. The nearest allowed: "
        "at most 19 image(s) or at most 62 levels or at most 6 steps per level."
    )
    with pytest.raises(SettingsError, match=r"^2,001 evaluations × 20 images = 40,020, and a run may cost 40,000\. "):
        settings(sampler="annealed_langevin", num_levels=200, steps_per_level=10)


def progress_of(model, evaluation, *, final=False, timed_out=False):
    run = SamplingRun(NCSNPipeline(model.pipeline.unet, model.pipeline.scheduler), {}, threading.Event(), 120.0)
    run.seconds, run.timed_out = 2.5, timed_out
    blank = np.zeros((1, 8, 8, 3))
    return messages.progress(Frame(evaluation, 1200, 0.25, blank, blank, final or timed_out), run)


def test_a_run_says_how_far_it_is_and_how_it_ended(model):
    said = [
        (progress_of(model, 1100), "running", "off", "σ = 0.25 · evaluation 1,100 of 1,200 · 2.5 s"),
        (progress_of(model, 1200, final=True), "done", "polite", "Done: 1,200 evaluations in 2.5 s"),
        (progress_of(model, 7, final=True), "stopped", "polite", "Stopped at evaluation 7 of 1,200"),
        (progress_of(model, 7, timed_out=True), "stopped", "polite",
         "Ended after 120 s, the most a run may take, at evaluation 7 of 1,200"),
    ]  # fmt: skip
    for html, kind, live, words in said:
        assert f'class="status {kind}" role="status" aria-live="{live}"><span>{words}</span>' in html
    assert '<progress value="7" max="1200"' in said[2][0]


def test_frames_come_after_a_tenth_of_the_time_so_far():
    """At least a fifth of a second apart, at most one."""
    pauses = [pause_between_frames(elapsed) for elapsed in (0, 1.9, 2, 5, 9.9, 11, 1000)]
    assert pauses == pytest.approx([0.2, 0.2, 0.2, 0.5, 0.99, 1, 1])


def test_the_step_sizes_are_those_of_their_formulas():
    """Langevin dynamics: epsilon sigma_i² / sigma_L², epsilon a fraction of 2 sigma_L²."""
    chosen = settings(sampler="annealed_langevin", step_mode="fraction", step_fraction=0.3, num_levels=6)
    sigmas = ladder_of(chosen, MODEL).double()
    assert step_size_of(chosen, sigmas) == pytest.approx(0.3 * 2 * 0.01**2)
    table = table_of(chosen, MODEL)
    assert len(table) == chosen.evaluations == 6 * 5 + 1
    found = torch.tensor([(row.a, row.b**2) for row in table[:-1:5]], dtype=torch.float64)
    torch.testing.assert_close(found, 0.3 * 2 * torch.stack([sigmas**2, 2 * sigmas**2], 1), rtol=1e-6, atol=0)
    following = torch.cat([sigmas[1:], sigmas.new_zeros(1)])

    def column_a(**changed):
        return torch.tensor([row.a for row in table_of(settings(num_levels=6, **changed), MODEL)], dtype=torch.float64)

    torch.testing.assert_close(column_a(), sigmas**2 - following**2)
    torch.testing.assert_close(column_a(sampler="heun"), sigmas * (sigmas - following))
    ode = table_of(settings(num_levels=6, noise_back="ode"), MODEL)
    torch.testing.assert_close(column_a(noise_back="ode"), sigmas * (sigmas - following))
    assert [row.b for row in ode] == [0] * 6


@pytest.mark.parametrize(
    "number, written",
    [
        ("3e+14", "3×10¹⁴"),
        ("1.5e-07", "1.5×10⁻⁷"),
        ("1e400", "1e400"),
        ("1.797693135e+308",) * 2,
    ],
)
def test_numbers_in_words_are_written_plainly_where_a_float_holds_them(number, written):
    """The largest float, rounded to ten digits, is none."""
    assert messages.plain(f"got {number}.") == f"got {written}."


@pytest.mark.parametrize(
    "changed, words",
    [
        ({}, None),
        ({"sigma_max": 12.1}, None),
        ({"sigma_max": 12.2}, "outside this range are extrapolated"),
        ({"sigma_min": 0.0098}, "outside this range are extrapolated"),
        ({"sigma_min": 0.099}, None),
        ({"sigma_min": 0.101}, "far above 0.01, the least noise that the network knows"),
        ({"num_levels": 1}, "Use more levels"),
        ({"num_levels": 4}, "The last step goes from 0.106 to 0.01 at once"),
        ({"num_levels": 5}, None),
    ],
)
def test_the_ends_of_the_noise_levels_are_judged(model, changed, words):
    """1 % beyond what was trained on, ten times the least of it, a last step of more than a factor of ten."""
    said = warnings_about(settings(**changed), model)
    assert said == [] if words is None else words in " ".join(said), said


def ticks(axis):
    low, high = sorted(axis.get_view_interval())
    return [tick for tick in axis.get_majorticklocs() if low <= tick <= high]


@pytest.mark.parametrize(
    "low, high",
    [
        (0.4, 1.1),
        (0.9, 1.05),
        (0.02, 3),
        (1e-6, 300),
        (8.3, 9.5),
        (12.1, 14.9),
        (0.84, 0.85),
        (8.31, 8.312),
        (11.9, 12),
        (9, 9),
    ],
)
def test_every_logarithmic_axis_has_at_least_three_ticks(low, high):
    """Also those of a run that was stopped soon, whose levels are close to each other."""
    of_levels = deviation_figure(np.geomspace(high, low * 0.999, 100), np.ones(100))
    of_x = deviation_figure([0.5] * 100, np.geomspace(low, high, 100), data=math.sqrt(low * high))
    for axis in (of_levels.axes[0].xaxis, of_levels.axes[0].yaxis, of_x.axes[0].yaxis):
        said = [tick.get_text() for tick in axis.get_ticklabels()]
        assert 3 <= len(ticks(axis)) == len(said) <= 8
        assert len(set(said)) == len(said)


@pytest.mark.parametrize(
    "draw",
    [
        lambda: noise_level_figure([5e-5, 3e-5], (2e-5, 6e-5)),
        lambda: noise_level_figure(np.geomspace(3000, 1e-3, 1000).tolist(), (1e-3, 3000)),
        lambda: table_figure([Row(7e-3, 4e-5, 6e-3, 5e-3), Row(5e-3, 2e-5, 0.0, 0.0)], 1, "σ²: removes all noise"),
        lambda: table_figure([Row(1e-6, 3e-13, 2e-7, 5e-7)] * 2000, 2, "2σ²: diverges"),
        lambda: noise_left_figure(np.geomspace(1, 2e5, 20_000).tolist()),
        lambda: noise_left_figure([0.013, 0.012]),
        lambda: deviation_figure([1e4, 1e-6], [1e4, 3e-5]),
        lambda: loss_figure([-10_000.0, -9_999.0, -9_999.5], 20_000, -10_000.0, ("before", [-9_999.0])),
        lambda: loss_figure([0.0001, 0.0002], 2, None),
        lambda: dilemma_figure(([0.01, 1.0], [2e-6, 3e-5]), [(0.1, 2.5e-5)], 0.3, (2e-6, 3e-5), 1e-5, 2e-5),
        lambda: field_figure(None, (-120.5, 119.5, -120.5, 119.5), 1.0, None, torch.zeros(1, 2)),
        lambda: error_figure(torch.ones(64), GaussianMixture(torch.zeros(1, 2)), (-4.0, 4.0, -4.0, 4.0)),
        lambda: deviation_map(np.linspace(0, 0.3, 16).reshape(4, 4, 1)),
        lambda: deviation_map(np.zeros((4, 4, 3))),
    ],
)
def test_figures_have_room_for_their_numbers(draw):
    figure = draw()
    figure.draw_without_rendering()
    box, size = figure.get_tightbbox(), figure.get_size_inches()
    assert box.x0 >= 0 and box.y0 >= 0 and box.x1 <= size[0] and box.y1 <= size[1]


def test_a_grid_keeps_each_class_to_its_column():
    columns = [row_of_classes(*given) for given in ((1, 10), (4, 10), (10, 10), (26, 10), (64, 10), (9, 3), (5, 7))]
    assert columns == [1, 2, 5, 10, 10, 3, 7]
    images = np.arange(1, 8, dtype=np.uint8)[:, None, None, None] * np.ones((7, 2, 2, 1), np.uint8)
    grid = tile(images)
    assert grid.shape == (8, 8, 2) and grid[::3, ::3, 0].tolist() == [[1, 2, 3], [4, 5, 6], [7, 0, 0]]
    assert grid[::3, ::3, 1].tolist() == [[255] * 3, [255] * 3, [255, 0, 0]]
    assert image_grid(np.ones((1, 28, 28, 1))).size == (588, 588)
    assert image_grid(np.full((1, 1, 1, 1), 0.5)).getpixel((0, 0)) == (128, 128, 128, 255)


def test_the_knobs_of_the_lecture_have_the_ranges_that_their_rule_gives():
    """Counts: a tenth of the smaller to four times the quick one; numbers: a factor of ten around; lists: twice."""
    knobs = {name: {knob.name: knob for knob in knobs_of(EXPERIMENTS[name])} for name in ("mixing", "one-sigma")}
    ends = {
        ("mixing", "num_steps"): (30, 1200),
        ("mixing", "num_particles"): (200, 8000),
        ("mixing", "step_size"): (0.005, 0.5),
        ("mixing", "seed"): (0, 2**31 - 1),
        ("one-sigma", "sigmas"): (0.003, 20.0),
        ("one-sigma", "std"): (0.01, 1.0),
        ("one-sigma", "num_steps"): (10, 400),
    }
    assert {key: (knobs[key[0]][key[1]].low, knobs[key[0]][key[1]].high) for key in ends} == ends
    lists = [knob for module in EXPERIMENTS.values() for knob in knobs_of(module) if knob.whole and knob.most]
    assert lists and all((knob.high == 2 * max(knob.value)) for knob in lists)
    assert knobs["one-sigma"]["sigmas"].most == 7
    assert knobs["one-sigma"]["sigmas"].times((0.1, 0.2, 0.3, 0.4)) == pytest.approx(4 / 3)
    assert knobs["mixing"]["num_steps"].times(450) == 1.5
    assert knobs["mixing"]["step_size"].times(0.5) == knobs["mixing"]["seed"].times(7) == 1
