"""The Learn tab: what a training is and says, and the tab in a real browser: it trains, stops, and refuses clearly."""

import math
import re
import threading
from dataclasses import asdict, replace

import gradio as gr
import numpy as np
import pytest
import torch
from gradio_client.exceptions import AppError
from playwright.sync_api import expect

from ncsn_pipeline.densities import exact_score_function
from ncsn_pipeline.diagnostics import mode_weights
from ncsn_pipeline.space.learn.data import DATA
from ncsn_pipeline.space.learn.dilemma import chance_distance, dilemma, distance_to_data, noised_distances
from ncsn_pipeline.space.learn.handlers import LEARN_INPUTS, LearnHandlers
from ncsn_pipeline.space.learn.limits import OBJECTIVES, check_learn
from ncsn_pipeline.space.learn.moments import SWEEP_SIGMAS
from ncsn_pipeline.space.learn.objectives import Objective
from ncsn_pipeline.space.learn.presets import JUST_RIGHT, LEARN_DEFAULTS, TOO_LARGE, TOO_SMALL, learn_presets
from ncsn_pipeline.space.learn.report import Panels, PastRun
from ncsn_pipeline.space.learn.run import LearnRun
from ncsn_pipeline.space.learn.tab import report
from ncsn_pipeline.space.runs.limits import SettingsError

from .ranges import assert_choices, assert_range
from .visitor import button, connected, fill, slowed_down, wait_for_status


def settings_of(**changed):
    return check_learn(**(LEARN_DEFAULTS | changed))


def trained(stop=None, deadline=math.inf, **changed):
    run = LearnRun(settings_of(**changed), stop or threading.Event(), deadline)
    *_, last = run.frames()
    assert last is True
    return run


# Inputs


@pytest.mark.parametrize(
    "name, label, low, high",
    [("sigma", "σ", 0.0, 2.0), ("num_steps", "Training steps", 50, 4000), ("seed", "Seed", 0, 2**31 - 1)],
)
def test_every_number_has_its_range(name, label, low, high):
    assert_range(lambda value: settings_of(**{"objective": "exact", name: value}), label, low, high)


@pytest.mark.parametrize(
    "name, label, choices",
    [
        ("data", "Data", ["eight", "gaussians", "ring", "moons", "spiral", "checkerboard"]),
        ("levels", "Noise levels", ["one", "all"]),
        ("objective", "Objective", ["exact", "sliced", "denoising"]),
    ],
)
def test_every_choice_has_its_names(name, label, choices):
    assert_choices(lambda value: settings_of(**{name: value}), label, choices)


def test_denoising_needs_noise_and_the_refusal_says_what_to_do():
    with pytest.raises(SettingsError, match="Raise σ to at least 0.01, or choose the exact or the sliced objective"):
        settings_of(sigma=0)
    assert settings_of(sigma=0, objective="sliced").sigma == 0
    with pytest.raises(SettingsError, match="learned by denoising.* or one noise level"):
        settings_of(levels="all", objective="sliced")
    with pytest.raises(SettingsError, match="must be 0, for clean data, or at least 0.01; got 0.005"):
        settings_of(sigma=0.005)


def test_only_what_has_a_density_has_a_score():
    have = {name for name in DATA if settings_of(data=name, sigma=0, objective="exact").has_score}
    assert have == {"eight", "gaussians"}
    assert all(settings_of(data=name, sigma=0.01).has_score for name in DATA)


def test_presets_and_defaults_are_valid():
    assert set(LEARN_DEFAULTS) == set(LEARN_INPUTS)
    for preset in learn_presets():
        settings_of(**preset.values)


# Training


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_every_objective_learns_the_score_of_the_noised_density(objective):
    """Untrained, the field is near zero and as wrong as no score; the exact score's loss is the least there is."""
    start = LearnRun(settings_of(data="ring", sigma=0.6), threading.Event(), 1).errors().relative
    run = trained(data="ring", objective=objective, sigma=0.6, num_steps=250)
    assert start == pytest.approx(1, abs=0.1)
    assert run.errors().relative < 0.2
    least, last = run.least_loss(), np.array(run.losses[-50:])
    assert last.mean() > least - 3 * last.std() / math.sqrt(len(last)) - 0.05 * abs(least)
    assert last.mean() < run.losses[0]


def test_the_same_seed_gives_the_same_run():
    one, two, other = (trained(num_steps=50, seed=seed).losses for seed in (3, 3, 4))
    assert one == two != other
    asked = LearnRun(settings_of(num_steps=50, seed=3), threading.Event(), math.inf)
    assert asked.least_loss() is not None  # the page asks before the training, a program after it
    list(asked.frames())
    assert asked.losses == one


@pytest.mark.parametrize("sigma", [0.01, 0.1])
@pytest.mark.parametrize("objective", ["denoising", "exact"])
def test_the_least_loss_is_that_of_its_formula(objective, sigma):
    """Of Gaussians far apart E || s* ||² = D / (std² + sigma²); what is left to learn is a thousandth of the loss."""
    least = -1 / (0.1**2 + sigma**2) + (1 / sigma**2 if objective == "denoising" else 0)
    run = LearnRun(settings_of(sigma=sigma, objective=objective), threading.Event(), 1)
    assert run.least_loss() == pytest.approx(least, rel=1e-5)


def test_at_all_levels_the_least_loss_is_the_mean_loss_of_the_exact_score():
    """Within four standard errors of that mean."""
    objective = Objective(settings_of(levels="all"), 1.4, torch.Generator().manual_seed(0))
    losses = objective.losses(exact_score_function(DATA["eight"].density), 16_000)
    assert abs(float(losses.mean()) - objective.least(5000)) < 4 * float(losses.std()) / math.sqrt(16_000)


def test_more_noise_is_easier_to_learn_and_further_from_the_data():
    errors = [trained(data="spiral", sigma=sigma, num_steps=200).errors().relative for sigma in (0.05, 1.0)]
    assert errors[1] < 0.3 * errors[0]
    _, distances = noised_distances("spiral")
    assert (np.diff(distances) > 0).all()


def test_without_noise_a_curve_has_no_floor_and_with_noise_it_has():
    """The least loss with noise is the exact score's; the clean loss passes what it is at sigma 0.1."""
    clean = trained(data="ring", objective="sliced", sigma=0, num_steps=400)
    noised = trained(data="ring", objective="sliced", sigma=0.3, num_steps=400)
    assert clean.least_loss() is None and clean.errors() is None and clean.draw() is None
    assert min(clean.losses) < 3 * noised.least_loss() < 0
    assert np.mean(noised.losses[-100:]) > 1.1 * noised.least_loss()
    assert np.std(clean.losses[-200:]) > 3 * np.std(noised.losses[-200:])


def test_a_run_ends_when_it_is_told_to_and_at_its_deadline():
    stop = threading.Event()
    run = LearnRun(settings_of(num_steps=4000), stop, math.inf)
    for _ in run.frames():
        stop.set()
    assert 0 < len(run.losses) < 4000 and not run.timed_out
    run = trained(num_steps=4000, deadline=0.2)
    assert run.timed_out and not run.finished


def test_the_errors_of_the_densest_and_the_emptiest_tenth_are_not_mixed_up():
    """A score that is half of the true one: the relative error is 1/4; far from the data scores are long."""

    class Halved(LearnRun):
        def learned(self, x):
            return self.settings.learned.density.noised(self.settings.sigma).score(x) / 2

    errors = Halved(settings_of(data="ring", sigma=0.3), threading.Event(), 1).errors()
    assert errors.relative == pytest.approx(0.25, rel=1e-5)
    assert errors.lowest > 4 > 0.25 > errors.highest > 0


def test_samples_are_drawn_by_the_learned_score():
    run = trained(data="gaussians", sigma=0.5, num_steps=300)
    drawn = run.draw()
    assert drawn.shape == (2000, 2) and drawn.isfinite().all()
    noised = run.settings.learned.density.noised(0.5)
    near = noised.sample(1000, generator=torch.Generator().manual_seed(1))
    assert noised.log_prob(drawn).mean() > noised.log_prob(near).mean() - 1


# All levels, and what the page claims of one


def test_all_levels_recover_the_shares_that_one_level_does_not():
    """0.8 and 0.2: a chain at one level keeps about the halves of the square that it started in."""
    shares = {}
    for levels in ("one", "all"):
        run = trained(data="gaussians", levels=levels, sigma=0.3, num_steps=400)
        shares[levels] = float(mode_weights(run.draw(), run.settings.learned.density.means).weights[0])
    # The exact scores' annealed chain is off by 0.08 with so few steps.
    assert abs(shares["all"] - 0.8) < 0.15 < abs(shares["one"] - 0.8)


def test_of_all_levels_no_loss_falls_below_the_exact_scores():
    run = trained(data="ring", levels="all", sigma=0.3, num_steps=300)
    last = np.array(run.losses[-50:])
    assert last.mean() > run.least_loss() - 3 * last.std() / math.sqrt(len(last))
    assert last.mean() < 0.8 * run.losses[0] and run.errors().relative < 0.3


def test_levels_are_uniform_in_the_logarithm_of_sigma():
    """One in each of 64 equal stretches of [ln 0.01, ln 3], again and again."""
    objective = Objective(settings_of(levels="all"), 1.0, torch.Generator().manual_seed(0))
    seen = []
    objective.losses(lambda x, sigma: seen.append(sigma) or torch.zeros_like(x), 100)
    logs = seen[0].log()
    stretch = math.log(300) / 64
    assert logs.shape == (100,) and torch.equal(logs[64:], logs[:36])
    assert ((logs[:64] - math.log(0.01)) / stretch).floor().tolist() == list(range(64))


def test_a_perfect_sampler_is_as_far_as_another_draw():
    settings = settings_of()
    other = settings.learned.density.sample(2000, generator=torch.Generator().manual_seed(77))
    assert distance_to_data(settings, other) == pytest.approx(chance_distance("eight"), rel=0.35)


@pytest.mark.check
@pytest.mark.timeout(1800)
def test_just_right_is_the_least_of_the_sweep_and_the_presets_say_what_happens():
    """Over three seeds: the mean distance, what is left between the Gaussians, and all levels as near as the best."""
    distances, stray = {sigma: [] for sigma in SWEEP_SIGMAS}, {sigma: [] for sigma in SWEEP_SIGMAS}
    together = []
    for seed in range(3):
        for sigma in SWEEP_SIGMAS:
            run = trained(sigma=sigma, seed=seed)
            drawn = run.draw()
            distances[sigma].append(distance_to_data(run.settings, drawn))
            nearest = torch.cdist(drawn, run.settings.learned.density.means).amin(1)
            stray[sigma].append(float((nearest > 0.5).float().mean()))
            if sigma == TOO_LARGE:
                assert max(run.errors().lowest, run.errors().highest) < 0.05
        run = trained(levels="all", seed=seed)
        together.append(distance_to_data(run.settings, run.draw()))
    mean = {sigma: np.mean(found) for sigma, found in distances.items()}
    assert min(mean, key=mean.get) == JUST_RIGHT
    assert mean[TOO_SMALL] > 2 * mean[JUST_RIGHT] and mean[TOO_LARGE] > 5 * mean[JUST_RIGHT]
    assert np.mean(stray[TOO_SMALL]) > 0.1 > 0.03 > np.mean(stray[JUST_RIGHT])
    assert mean[JUST_RIGHT] / 1.5 < np.mean(together) < 1.5 * mean[JUST_RIGHT]


def test_too_large_a_level_has_one_mode_and_just_right_has_eight():
    """The noised density is higher in the middle than at the Gaussians, or as good as nothing there."""
    density = settings_of().learned.density
    middle, means = torch.zeros(1, 2), density.means
    difference = [
        float(density.noised(sigma).log_prob(middle) - density.noised(sigma).log_prob(means[:1]))
        for sigma in (TOO_LARGE, JUST_RIGHT)
    ]
    assert difference[0] > 0 and difference[1] < -50


# What is said


def test_true_and_learned_arrows_are_on_one_scale_and_the_figures_are_named():
    run = trained(data="moons", sigma=0.3, num_steps=50)
    drawn = Panels(run.settings).html(run, run.draw())
    assert drawn.count("<svg") == 3 and drawn.count("aria-label") == 3 and "placeholder" not in drawn
    before = Panels(run.settings).html()
    assert before.count("<svg") == 1 and before.count("placeholder") == 2
    clean = Panels(settings_of(data="moons", sigma=0, objective="sliced")).html()
    assert "the plane has no density" in clean


def test_the_true_score_is_told_whatever_is_learned():
    handlers = LearnHandlers()
    clean = handlers.true_score(*(LEARN_DEFAULTS | {"sigma": 0}).values())
    assert np.isfinite(clean["score"]).all() and clean["distance_to_clean_data"] == 0
    with pytest.raises(SettingsError, match="Objective must be one of"):
        handlers.true_score(*(LEARN_DEFAULTS | {"objective": "exactly"}).values())


def test_the_pictures_say_at_which_sigma_they_are():
    drawn = Panels(settings_of(sigma=0.25)).html()
    titles = re.findall("<figcaption>(.*?)</figcaption>", drawn)
    names = ("True score", "Learned score", "Squared error")
    assert titles == [f"{name}: Eight Gaussians, σ = 0.25" for name in names]


def test_what_is_drawn_without_a_true_score_is_called_so():
    settings = settings_of(data="checkerboard", objective="sliced", sigma=0)
    run = LearnRun(settings, threading.Event(), 1)
    assert "Dots: what Langevin dynamics draws" in Panels(settings).html(run, torch.zeros(5, 2))


def test_numbers_of_other_settings_are_named_and_said_to_be_so():
    """Also where the settings were changed while it ran, and where they are changed in the data or only in the seed."""
    run, handlers = trained(data="ring", sigma=0.4, num_steps=50), LearnHandlers()
    past = PastRun(run.settings, run.errors(), 0.2, np.array(run.losses))
    assert "Ring, denoising, σ = 0.4" in report.numbers(past)
    assert "Loss: Ring, denoising, σ = 0.4" in report.loss(run.losses, run.settings, None, [])
    same = LEARN_DEFAULTS | {"data": "ring", "sigma": 0.4, "num_steps": 50}
    assert handlers.check(*same.values(), [past]) == handlers.check(*same.values(), None) == ""
    for changed in ({"data": "moons"}, {"seed": 1}):
        other = [*(same | changed).values(), [past]]
        said = handlers.check(*other)
        assert "of a training with other settings: Ring, denoising, σ = 0.4, 50 steps, seed 0." in said
    everywhere = same | {"levels": "all"}
    of_all = [PastRun(settings_of(**everywhere), run.errors(), 0.2, np.array(run.losses))]
    judged = handlers.check(*(everywhere | {"sigma": 1.0}).values(), of_all)
    assert "settings: Ring, denoising, all levels, judged at σ = 0.4, 50 steps" in judged
    assert "before:" not in report.loss(run.losses, settings_of(**(everywhere | {"sigma": 1.0})), None, of_all)
    assert "at σ = 0 there is none" in handlers.check(*(same | {"sigma": 0}).values(), [past])


def test_a_sweep_needs_no_noise_level_of_its_own():
    """At sigma 0, where denoising alone is refused, and with all levels chosen and another objective."""
    for changed in ({"sigma": 0}, {"levels": "all", "objective": "sliced"}):
        moments = LearnHandlers().sweep_numbers(*(LEARN_DEFAULTS | changed).values(), gr.Request())
        assert "Training 1 of 7. σ = 0.03." in next(moments)["message"]
        moments.close()


def test_marks_are_this_session_s_runs_of_the_same_data():
    run = trained(data="ring", sigma=0.4, num_steps=50)
    past = PastRun(run.settings, run.errors(), 0.2, np.array(run.losses))
    assert "Dots: 1 run of" in dilemma(settings_of(data="ring"), [past])
    assert "Dots: 0 runs of" in dilemma(settings_of(data="moons"), [past])
    shown = report.loss(run.losses, settings_of(data="ring", sigma=0.1), None, [past])
    assert "before: Ring, denoising, σ = 0.4" in shown
    assert "before" not in report.loss(run.losses, settings_of(data="ring", objective="exact"), None, [past])
    everywhere = replace(past, settings=replace(past.settings, levels="all"))
    shown = report.loss(run.losses, settings_of(data="ring", levels="all", num_steps=60), None, [everywhere])
    assert "before: Ring, denoising, all levels" in shown
    out_of_sight = replace(past, losses=past.losses + 1e4)
    assert "before" not in report.loss(run.losses, settings_of(data="ring", sigma=0.1), None, [out_of_sight])
    assert f"<dd>{past.errors.relative:.3g}<p>" in report.numbers(past)
    alone = dilemma(settings_of(data="ring"), [past])
    assert "The nearest dot, at σ = 0.4: 0.2. Learn all levels to see their line." in alone
    every = replace(past, settings=replace(past.settings, levels="all"), distance=0.06)
    both = dilemma(settings_of(data="ring"), [past, every])
    assert "Dots: 1 run of" in both and "The nearest dot, at σ = 0.4: 0.2. All levels, the line: 0.06." in both


# In the browser


@pytest.fixture
def page(page):
    """The open tab."""
    page.get_by_role("tab", name="Learn the score").click()
    expect(page.locator("#panels svg")).to_have_count(1)
    return page


@pytest.mark.browser
def test_a_visitor_trains_and_sees_what_was_learned(page):
    button(page, "σ too large").click()
    expect(page.locator("#learn-preset-note b")).to_have_text("σ too large.")
    expect(page.locator("#panels svg").first).to_have_attribute("aria-label", re.compile("eight gaussians at sigma 2"))
    fill(page, "learn-steps", 100)
    button(page, "Train").click()
    wait_for_status(page, "Done: 100 steps", "learn-status")
    expect(page.locator("#panels svg")).to_have_count(3)
    expect(page.locator("#loss svg")).to_have_attribute("aria-label", "Loss of 100 training steps")
    numbers = page.locator("#numbers dd").all_inner_texts()
    assert len(numbers) == 4
    assert 0 < float(numbers[0].split()[0]) < 1
    expect(page.locator("#dilemma")).to_contain_text("1 run of this session")
    expect(button(page, "Train")).to_be_enabled()
    expect(page.locator("#learn-note .notes")).to_have_count(0)
    page.get_by_label("Ring").check()
    expect(page.locator("#learn-note")).to_contain_text("other settings: Eight Gaussians, denoising, σ = 2, 100 steps")
    button(page, "Train").click()  # as set now: at its end, nothing more is to be said
    expect(page.locator("#learn-note .notes")).to_have_count(0)
    expect(page.locator("#numbers .about-run")).to_have_text("Ring, denoising, σ = 2")
    expect(button(page, "Stop").locator("visible=true")).to_be_disabled()
    page.set_viewport_size({"width": 390, "height": 844})
    assert page.evaluate("document.documentElement.scrollWidth") <= 390


@pytest.mark.browser
def test_stop_frees_the_worker_at_once(page):
    fill(page, "learn-steps", 4000)
    page.get_by_label("Exact trace").check()
    button(page, "Train").click()
    wait_for_status(page, r"Step [\d,]+ of 4,000 · loss", "learn-status")
    button(page, "Stop").locator("visible=true").click()
    wait_for_status(page, r"Stopped at step [\d,]+ of 4,000", "learn-status")
    expect(page.locator("#dilemma")).to_contain_text("0 runs of this session")
    fill(page, "learn-steps", 50)
    button(page, "Train").click()
    wait_for_status(page, "Done: 50 steps", "learn-status")


@pytest.mark.check
@pytest.mark.browser
def test_stop_is_heard_by_a_browser_that_cannot_keep_up(page):
    """At forty times the time for everything, the values of a run once came faster than the page could show them."""
    fill(page, "learn-steps", 4000)
    page.get_by_label("Exact trace").check()
    with slowed_down(page, 40):
        button(page, "Train").click()
        wait_for_status(page, r"Step [\d,]+ of 4,000 · loss", "learn-status")
        page.wait_for_timeout(6000)  # values come, and could pile up
        button(page, "Stop").locator("visible=true").click()
        wait_for_status(page, r"Stopped at step [\d,]+ of 4,000", "learn-status")


@pytest.mark.browser
def test_two_starts_at_once_make_one_run_that_can_be_stopped(page):
    """Both clicks come before the server has answered the first; which of them runs is the network's choice."""
    fill(page, "learn-steps", 4000)
    page.evaluate("for (const id of ['train', 'sweep']) document.getElementById(id).click()")
    wait_for_status(page, r"Step [\d,]+ of 4,000 · loss", "learn-status")
    expect(button(page, "Train")).to_be_disabled()
    button(page, "Stop").locator("visible=true").click()
    stopped = r"Stopped at step [\d,]+ of 4,000|Stopped: 0 of 7 trainings done"
    wait_for_status(page, stopped, "learn-status")
    for name in ("Train", "Train at six σ, then all"):
        expect(button(page, name)).to_be_enabled()
    page.wait_for_timeout(2000)  # the other one's turn has come and gone
    wait_for_status(page, stopped, "learn-status")
    expect(button(page, "Stop").locator("visible=true")).to_be_disabled()


@pytest.mark.browser
def test_denoising_without_noise_is_refused_before_and_on_the_click(page):
    fill(page, "learn-sigma", 0)
    expect(page.locator("#learn-note .error")).to_contain_text("at σ = 0 there is none")
    button(page, "Train").click()
    wait_for_status(page, "at σ = 0 there is none", "learn-status")
    expect(page.locator(".toast-body")).to_contain_text("choose the exact or the sliced objective")
    expect(button(page, "Train")).to_be_enabled()
    page.get_by_label("Sliced").check()
    expect(page.locator("#learn-note .error")).to_have_count(0)


@pytest.mark.browser
def test_a_training_by_a_program_gives_the_numbers_of_the_same_training_here(address):
    client = connected(address)
    job = client.submit(num_steps=50, seed=5, levels="all", api_name="/train")
    told, moments = job.result(), job.outputs()
    assert moments[0] | {"seconds": 0} == {
        "status": "running",
        "message": "All levels. Training …",
        "step": 0,
        "steps": 50,
        "seconds": 0,
        "loss": None,
    }
    assert (told["status"], told["step"]) == ("done", 50) and told["message"].startswith("All levels. Done: 50 steps")
    run = trained(num_steps=50, seed=5, levels="all")
    assert told["losses"] == pytest.approx(run.losses, rel=1e-3)  # threads of another number may add up otherwise
    assert told["least_loss"] == pytest.approx(run.least_loss(), rel=1e-6)
    assert told["errors"] == pytest.approx(asdict(run.errors()), rel=1e-2)
    samples = torch.tensor(told["samples"])
    assert samples.shape == (2000, 2)
    assert distance_to_data(run.settings, samples) == pytest.approx(told["distance"], rel=1e-6)


@pytest.mark.check
@pytest.mark.browser
def test_a_sweep_by_a_program_tells_of_every_training(address):
    told = connected(address).predict(num_steps=50, api_name="/train_sweep")
    ended = told["trainings"]
    assert told["status"] == "done" and len(ended) == 7
    assert [(each["levels"], each["sigma"]) for each in ended] == [
        *(("one", sigma) for sigma in SWEEP_SIGMAS),
        ("all", LEARN_DEFAULTS["sigma"]),
    ]
    assert all(each["errors"]["relative"] > 0 < each["distance"] and each["steps"] == 50 for each in ended)


@pytest.mark.browser
def test_the_true_score_comes_in_numbers_or_not_at_all(address):
    client = connected(address)
    told = client.predict(data="ring", sigma=0.4, api_name="/true_score")
    x = torch.tensor(told["points"])
    noised = DATA["ring"].density.noised(0.4)
    assert torch.allclose(torch.tensor(told["score"]), noised.score(x), rtol=1e-4, atol=1e-4)
    assert told["log_density"] == pytest.approx(noised.log_prob(x).tolist(), rel=1e-5)
    sigmas, distances = noised_distances("ring")
    assert np.interp(0.4, sigmas, distances) == pytest.approx(told["distance_to_clean_data"], rel=0.05)
    clean = client.predict(data="ring", sigma=0, api_name="/true_score")
    assert clean["score"] is clean["log_density"] is None and clean["distance_to_clean_data"] == 0
    with pytest.raises(AppError, match="Denoising score matching learns from the noise"):
        client.predict(sigma=0, api_name="/train")
