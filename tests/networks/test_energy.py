"""The energy wrapper: a gradient by construction, in every mode of autograd, around any network."""

import pytest
import torch

from ncsn_pipeline import ConsistentAnnealedScheduler, NCSNPipeline, ScoreUNet, as_score_function
from ncsn_pipeline.networks import EnergyModel, ScoreMLP


def mlp(**changes):
    network = ScoreMLP(**({"in_features": 4, "hidden_features": 16, "sigma_data": 0.5, "data_mean": 0.3} | changes))
    torch.nn.init.normal_(network.out.weight, std=0.5)
    return network.double()


def unet(**changes):
    settings = {"sample_size": 8, "block_out_channels": (8, 16), "attention_head_dim": 8}
    network = ScoreUNet(**(settings | changes)).double()
    torch.nn.init.normal_(network.conv_out.weight, std=0.2)
    return network


def jacobian(network, x, sigma):
    """ds/dx of each sample, shape `(B, D, D)`."""
    x = x.clone().requires_grad_()
    score = network(x, sigma).sample.flatten(1)
    rows = [torch.autograd.grad(score[:, i].sum(), x, retain_graph=True)[0].flatten(1) for i in range(score.shape[1])]
    return torch.stack(rows, dim=1)


@pytest.mark.parametrize("preconditioning", ["edm", "inverse_sigma", "none"])
def test_jacobian_is_symmetric_where_that_of_the_network_is_not(preconditioning):
    network = mlp(preconditioning=preconditioning)
    x, sigma = torch.randn(6, 4, dtype=torch.float64), torch.rand(6, dtype=torch.float64) + 0.1

    def asymmetry(model):
        J = jacobian(model, x, sigma)
        return ((J - J.mT).flatten(1).norm(dim=1) / J.flatten(1).norm(dim=1)).max().item()

    assert asymmetry(EnergyModel(network)) < 1e-10
    assert asymmetry(network) > 1e-2


def test_score_is_minus_the_gradient_of_the_energy():
    """By central differences of the energy, along random directions."""
    model = EnergyModel(mlp())
    x, direction = torch.randn(2, 5, 4, dtype=torch.float64)
    sigma, h = torch.rand(5, dtype=torch.float64) + 0.2, 1e-5
    slope = (model.energy(x + h * direction, sigma) - model.energy(x - h * direction, sigma)) / (2 * h)
    assert slope.shape == (5,)
    torch.testing.assert_close(-(model(x, sigma).sample * direction).sum(1), slope, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("data_mean", [None, 1.5])
def test_energy_is_half_the_inner_product(data_mean):
    network, sigma = mlp(), 0.7
    x, centre = torch.randn(5, 4, dtype=torch.float64), 0.3 if data_mean is None else data_mean
    expected = -0.5 * ((x - centre) * network(x, sigma).sample).sum(1)
    torch.testing.assert_close(EnergyModel(network, data_mean).energy(x, sigma), expected)


@pytest.mark.parametrize(
    "network, shape",
    [
        (ScoreMLP(in_features=4, sigma_data=0.5, data_mean=0.3), (3, 4)),
        (ScoreUNet(sample_size=8, block_out_channels=(8, 16), sigma_data=0.5, data_mean=0.3), (3, 1, 8, 8)),
    ],
)
def test_around_an_untrained_network_it_is_the_gaussian_itself(network, shape):
    model, sigma = EnergyModel(network.double()), 0.7
    x = torch.randn(*shape, dtype=torch.float64)
    variance = 0.5**2 + sigma**2
    torch.testing.assert_close(model(x, sigma).sample, -(x - 0.3) / variance)
    torch.testing.assert_close(model.energy(x, sigma), (x - 0.3).square().flatten(1).sum(1) / (2 * variance))


def test_score_of_a_class_is_the_gradient_of_its_energy():
    model, labels = EnergyModel(unet(num_class_embeds=3)), torch.tensor([0, 2])
    x = torch.randn(2, 1, 8, 8, dtype=torch.float64, requires_grad=True)
    (gradient,) = torch.autograd.grad(model.energy(x, 0.5, labels).sum(), x)
    with torch.no_grad():
        torch.testing.assert_close(model(x, 0.5, labels).sample, -gradient)
        assert (model(x, 0.5).sample + gradient).abs().max() > 1e-3


def test_every_mode_of_autograd_gives_the_same_score():
    model = EnergyModel(mlp())
    x = torch.randn(5, 4, dtype=torch.float64)
    expected = model(x, 0.5).sample
    with torch.no_grad():
        quiet = model(x, 0.5, return_dict=False)[0]
        leaf = model(x.clone().requires_grad_(), 0.5).sample
    attached = model((x.requires_grad_() * 1), 0.5).sample
    for score in (quiet, leaf, attached):
        torch.testing.assert_close(score, expected, rtol=1e-12, atol=1e-12)
    assert (quiet.requires_grad, leaf.requires_grad, expected.requires_grad, attached.requires_grad) == (
        False,
        False,
        True,
        True,
    )
    assert all(p.grad is None for p in model.parameters())


@pytest.mark.parametrize(
    "make, shape", [(mlp, (3, 4)), (unet, (2, 1, 8, 8)), (lambda: unet(num_class_embeds=3), (2, 1, 8, 8))]
)
def test_gradients_reach_the_parameters(make, shape):
    """A loss through the score, differentiated and by central differences along a random direction."""
    model = EnergyModel(make())
    x, target = torch.randn(2, *shape, dtype=torch.float64)
    loss = lambda: (as_score_function(model)(x, torch.tensor(0.6)) - target).square().sum()  # noqa: E731
    loss().backward()
    parameters = [p for p in model.parameters() if p.grad is not None]
    directions = [torch.randn_like(p) for p in parameters]
    expected = sum((p.grad * d).sum() for p, d in zip(parameters, directions, strict=True))
    h, values = 1e-6, []
    for sign in (1, -2):
        with torch.no_grad():
            for p, d in zip(parameters, directions, strict=True):
                p.add_(d, alpha=sign * h)
        values.append(loss().item())
    assert (values[0] - values[1]) / (2 * h) == pytest.approx(expected.item(), rel=1e-5)


def test_a_network_of_another_output_is_refused():
    with pytest.raises(ValueError, match=r"returns the shape it is given, \(3, 4\); got \(3, 1\)"):
        EnergyModel(mlp(preconditioning="none", out_features=1))(torch.randn(3, 4).double(), 1.0)


def test_a_pipeline_samples_with_it_and_refuses_to_save_it(tmp_path):
    pipe = NCSNPipeline(EnergyModel(unet(num_class_embeds=2).float()), ConsistentAnnealedScheduler(4, sigma_max=5.0))
    pipe.set_progress_bar_config(disable=True)
    assert pipe(2, class_labels=[0, 1], output_type="pt").images.shape == (2, 1, 8, 8)
    with pytest.raises(ValueError, match=r"EnergyModel cannot be saved.*Save the network that it wraps"):
        pipe.save_pretrained(tmp_path / "folder")
    assert not (tmp_path / "folder").exists()
