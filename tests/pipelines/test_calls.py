"""A call as users of diffusers make it: generators, callbacks, formats, what is given, pipelines of the same parts."""

import contextlib
import json
import math
import threading
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

import numpy as np
import pytest
import torch
from diffusers import (
    DDPMPipeline,
    DDPMScheduler,
    DPMSolverMultistepScheduler,
    EDMDPMSolverMultistepScheduler,
    EDMEulerScheduler,
    HeunDiscreteScheduler,
    UNet2DModel,
)

from ncsn_pipeline import (
    AnnealedLangevinScheduler,
    ConsistentAnnealedScheduler,
    NCSNInpaintPipeline,
    NCSNPipeline,
    PredictorCorrectorScheduler,
    ScoreUNet,
    as_score_function,
)
from ncsn_pipeline.guidance import added
from ncsn_pipeline.sampling import follow


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.fixture
def pipe():
    """A model with three classes, quiet."""
    torch.manual_seed(7)
    network = ScoreUNet(8, 1, (8, 16), num_class_embeds=3, sigma_data=0.4, sigma_max=5.0)
    torch.nn.init.normal_(network.conv_out.weight, std=0.05)
    pipeline = NCSNPipeline(network, ConsistentAnnealedScheduler(6, sigma_max=5.0), data_min=-1.0, data_max=1.0)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def unet_of_diffusers(**settings):
    down, up = ("DownBlock2D", "DownBlock2D"), ("UpBlock2D", "UpBlock2D")
    shape = {"block_out_channels": (4, 8), "norm_num_groups": 2, "layers_per_block": 1}
    return UNet2DModel(8, 1, 1, down_block_types=down, up_block_types=up, **shape, **settings)


@pytest.fixture
def inpaint(pipe):
    pipeline = NCSNInpaintPipeline.from_pipe(pipe)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


IMAGE, MASK = torch.full((1, 8, 8), 0.5), torch.cat([torch.zeros(1, 8, 4), torch.ones(1, 8, 4)], 2)
REFUSED = [
    {"batch_size": 0},
    {"class_labels": 3},
    {"class_labels": "cat"},
    {"class_labels": [0, 1]},
    {"guidance_scale": -1.0},
    {"guidance_scale": "2"},
    {"output_type": "jpeg"},
    {"latents": torch.zeros(1, 1, 9, 9)},
    {"num_inference_steps": 0},
    {"sigmas": [1.0, 2.0]},
    {"callback_on_step_end_tensor_inputs": ["noise"]},
    {"given": 3},
    {"given": [torch.sin, 3]},
]


@pytest.mark.parametrize("arguments", REFUSED, ids=lambda arguments: "-".join(arguments))
def test_a_refused_call_has_drawn_nothing(pipe, inpaint, arguments):
    """Neither with drawn classes, nor where the scheduler is what refuses."""
    generator = seeded()
    before = generator.get_state()
    with pytest.raises(ValueError):
        pipe(**{"class_labels": "random", "generator": generator} | arguments)
    arguments = {name: value for name, value in arguments.items() if name != "batch_size"} or {"resample_steps": 0}
    with pytest.raises(ValueError):
        inpaint(IMAGE, MASK, **{"class_labels": "random", "generator": generator} | arguments)
    assert torch.equal(generator.get_state(), before)


def test_a_tuple_of_generators_is_a_list_of_them(pipe):
    make = lambda kind: pipe(2, kind([seeded(1), seeded(2)]), class_labels=1, output_type="pt").images  # noqa: E731
    assert torch.equal(make(tuple), make(list))


@pytest.mark.parametrize("generator", [3, np.int64(3), "3", [3, 4], np.random.default_rng(0)])
def test_a_seed_is_not_a_generator_and_the_error_says_how_to_make_one(pipe, generator):
    with pytest.raises(ValueError, match=r"torch\.Generator\(\)\.manual_seed\(seed\)"):
        pipe(2, generator)


def test_whole_numbers_of_numpy_are_numbers(pipe):
    one = pipe(np.int64(2), seeded(), np.int32(3), class_labels=np.int64(1), output_type="pt").images
    assert torch.equal(one, pipe(2, seeded(), 3, class_labels=1, output_type="pt").images)


def test_no_label_is_the_null_class_and_random_draws(pipe):
    make = lambda label: pipe(4, seeded(), class_labels=label, output_type="pt").images  # noqa: E731
    assert torch.equal(make(None), make("none"))
    assert not torch.equal(make(None), make("random"))
    seen = []
    pipe.unet.register_forward_pre_hook(
        lambda module, args, kwargs: seen.append(kwargs["class_labels"]), with_kwargs=True
    )
    make(None)
    assert seen[0].tolist() == [3] * 4
    make("random")
    assert set(seen[-1].tolist()) <= {0, 1, 2}


def test_a_model_with_classes_and_no_null_class_asks_for_labels():
    pipeline = NCSNPipeline(unet_of_diffusers(num_class_embeds=3), ConsistentAnnealedScheduler(2))
    with pytest.raises(ValueError, match=r"without one\. Give class_labels: one of 0 \.\.\. 2 .* or 'random'"):
        pipeline()


def test_raw_and_latent_samples_are_not_clamped(pipe):
    pipe.register_to_config(data_min=-0.5, data_max=0.3)
    formats = {name: pipe(2, seeded(), class_labels=0, output_type=name).images for name in ("latent", "raw", "pt")}
    assert formats["latent"].min() < -0.5
    torch.testing.assert_close(formats["raw"], (formats["latent"] + 0.5) / 0.8)
    assert torch.equal(formats["pt"], formats["raw"].clamp(0, 1))


def test_inpainting_has_the_same_formats_and_keeps_its_pixels(inpaint):
    latent, raw, pt = (inpaint(IMAGE, MASK, generator=seeded(), output_type=n).images for n in ("latent", "raw", "pt"))
    assert torch.equal(raw[..., :4], IMAGE[None, ..., :4])
    torch.testing.assert_close(raw[..., 4:], (latent[..., 4:] + 1) / 2)
    replaced = {"callback_on_step_end": lambda *_: {"latents": torch.full((1, 1, 8, 8), 7.0)}, "output_type": "latent"}
    assert inpaint(IMAGE, MASK, generator=seeded(), **replaced).images.unique().tolist() == [7.0]
    assert torch.equal(pt, raw.clamp(0, 1))


def test_callbacks_see_latents_score_and_denoised(pipe):
    seen = []

    def callback(pipeline, i, sigma, tensors):
        seen.append((float(sigma), *(tensors[name] for name in ("latents", "score", "denoised"))))

    names = ("latents", "score", "denoised")
    images = pipe(
        2, seeded(), callback_on_step_end=callback, callback_on_step_end_tensor_inputs=names, output_type="latent"
    )
    assert torch.equal(seen[-1][1], images.images)
    for (_, x, *_), (sigma, _, score, denoised) in pairwise(seen):
        torch.testing.assert_close(denoised, x + sigma**2 * score)
    torch.testing.assert_close(seen[-1][3], images.images)  # the last step denoises


@pytest.mark.parametrize("scheduler", [AnnealedLangevinScheduler, ConsistentAnnealedScheduler])
def test_the_samples_are_those_of_the_loop_that_follows_a_score(pipe, scheduler):
    """The pipeline's loop is `follow`: the same states, one after the other, with the same noise."""
    pipe.scheduler, latents = scheduler(4, sigma_max=5.0), torch.randn(2, 1, 8, 8, generator=seeded(1))
    seen, names = [], ["latents", "score", "denoised"]
    pipe(
        2, seeded(), latents=latents, class_labels=1, callback_on_step_end_tensor_inputs=names,
        callback_on_step_end=lambda pipeline, i, sigma, tensors: seen.append((sigma, *tensors.values())),
    )  # fmt: skip
    score = as_score_function(pipe.unet, torch.tensor([1, 1]))
    states = list(follow(score, 5 * latents, pipe.scheduler.table, seeded()))
    assert len(states) == len(seen) == len(pipe.scheduler.table)
    for state, (sigma, *tensors) in zip(states, seen, strict=True):
        expected = (state.sample, state.score, state.denoised)
        assert sigma == state.sigma and all(map(torch.equal, tensors, expected))


def test_a_callback_changes_the_guidance(pipe):
    seen = []
    pipe.unet.register_forward_pre_hook(lambda module, args: seen.append(len(args[0])))

    def callback(pipeline, i, sigma, tensors):
        if i == 2:
            pipeline.guidance_scale = 1.0
        if i == 3:
            pipeline._guidance_scale = 2.0  # as the callbacks of diffusers write it
        return {}

    pipe(2, seeded(), class_labels=1, guidance_scale=1.5, callback_on_step_end=callback)
    assert seen == [4, 4, 4, 2, 4, 4]
    with pytest.raises(ValueError, match="finite and >= 0"):
        pipe.guidance_scale = -1.0


@pytest.mark.parametrize("repeats", [1, 3])
def test_num_timesteps_is_the_number_of_callbacks(inpaint, repeats):
    calls = []
    counted = {"callback_on_step_end": lambda pipeline, i, *_: calls.append((i, pipeline.num_timesteps)) or {}}
    inpaint(IMAGE, MASK, generator=seeded(), num_inference_steps=5, resample_steps=repeats, **counted)
    count = repeats * 4 + 1
    assert calls == [(i, count) for i in range(count)]


def test_what_is_given_changes_the_score_in_order(pipe):
    """`[f, g]` is g(f(score)); a pull of the score by c moves the denoised end by sigma² c."""
    alone = pipe(2, seeded(), 1, class_labels=1, output_type="latent").images
    pulled = pipe(
        2, seeded(), 1, class_labels=1, output_type="latent", given=added(lambda x, s: torch.ones_like(x))
    ).images
    torch.testing.assert_close(pulled, alone + 25)
    twice, plus = (lambda score: lambda x, s: 2 * score(x, s)), added(lambda x, s: torch.ones_like(x))
    x = 5 * torch.randn(2, 1, 8, 8, generator=seeded())
    for given, expected in (([twice, plus], 2 * (alone - x) + 25), ([plus, twice], 2 * (alone - x + 25))):
        images = pipe(2, seeded(), 1, class_labels=1, output_type="latent", given=given).images
        torch.testing.assert_close(images, x + expected, rtol=1e-4, atol=1e-3)


def test_guidance_is_inside_of_what_is_given(pipe):
    lengths = []
    watching = lambda score: lambda x, s: lengths.append(len(x)) or score(x, s)  # noqa: E731
    pipe(2, seeded(), class_labels=1, guidance_scale=2.0, given=watching)
    assert lengths == [2] * 6


def test_pipelines_are_made_of_each_other_without_copying_or_casting(pipe, inpaint):
    back = NCSNPipeline.from_pipe(inpaint)
    assert back.unet is inpaint.unet is pipe.unet
    assert type(back) is NCSNPipeline and type(inpaint) is NCSNInpaintPipeline
    assert (back.config.data_min, inpaint.config.data_min) == (-1.0, -1.0)
    other = NCSNPipeline.from_pipe(pipe, scheduler=AnnealedLangevinScheduler(3), data_max=2.0)
    assert (type(other.scheduler), other.config.data_max) == (AnnealedLangevinScheduler, 2.0)
    pipe.unet.to(torch.float64)
    assert NCSNPipeline.from_pipe(pipe).unet.dtype == torch.float64
    assert NCSNPipeline.from_pipe(pipe, torch_dtype=torch.bfloat16).unet.dtype == torch.bfloat16
    assert NCSNPipeline.from_pipe(pipe, dtype=torch.float32, torch_dtype=torch.float32).unet.dtype == torch.float32
    assert NCSNPipeline.from_pipe(pipe, dtype=torch.float32).unet.dtype == torch.float32


@pytest.mark.parametrize(
    "scheduler",
    [AnnealedLangevinScheduler, ConsistentAnnealedScheduler, EDMEulerScheduler, EDMDPMSolverMultistepScheduler,
     DPMSolverMultistepScheduler, HeunDiscreteScheduler],
)  # fmt: skip
def test_threads_with_a_scheduler_each_draw_what_each_draws_alone(pipe, scheduler):
    """They take turns step by step, over other noise levels, with other guidance, one of them interrupted."""
    pipe.scheduler = scheduler.from_config(pipe.scheduler.config)
    calls = [
        {"num_inference_steps": 9, "class_labels": 1, "guidance_scale": 2.0},
        {"num_inference_steps": 14, "class_labels": 0, "guidance_scale": 0.5},
    ]

    def draw(number, turn=lambda: None):
        def step(pipeline, i, sigma, tensors):
            pipeline.interrupt = number == 1 and i == 6
            turn()
            return {}

        own = NCSNPipeline.from_pipe(pipe, scheduler=type(pipe.scheduler).from_config(pipe.scheduler.config))
        own.set_progress_bar_config(disable=True)
        generator = torch.Generator().manual_seed(number)
        return own(2, generator, output_type="latent", callback_on_step_end=step, **calls[number]).images

    alone = [draw(number) for number in range(2)]
    barrier = threading.Barrier(2, timeout=20)

    def turn():
        with contextlib.suppress(threading.BrokenBarrierError):  # the other one has ended
            barrier.wait()

    def thread(number):
        images = draw(number, turn)
        barrier.abort()
        return images

    with ThreadPoolExecutor(2) as pool:
        together = list(pool.map(thread, range(2)))
    assert all(map(torch.equal, together, alone))
    assert not torch.equal(*alone)


def test_a_ddpm_pipeline_is_pointed_to_the_way_it_has():
    with pytest.raises(ValueError, match="DDPMPipeline does not hold a score network.*from_ddpm"):
        NCSNPipeline.from_pipe(DDPMPipeline(unet_of_diffusers(), DDPMScheduler()))


def test_folders_of_the_first_format_still_load(pipe, tmp_path):
    """They name two files of schedulers that are one by now."""
    pipe.save_pretrained(tmp_path)
    index = json.loads((tmp_path / "model_index.json").read_text(encoding="utf-8"))
    names = {
        "scheduling_consistent_annealed": (ConsistentAnnealedScheduler, 6),
        "scheduling_annealed_langevin": (AnnealedLangevinScheduler, 31),
    }
    for stem, (cls, evaluations) in names.items():
        old = {"_ncsn_pipeline_format": 1, "scheduler": [stem, cls.__name__]}
        (tmp_path / "model_index.json").write_text(json.dumps(index | old), encoding="utf-8")
        loaded = NCSNPipeline.from_pretrained(tmp_path)
        assert type(loaded.scheduler) is cls
        assert len(loaded.scheduler.timesteps) == evaluations


@pytest.mark.parametrize("predictor", ["reverse_diffusion", "ancestral"])
def test_the_predictor_corrector_draws_images(pipe, predictor):
    pipe.scheduler = PredictorCorrectorScheduler.from_config(pipe.scheduler.config, predictor=predictor)
    images = pipe(2, seeded(), class_labels=[0, 1], num_inference_steps=12, output_type="pt").images
    assert images.isfinite().all() and pipe.num_timesteps == 12
    assert images.std() > 0.05


def test_a_class_is_asked_for_by_its_name(pipe):
    pipe.unet.register_to_config(id2label={"0": "boot", "1": "bag", "2": "sandal"})  # as JSON holds it
    make = lambda labels: pipe(2, seeded(), class_labels=labels, output_type="pt").images  # noqa: E731
    assert torch.equal(make("sandal"), make(2))
    assert torch.equal(make(["boot", 1]), make([0, 1]))
    inpaint = NCSNInpaintPipeline.from_pipe(pipe)
    inpaint.set_progress_bar_config(disable=True)
    both = [
        inpaint(IMAGE, MASK, class_labels=label, generator=seeded(), output_type="pt").images for label in ("bag", 1)
    ]
    assert torch.equal(*both)
    with pytest.raises(ValueError, match=r"no class 'shoe'\. class_labels may be numbers, names \(boot, bag, sandal\)"):
        make(["bag", "shoe"])


def test_names_of_classes_are_whole_and_mean_nothing_else():
    sizes = {"sample_size": 8, "block_out_channels": (8,), "num_class_embeds": 2}
    assert ScoreUNet(**sizes, id2label={0: "a", 1: "b"}).config.id2label == {0: "a", 1: "b"}
    for wrong in ({0: "a"}, {0: "a", 1: "a"}, {1: "a", 2: "b"}):
        with pytest.raises(ValueError, match="id2label must name each of 2 classes by its number, once"):
            ScoreUNet(**sizes, id2label=wrong)
    for word in ("random", "none"):
        with pytest.raises(ValueError, match=f"A class is called '{word}', .* Rename it"):
            ScoreUNet(**sizes, id2label={0: "a", 1: word})


def test_classes_of_few_evaluations_are_as_frequent_as_in_the_data():
    sizes = {"sample_size": 8, "block_out_channels": (8,), "num_class_embeds": 3}
    frequencies = (0.0, 0.3, 0.1)  # shares of their sum
    pipe = NCSNPipeline(
        ScoreUNet(**sizes, trained_sigmas=[1.5], class_frequencies=frequencies),
        ConsistentAnnealedScheduler(sigmas=[1.5], eta=1.0),
    )
    drawn = pipe._labels(None, 4000, seeded())
    assert drawn.dtype == torch.int64 and 0 not in drawn
    assert (drawn == 1).double().mean().item() == pytest.approx(0.75, abs=5 * (0.75 * 0.25 / 4000) ** 0.5)
    alike = pipe._labels("random", 4000, seeded())
    assert alike.bincount().tolist() == pytest.approx([4000 / 3] * 3, abs=5 * (4000 * 2 / 9) ** 0.5)
    pipe.unet.register_to_config(class_frequencies=None)
    assert torch.equal(pipe._labels(None, 4000, seeded()), alike)
    pipe.unet.register_to_config(trained_sigmas=None, class_frequencies=frequencies)
    assert pipe._labels(None, 2, seeded()).tolist() == [3, 3]


@pytest.mark.parametrize("wrong", [(0.5, 0.5, 0.0), (), (1.5, -0.5), (0.0, 0.0), (1.0, math.nan), (1.0, math.inf)])
def test_frequencies_are_one_share_for_each_class(wrong):
    sizes = {"sample_size": 8, "block_out_channels": (8,), "num_class_embeds": 2}
    with pytest.raises(ValueError, match="class_frequencies must be 2 shares, one for each class"):
        ScoreUNet(**sizes, class_frequencies=wrong)
