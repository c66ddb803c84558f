"""The fully connected score network: its three preconditionings, what it is conditioned on, and what is refused."""

import math

import pytest
import torch

from ncsn_pipeline import as_score_function, multi_level_denoising_score_matching
from ncsn_pipeline.networks import ScoreMLP
from ncsn_pipeline.networks.modeling_score_mlp import _log_sigma_features
from ncsn_pipeline.noise_levels import edm_weight


def small(**changes):
    """A network whose last layer, which may start at zero, has weights of its own."""
    network = ScoreMLP(**({"in_features": 3, "hidden_features": 16, "sigma_data": 0.3, "data_mean": 0.2} | changes))
    torch.nn.init.normal_(network.out.weight, std=0.5)
    return network


@pytest.mark.parametrize("sigma", [0.001, 0.1, 30.0])
def test_untrained_edm_network_is_the_score_of_the_noised_gaussian(sigma):
    network = ScoreMLP(in_features=3, sigma_data=0.3, data_mean=0.2).double()
    x = torch.randn(5, 3, dtype=torch.float64)
    torch.testing.assert_close(network(x, sigma).sample, -(x - 0.2) / (0.3**2 + sigma**2))


def test_edm_preconditioning_written_as_the_denoiser():
    """x + sigma² s equals c_skip x' + c_out F(c_in x', sigma) + mean."""
    network, sd = small().double(), 0.3
    x, sigma = torch.randn(2, 3, dtype=torch.float64), torch.tensor([[0.05], [2.0]], dtype=torch.float64)
    total = (sigma**2 + sd**2).sqrt()
    raw = network._raw((x - 0.2) / total, sigma)
    denoiser = sd**2 / total**2 * (x - 0.2) + sigma * sd / total * raw + 0.2
    torch.testing.assert_close(x + sigma**2 * network(x, sigma.flatten()).sample, denoiser)


def test_inverse_sigma_divides_one_field_by_sigma():
    network = small(preconditioning="inverse_sigma", sigma_conditioned=False).double()
    x = torch.randn(5, 3, dtype=torch.float64)
    field = network._raw((x - 0.2) / 0.3, torch.ones(1, 1))
    for sigma in (0.01, 1.0, 7.0):
        torch.testing.assert_close(network(x, sigma).sample, field / sigma)


def test_scores_fall_as_one_over_sigma_where_sigma_is_much_larger_than_the_data_and_only_there():
    """sqrt(E ||s||²) of N(0, c²) in D dimensions is sqrt(D / (c² + sigma²)), of slope -sigma² / (c² + sigma²)."""
    c, dimension = 0.3, 3
    network = ScoreMLP(in_features=dimension, sigma_data=c).double()  # untrained: the score of the noised Gaussian
    for share, slope in ((0.1, -0.0099), (1.0, -0.5), (10.0, -0.9901)):
        sigmas = [share * c * factor for factor in (0.999, 1.001)]
        # The score is linear, and this point has the mean square norm.
        norms = [
            network(torch.full((1, dimension), math.hypot(c, sigma), dtype=torch.float64), sigma).sample.norm().item()
            for sigma in sigmas
        ]
        assert math.log(norms[1] / norms[0]) / math.log(sigmas[1] / sigmas[0]) == pytest.approx(slope, abs=1e-3)


@pytest.mark.parametrize("conditioned", [True, False])
def test_none_is_the_raw_network_which_sees_sigma_only_where_conditioned(conditioned):
    network = small(preconditioning="none", sigma_conditioned=conditioned, sigma_data=1.0, data_mean=0.0).double()
    x = torch.randn(5, 3, dtype=torch.float64)
    assert torch.equal(network(x, 0.5).sample, network._raw(x, torch.tensor([[0.5]], dtype=torch.float64)))
    assert torch.equal(network(x, 0.5).sample, network(x, 5.0).sample) != conditioned


def test_raw_network_is_num_layers_hidden_layers_of_hidden_features():
    network = small(hidden_features=16, num_layers=3, sigma_conditioned=False)
    assert sum(p.numel() for p in network.parameters()) == (3 * 16 + 16) + 2 * (16 * 16 + 16) + (16 * 3 + 3)
    assert small(preconditioning="none", out_features=1)(torch.randn(5, 3), 1.0).sample.shape == (5, 1)


def test_sigma_enters_by_cosines_and_sines_of_a_quarter_of_its_logarithm():
    """Sixteen frequencies a constant ratio apart, from 1/8 to 8 cycles per unit of ln(sigma) / 4."""
    sigma = torch.tensor([0.02, 1.0, 7.0], dtype=torch.float64)
    angles = 2 * math.pi / 4 * sigma.log()[:, None] * (64.0 ** (torch.arange(16, dtype=torch.float64) / 15) / 8)
    expected = torch.cat([angles.cos(), angles.sin()], 1)
    torch.testing.assert_close(_log_sigma_features(sigma[:, None]), expected, rtol=0, atol=1e-9)


@pytest.mark.parametrize("activation", ["silu", "softplus"])
@pytest.mark.parametrize("preconditioning", ["edm", "inverse_sigma", "none"])
def test_one_sigma_for_all_is_each_with_its_own(preconditioning, activation):
    network = small(preconditioning=preconditioning, activation=activation).double()
    x, sigma = torch.randn(4, 3, dtype=torch.float64), torch.tensor([0.01, 0.5, 0.5, 20.0], dtype=torch.float64)
    alone = torch.cat([network(x[i : i + 1], float(sigma[i]), return_dict=False)[0] for i in range(4)])
    torch.testing.assert_close(network(x, sigma).sample, alone)
    torch.testing.assert_close(as_score_function(network)(x, torch.tensor(0.5)), network(x, torch.full((4,), 0.5))[0])


def test_precisions():
    """sigma² = 250,000 is beyond float16, and ln(sigma) needs more digits than bfloat16 has."""
    network = small()
    x = torch.randn(6, 3) * 100
    for sigma in (500.0, 0.01):
        expected = network.double()(x.double(), sigma).sample
        single = network.float()(x, sigma).sample
        assert ((single - expected).norm() / expected.norm()).item() < 1e-5
        for dtype in (torch.float16, torch.bfloat16):
            score = network.to(dtype)(x, sigma).sample
            assert score.dtype == torch.float32
            assert ((score - expected).norm() / expected.norm()).item() < 0.05
            assert network(x.to(dtype), 1.0).sample.dtype == dtype


@pytest.mark.parametrize("preconditioning", ["edm", "inverse_sigma", "none"])
def test_every_parameter_learns(preconditioning):
    network = small(preconditioning=preconditioning)
    network(torch.randn(8, 3), torch.rand(8) + 0.1).sample.square().sum().backward()
    assert [name for name, p in network.named_parameters() if not p.grad.abs().sum() > 0] == []


def test_training_brings_it_to_the_score_of_a_mixture():
    """Two points noised by sigma: score (tanh(5 x_1 / sigma²) 5 e_1 - x) / sigma², in closed form."""
    network = ScoreMLP(hidden_features=32, num_layers=2, sigma_data=5 / math.sqrt(2))
    optimiser = torch.optim.Adam(network.parameters(), 1e-2)
    corner = torch.tensor([5.0, 0.0])
    for _ in range(200):
        x = corner * torch.randint(2, (128, 1)).mul(2).sub(1)
        sigma = torch.rand(128) * 4 + 1
        loss = multi_level_denoising_score_matching(as_score_function(network), x, sigma, weight=edm_weight(3.5)).mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    for sigma in (1.5, 4.0):
        x = corner * torch.randint(2, (500, 1)).mul(2).sub(1) + sigma * torch.randn(500, 2)
        exact = (corner * (5 * x[:, :1] / sigma**2).tanh() - x) / sigma**2
        with torch.no_grad():
            error, untrained = network(x, sigma).sample - exact, -x / (sigma**2 + 12.5) - exact
        assert error.square().mean() < 0.1 * exact.square().mean()
        assert error.square().mean() < 0.25 * untrained.square().mean()


def test_saving_and_loading(tmp_path):
    network = small(activation="softplus", preconditioning="inverse_sigma")
    network.save_pretrained(tmp_path)
    loaded, x = ScoreMLP.from_pretrained(tmp_path), torch.randn(2, 3)
    assert all(torch.equal(value, loaded.state_dict()[name]) for name, value in network.state_dict().items())
    torch.testing.assert_close(loaded(x, 0.4).sample, network(x, 0.4).sample)


@pytest.mark.parametrize(
    "changes",
    [
        {"in_features": 0},
        {"hidden_features": 0},
        {"num_layers": 0},
        {"out_features": 2},
        {"preconditioning": "vp"},
        {"activation": "relu"},
        {"sigma_data": 0.0},
        {"data_mean": math.inf},
    ],
)
def test_bad_configuration_is_refused(changes):
    with pytest.raises(ValueError, match="|".join(changes)):
        small(**changes)


def test_bad_input_is_refused():
    network = small()
    with pytest.raises(ValueError, match=r"\(B, 3\); got \(4, 2\)"):
        network(torch.randn(4, 2), 1.0)
    with pytest.raises(ValueError, match="one sigma or 4"):
        network(torch.randn(4, 3), torch.ones(2))
    with pytest.raises(ValueError, match="no classes"):
        network(torch.randn(4, 3), 1.0, class_labels=torch.zeros(4))
