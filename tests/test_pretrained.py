"""The shipped models: small, safe, complete, the code of today, and digits that a classifier recognises."""

import pytest
import torch
from diffusers import DiffusionPipeline
from PIL import Image

from ncsn_pipeline import AnnealedLangevinScheduler, ConsistentAnnealedScheduler, NCSNPipeline, NCSNPosteriorPipeline
from ncsn_pipeline.evaluation.classifier import ImageClassifier
from ncsn_pipeline.guidance import added
from ncsn_pipeline.guidance.measurements import grey
from ncsn_pipeline.pipelines.given_images import images_as_tensor
from ncsn_pipeline.shipped import MODELS, examples


@pytest.fixture(params=MODELS)
def folder(repo_root, request):
    return repo_root / "pretrained" / request.param


def quiet(folder):
    pipeline = NCSNPipeline.from_pretrained(folder)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


@pytest.fixture
def pipe(repo_root):
    return quiet(repo_root / "pretrained" / "mnist")


@pytest.fixture
def avatars(repo_root):
    return quiet(repo_root / "pretrained" / "avatars")


@pytest.fixture
def fast(repo_root):
    return quiet(repo_root / "pretrained" / "mnist-fast")


def test_folder_is_small_and_holds_no_pickle(folder):
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) <= 8e6
    assert {path.suffix for path in files} <= {".json", ".safetensors", ".py", ".md", ".png"}


def test_code_beside_the_weights_is_the_packages(folder, repo_root):
    copies = sorted(folder.rglob("*.py"))
    assert [path.name for path in copies] == [
        "pipeline_ncsn.py",
        "scheduling_annealed.py",
        "modeling_score_unet.py",
    ]
    for copy in copies:
        (source,) = (repo_root / "ncsn_pipeline").rglob(copy.name)
        assert copy.read_text(encoding="utf-8") == source.read_text(encoding="utf-8"), (
            f"save the pipeline again: {copy.name} is out of date"
        )


def test_defaults(pipe):
    assert isinstance(pipe.scheduler, ConsistentAnnealedScheduler)
    assert 40 <= len(pipe.scheduler.timesteps) <= 60
    assert pipe.unet.config.num_class_embeds == 10
    assert (pipe.unet.config.sigma_max, pipe.unet.config.sigma_min) == (12.0, 0.01)


@pytest.mark.parametrize("name, sigma", [("mnist-fast", 1.5), ("avatars-fast", 7.0)])
def test_defaults_of_those_that_draw_in_one_evaluation(repo_root, name, sigma):
    fast = quiet(repo_root / "pretrained" / name)
    assert fast.scheduler.table == ConsistentAnnealedScheduler(sigmas=[sigma], eta=1.0).table
    assert fast.unet.config.trained_sigmas == [sigma]
    fast.scheduler = AnnealedLangevinScheduler()
    with pytest.raises(ValueError, match="it draws in 1 evaluation"):
        fast(1)


def test_loads_as_custom_code(folder, monkeypatch, tmp_path):
    monkeypatch.setenv("HF_MODULES_CACHE", str(tmp_path))
    custom = DiffusionPipeline.from_pretrained(folder, trust_remote_code=True)
    custom.set_progress_bar_config(disable=True)
    one, two = (
        p(2, generator=torch.Generator().manual_seed(3), output_type="pt").images for p in (quiet(folder), custom)
    )
    assert torch.equal(one, two)


@pytest.mark.slow
@pytest.mark.parametrize("scheduler", [ConsistentAnnealedScheduler, AnnealedLangevinScheduler])
def test_samples_are_recognised_as_the_digits_asked_for(pipe, scheduler, repo_root):
    classifier = ImageClassifier.from_pretrained(repo_root / "pretrained" / "mnist_classifier").eval()
    pipe.scheduler = scheduler.from_config(pipe.scheduler.config)
    labels = torch.arange(20) % 10
    images = pipe(
        20, class_labels=labels, num_inference_steps=50, generator=torch.Generator().manual_seed(0), output_type="pt"
    ).images
    with torch.no_grad():
        agreement = (classifier(images).argmax(1) == labels).float().mean().item()
    # Far above the tenth that chance gives; annealed Langevin is rough at so few evaluations.
    assert agreement > (0.9 if scheduler is ConsistentAnnealedScheduler else 0.5)


def test_one_evaluation_draws_the_digits_asked_for_and_all_of_them_where_none_is(fast, repo_root):
    classifier = ImageClassifier.from_pretrained(repo_root / "pretrained" / "mnist_classifier").eval()
    labels = torch.arange(300) % 10
    for asked in (labels, None):
        images = fast(300, class_labels=asked, generator=torch.Generator().manual_seed(0), output_type="pt").images
        with torch.no_grad():
            read = classifier(images).argmax(1)
        if asked is None:
            assert torch.bincount(read, minlength=10).min() >= 9  # three in a hundred
        else:
            assert (read == asked).float().mean() > 0.9


def test_one_evaluation_draws_the_styles_asked_for(repo_root):
    fast = quiet(repo_root / "pretrained" / "avatars-fast")
    classifier = ImageClassifier.from_pretrained(repo_root / "pretrained" / "avatars_classifier").eval()
    labels = torch.arange(240) % 12
    images = fast(240, torch.Generator().manual_seed(0), class_labels=labels, output_type="pt").images
    with torch.no_grad():
        assert (classifier(images).argmax(1) == labels).float().mean() > 0.97
    # Each picture is its own.
    apart = torch.cdist(images.flatten(1), images.flatten(1)) + 1e3 * torch.eye(240)
    assert apart.min() > 0.5


@pytest.mark.slow
def test_avatars_are_read_as_the_styles_asked_for_and_their_examples_too(avatars, repo_root):
    classifier = ImageClassifier.from_pretrained(repo_root / "pretrained" / "avatars_classifier").eval()
    names = [avatars.unet.config.id2label[str(number)] for number in range(12)]
    labels = torch.arange(24) % 12
    images = avatars(
        24, class_labels=labels, num_inference_steps=20, generator=torch.Generator().manual_seed(0), output_type="pt"
    ).images
    with torch.no_grad():
        assert (classifier(images).argmax(1) == labels).float().mean() > 0.9
    pictures = {path.stem: Image.open(path) for path in examples("avatars")}
    assert set(pictures) == set(names)
    tensor = torch.stack([images_as_tensor(name, pictures[name], (3, 32, 32))[0] for name in names])
    with torch.no_grad():
        assert classifier(tensor).argmax(1).tolist() == list(range(12))


@pytest.mark.slow
def test_colours_found_from_brightness_stay_in_range_and_have_it(avatars):
    pictures = torch.stack(
        [images_as_tensor(path.stem, Image.open(path), (3, 32, 32))[0] for path in examples("avatars")[:4]]
    )
    y = grey(pictures) + 0.05 * torch.randn(4, 1, 32, 32, generator=torch.Generator().manual_seed(1))
    result = NCSNPosteriorPipeline.from_pipe(avatars)(
        y, grey, 0.05, 2, num_inference_steps=20, generator=torch.Generator().manual_seed(0), output_type="raw"
    )
    assert -0.5 < result.images.min() and result.images.max() < 1.5
    assert result.fidelity.max() < 1.3


@pytest.mark.slow
def test_an_amount_of_ink_that_is_given_is_drawn(pipe):
    """As the README has it: thick digits by the sum of their pixels, each more than without, none beyond 220."""

    def ink(x, sigma, amount=200.0):
        missing = amount - x.sum((1, 2, 3), keepdim=True)
        return (missing / (10**2 + 28**2 * sigma**2)).expand_as(x)

    plain, thick = (
        pipe(
            10, torch.Generator().manual_seed(0), 30, class_labels=torch.arange(10), given=given, output_type="raw"
        ).images.sum((1, 2, 3))
        for given in (None, added(ink))
    )
    assert (thick > plain).all() and (thick < 220).all()
    assert thick.mean() > plain.mean() + 25  # 31 to 43, five seeds


@pytest.mark.slow
def test_the_readmes_posterior_example_runs(repo_root, monkeypatch):
    """As it stands there; the samples agree with y as its noise does, and vary."""
    (program,) = (
        block.split("```")[0]
        for block in (repo_root / "README.md").read_text(encoding="utf-8").split("```python\n")[1:]
        if "NCSNPosteriorPipeline" in block.split("```")[0]
    )
    monkeypatch.chdir(repo_root)
    names = {}
    exec(program, names)
    result, operator, y = names["result"], names["operator"], names["y"]
    assert len(result.images) == 8 and result.evaluations == 102
    images = torch.stack(
        [torch.tensor(list(image.getdata())).float().reshape(1, 28, 28) / 255 for image in result.images]
    )
    assert 0.7 < ((operator(images) - y) / 0.05).square().mean() < 1.5
    assert result.std.mean() > 0.01
    recovered = (result.mean - names["digit"]).square().mean()
    enlarged = torch.nn.functional.interpolate(y, scale_factor=4, mode="bilinear")
    assert recovered < 0.5 * (enlarged - names["digit"]).square().mean()
