"""Principal components: what is left out is what the error says."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ncsn_pipeline.diagnostics import pca_spectrum


@pytest.mark.parametrize(("n", "shape"), [(30, (5,)), (5, (30,)), (20, (1, 4, 5)), (21, (20,))])
def test_errors_are_those_of_the_reconstructions(n, shape):
    data = torch.randn(n, *shape, dtype=torch.float64) * torch.rand(shape, dtype=torch.float64) + 3
    spectrum = pca_spectrum(data)
    rank = min(n, math.prod(shape))
    assert spectrum.variances.shape == (rank,) and (spectrum.variances.diff() <= 0).all()
    torch.testing.assert_close(spectrum.components @ spectrum.components.T, torch.eye(rank, dtype=torch.float64))
    for k in (0, 1, rank // 2, rank):
        error = (spectrum.reconstruct(data, k) - data).square().flatten(1).sum(1).mean().item()
        assert error == pytest.approx(spectrum.reconstruction_error(k), abs=1e-10)
    torch.testing.assert_close(spectrum.reconstruction_error()[:-1].diff(), -spectrum.variances[:-1])
    total = data.flatten(1).var(0, correction=0).sum().item()
    assert spectrum.reconstruction_error(0) == pytest.approx(total, rel=1e-12)


def test_data_in_a_plane_have_two_components():
    plane = torch.randn(200, 2, dtype=torch.float64) @ torch.randn(2, 50, dtype=torch.float64) + 7
    spectrum = pca_spectrum(plane)
    assert spectrum.components_for(1 - 1e-9) == 2
    assert spectrum.reconstruction_error(2) < 1e-10 * spectrum.reconstruction_error(0)
    torch.testing.assert_close(spectrum.reconstruct(plane, 2), plane)


def test_components_for_counts_up_to_the_fraction():
    axes = torch.diag(torch.tensor([3.0, 2.0, 1.0, 0.0]).sqrt()).double()
    spectrum = pca_spectrum(torch.cat([axes, -axes]))
    torch.testing.assert_close(spectrum.explained_variance_ratio * 6, torch.tensor([3.0, 2, 1, 0]).double())
    assert [spectrum.components_for(f) for f in (0.1, 0.49, 0.51, 0.83, 0.84, 1.0)] == [1, 1, 2, 2, 3, 3]


@settings(deadline=None, max_examples=25, derandomize=True)
@given(seed=st.integers(0, 2**31), n=st.integers(2, 12), dimension=st.integers(1, 8))
def test_rotation_and_shift_leave_the_spectrum(seed, n, dimension):
    generator = torch.Generator().manual_seed(seed)
    data = torch.randn(n, dimension, generator=generator, dtype=torch.float64)
    rotation = torch.linalg.qr(torch.randn(dimension, dimension, generator=generator, dtype=torch.float64)).Q
    turned = pca_spectrum(data @ rotation + 5)
    torch.testing.assert_close(turned.variances, pca_spectrum(data).variances, atol=1e-10, rtol=1e-8)
    # Zeros beside the data put it on the other way of computing it.
    wide = torch.cat([data, torch.zeros(n, 20, dtype=torch.float64)], 1)
    found = pca_spectrum(wide).variances[: min(n, dimension)]
    torch.testing.assert_close(found, pca_spectrum(data).variances[: min(n, dimension)], atol=1e-10, rtol=1e-8)


def test_bytes_are_data_too():
    data = torch.randint(0, 256, (10, 3), dtype=torch.uint8)
    assert pca_spectrum(data).mean.tolist() == pytest.approx(data.double().mean(0).tolist())
    assert pca_spectrum(data.float()).reconstruct(data.float(), 1).dtype == torch.float32


@pytest.mark.parametrize(
    "call",
    [
        lambda: pca_spectrum(torch.zeros(5)),
        lambda: pca_spectrum(torch.zeros(1, 5)),
        lambda: pca_spectrum(torch.full((3, 2), math.inf)),
        lambda: pca_spectrum(torch.full((3, 2), 0.1)),
        lambda: pca_spectrum(torch.eye(3)).components_for(0.0),
        lambda: pca_spectrum(torch.eye(3)).components_for(1.1),
        lambda: pca_spectrum(torch.eye(3)).reconstruction_error(4),
        lambda: pca_spectrum(torch.eye(3)).reconstruct(torch.eye(3), -1),
    ],
)
def test_bad_input_is_refused(call):
    with pytest.raises(ValueError, match="must|one point"):
        call()
