"""Denoisers of deepinv and azula, called as these libraries call them: exact on a Gaussian, and the same back again."""

import math
import re
from types import SimpleNamespace

import pytest
import torch

import ncsn_pipeline.interop
from ncsn_pipeline import ConsistentAnnealedScheduler, NCSNPipeline, NCSNPosteriorPipeline, ScoreUNet
from ncsn_pipeline.guidance.measurements import average_pooling
from ncsn_pipeline.interop import AzulaDenoiser, AzulaNetwork, DeepinvDenoiser
from tests.pipelines.exact_network import CorrelatedGaussian


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def vp_schedule(t):
    """`azula.noise.VPSchedule` 0.11: (alpha_t, sigma_t)."""
    alpha = torch.exp(t**2 * math.log(1e-3))
    return alpha, torch.sqrt(1 - alpha**2 + 1e-3**2)


def ve_schedule(t):
    """`azula.noise.VESchedule` 0.11."""
    return torch.ones_like(t), torch.exp((1 - t) * math.log(1e-3) + t * math.log(1e3))


class GaussianDenoiser(torch.nn.Module):
    """As `azula.denoise.GaussianDenoiser` 0.11, for independent values: `forward(x_t, t, **kwargs)` with `.mean`."""

    def __init__(self, mean, std, schedule):
        super().__init__()
        self.of, self.schedule = (mean, std), schedule

    def forward(self, x_t, t, **kwargs):
        (mean, std), (alpha, sigma) = self.of, self.schedule(t)
        alpha, sigma = (part.reshape(-1, 1, 1, 1) if part.dim() else part for part in (alpha, sigma))
        covariance = alpha**2 * std**2 + sigma**2
        return SimpleNamespace(mean=(x_t + sigma**2 * (alpha * mean - x_t) / covariance) / alpha)


def ddim(denoiser, x_t, steps):
    """`azula.sample.DDIMSampler` 0.11 with eta = 0: t and s of shape (), from 1 to 0."""
    times = torch.linspace(1, 0, steps + 1, dtype=x_t.dtype)
    for t, s in times.unfold(0, 2, 1):
        (alpha_t, sigma_t), (alpha_s, sigma_s) = denoiser.schedule(t), denoiser.schedule(s)
        mean = denoiser(x_t, t).mean
        x_t = alpha_s * mean + sigma_s / sigma_t * (x_t - alpha_t * mean)
    return x_t


def exact(x, sigma, mean=0.5):
    """E[x_0 | x] of `CorrelatedGaussian`, in float64."""
    covariance = CorrelatedGaussian().covariance
    gain = covariance @ torch.linalg.inv(covariance + sigma**2 * torch.eye(16).double())
    return (mean + (x.double() - mean).flatten(1) @ gain.mT).reshape(x.shape).float()


@pytest.mark.parametrize("low, high", [(0.0, 1.0), (-1.0, 1.0), (-3.0, 2.0)])
def test_deepinv_gets_the_posterior_mean_in_its_own_units(low, high):
    """sigma as deepinv gives it: a number, one for all, one each, or one each shaped as the images."""
    network = CorrelatedGaussian(mean=low + 0.5 * (high - low), std=0.1 * (high - low))
    denoiser = DeepinvDenoiser(NCSNPipeline(network, ConsistentAnnealedScheduler(), low, high))
    x = torch.rand(3, 1, 4, 4, generator=seeded())
    for sigma in (0.2, torch.tensor(0.2), torch.tensor([0.2])):
        torch.testing.assert_close(denoiser(x, sigma), exact(x, 0.2), atol=1e-5, rtol=1e-4)


def test_half_precision_has_large_noise_levels():
    """sigma² of 348, FFHQ's, is beyond float16."""

    class Half(CorrelatedGaussian):
        def forward(self, sample, timestep, return_dict=True):
            return (super().forward(sample.float(), timestep.float())[0].to(sample.dtype),)

    network = Half()
    x = 0.5 + 348 * torch.randn(3, 1, 4, 4, generator=seeded())
    half = DeepinvDenoiser(NCSNPipeline(network, ConsistentAnnealedScheduler()))(x.half(), 348.0)
    azula = AzulaDenoiser(network, lambda t: (torch.ones_like(t), 348.0 * t))
    score = AzulaNetwork(azula, 4, 1, sigma_min=0.01)(x.half(), torch.tensor(348.0))[0]
    for found in (half, azula(x.half(), torch.tensor(1.0)).mean, x + 348.0**2 * score.float()):
        torch.testing.assert_close(found.float(), exact(x, 348), atol=2, rtol=0)  # of half precision at 3 sigma: 1


def test_deepinv_may_give_each_image_its_noise_and_conditions():
    torch.manual_seed(0)
    network = ScoreUNet(
        sample_size=8, in_channels=1, block_out_channels=(8,), attention_levels=(), num_class_embeds=3, sigma_max=5.0
    )
    torch.nn.init.normal_(network.conv_out.weight, std=0.1)
    denoiser = DeepinvDenoiser(NCSNPipeline(network, ConsistentAnnealedScheduler(), -1.0, 1.0))
    x = torch.rand(2, 1, 8, 8, generator=seeded())
    alone = [denoiser(x[:1], 0.1), denoiser(x[1:], 0.7)]
    for sigma in (torch.tensor([0.1, 0.7]), torch.tensor([0.1, 0.7]).reshape(2, 1, 1, 1)):
        torch.testing.assert_close(denoiser(x, sigma), torch.cat(alone), atol=1e-5, rtol=1e-4)
    other = denoiser(x, 0.7, class_labels=torch.tensor([1, 1]))
    assert (other - denoiser(x, 0.7)).abs().max() > 1e-3
    for sigma in (0.0, -1.0, math.nan, torch.tensor([0.1, 0.1, 0.1])):
        with pytest.raises(ValueError, match="sigma must be finite and > 0, one for all or one for each of 2 images"):
            denoiser(x, sigma)


@pytest.mark.parametrize("schedule", [vp_schedule, ve_schedule])
def test_azula_gets_the_posterior_mean_of_scaled_samples(schedule):
    denoiser = AzulaDenoiser(CorrelatedGaussian(), schedule)
    x_t = torch.randn(3, 1, 4, 4, generator=seeded())
    for t in (0.2, 0.5, 0.9):
        alpha, sigma = schedule(torch.tensor(t))
        found = denoiser(x_t, torch.tensor(t)).mean
        # x / alpha and sigma² s / alpha all but cancel where sigma / alpha is large.
        torch.testing.assert_close(found, exact(x_t / alpha, sigma / alpha), atol=5e-6 / float(alpha), rtol=1e-4)


def test_azulas_ddim_with_our_network_draws_the_network_s_law():
    """A flow along 200 levels takes x_T = sigma_T z to a sample, and for a Gaussian its map is known."""
    network = CorrelatedGaussian()
    network.register_to_config(sigma_min=0.001, sigma_max=10.0)
    denoiser = AzulaDenoiser(network)
    z = torch.randn(4, 1, 4, 4, generator=seeded())
    found = ddim(denoiser, 10.0 * z, 200)
    variances, vectors = torch.linalg.eigh(network.covariance)
    along = ((10.0 * z.double() - 0.5).flatten(1) @ vectors) * ((variances + 1e-6) / (variances + 100)).sqrt()
    torch.testing.assert_close(found.flatten(1).double(), 0.5 + along @ vectors.mT, atol=0.01, rtol=0.05)


@pytest.mark.parametrize("schedule", [vp_schedule, ve_schedule])
def test_a_denoiser_of_azula_is_the_exact_score_at_any_sigma(schedule):
    network = AzulaNetwork(GaussianDenoiser(0.3, 0.2, schedule), sample_size=4, in_channels=2)
    x = torch.randn(3, 2, 4, 4, generator=seeded())
    for sigma in (torch.tensor(0.02), torch.tensor(3.0), torch.tensor([0.1, 1.0, 30.0])):
        variance = (0.2**2 + sigma**2).reshape(-1, 1, 1, 1)
        torch.testing.assert_close(network(x, sigma, return_dict=False)[0], (0.3 - x) / variance, atol=2e-3, rtol=2e-3)
    for sigma in (1e-4, 1e4):
        with pytest.raises(ValueError, match="sigma must lie between 0.001 and"):
            network(x, torch.tensor(sigma))


@pytest.mark.parametrize("schedule", [vp_schedule, ve_schedule])
def test_pipelines_sample_and_measure_with_a_denoiser_of_azula_as_with_the_network_itself(schedule):
    network = CorrelatedGaussian()
    wrapped = AzulaNetwork(AzulaDenoiser(network, schedule), sample_size=4, in_channels=1)
    y = torch.tensor([[[[0.45, 0.5], [0.55, 0.6]]]])
    drawn, given = [], []
    for each in (network, wrapped):
        pipe = NCSNPipeline(each, ConsistentAnnealedScheduler(20, 0.003, 3.0))
        pipe.set_progress_bar_config(disable=True)
        drawn.append(pipe(4, seeded(), output_type="raw").images)
        pipe = NCSNPosteriorPipeline.from_pipe(pipe)
        pipe.set_progress_bar_config(disable=True)
        result = pipe(y, average_pooling(2), 0.05, 4, "mmps", generator=seeded(), output_type="raw")
        given.append(result.images)
    torch.testing.assert_close(*drawn, atol=1e-3, rtol=1e-3)
    torch.testing.assert_close(*given, atol=1e-3, rtol=1e-3)
    with pytest.raises(ValueError, match="cannot be written as a folder"):
        wrapped.save_pretrained("somewhere")


def test_there_and_back_again_is_the_same_network():
    network = CorrelatedGaussian()
    network.register_to_config(sigma_min=0.01, sigma_max=5.0)
    again = AzulaNetwork(AzulaDenoiser(network), sample_size=4, in_channels=1)
    x = torch.randn(3, 1, 4, 4, generator=seeded())
    for sigma in (0.01, 0.3, 5.0):
        expected = network(x, torch.tensor(sigma))[0]
        torch.testing.assert_close(again(x, torch.tensor(sigma))[0], expected, atol=1e-3, rtol=1e-3)


def test_networks_that_are_no_score_are_refused():
    network = CorrelatedGaussian()
    with pytest.raises(ValueError, match="names no sigma_min and sigma_max. Give a schedule"):
        AzulaDenoiser(network)
    network.register_to_config(trained_sigmas=[1.5])
    for make in (AzulaDenoiser, lambda network: DeepinvDenoiser(NCSNPipeline(network, ConsistentAnnealedScheduler()))):
        with pytest.raises(ValueError, match="at sigma = 1.5, and is no denoiser elsewhere"):
            make(network)
    with pytest.raises(ValueError, match="go from 0 to inf; they must be finite and > 0"):
        AzulaNetwork(SimpleNamespace(schedule=lambda t: (1 - t, t)), sample_size=4)


def test_the_example_of_the_docstring_runs(repo_root, monkeypatch):
    monkeypatch.chdir(repo_root)
    lines = re.findall(
        r"^    ((?:from|pipe|denoiser|clean|theirs|mean|again|images)\b.*)$", ncsn_pipeline.interop.__doc__, re.M
    )
    names = {"torch": torch}
    exec("\n".join(lines), names)
    assert len(lines) == 9 and names["clean"].shape == (2, 1, 28, 28) and len(names["images"]) == 2
