"""On a device without float64, as Apple's: here the CPU goes by its name and refuses what it does not have."""

import pytest
import torch
from torch.overrides import TorchFunctionMode

from ncsn_pipeline.sampling import log_likelihood
from ncsn_pipeline.training.run_record import hardware
from ncsn_pipeline.training.tracking import BandLosses, even_bands

CPU, MPS = torch.device("cpu"), torch.device("mps")


class WithoutFloat64(TorchFunctionMode):
    """Every tensor is on "mps" by its own word, and none there is float64 but what comes from and goes to the host."""

    def __torch_function__(self, function, types, arguments=(), named=None):
        if function == torch.Tensor.device.__get__:
            return MPS
        arguments = [CPU if value is MPS else value for value in arguments]
        result = function(*arguments, **{name: CPU if value is MPS else value for name, value in (named or {}).items()})
        of_the_host = function in (torch.from_numpy, torch.Tensor.cpu)
        if isinstance(result, torch.Tensor) and result.dtype == torch.float64 and not of_the_host:
            raise TypeError("MPS has no float64.")
        return result


def test_losses_are_added_up():
    levels = [ends.float() for ends in even_bands(0.01, 5.0)]
    with WithoutFloat64():
        bands = BandLosses(*levels, MPS)
        bands.add(torch.tensor([1.0, 2.0, 4.0]), torch.tensor([0.01, 0.01, 5.0]))
    assert bands.totals[:, [0, -1]].tolist() == [[3.0, 4.0], [2.0, 1.0]]


@pytest.mark.parametrize("method", ["heun", "dopri5"])
def test_the_log_likelihood_is_that_of_the_cpu(method):
    def log_prob():
        score = lambda x, sigma: (0.4 - x) / (0.49 + sigma**2)  # noqa: E731
        return log_likelihood(score, x, sigma_min=0.05, sigma_max=20.0, method=method).log_prob

    x = torch.randn(4, 3)
    expected = log_prob()
    with WithoutFloat64():
        found = log_prob()
    assert (expected.dtype, found.dtype) == (torch.float64, torch.float32)
    torch.testing.assert_close(found.double(), expected, rtol=1e-4, atol=1e-4)


def test_the_name_of_hardware_that_tells_none_is_its_kind():
    assert hardware(MPS) == "mps"
