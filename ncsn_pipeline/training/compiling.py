"""`torch.compile` with a look at what it gives: compiled gradients are compared with eager ones before training.

A compiler that is wrong need not fail: it can return exact scores and gradients that are zero.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from .run_config import RunConfig

# The norm of a parameter's difference, over that of its gradient; half precision rounds each product.
TOLERANCE = {"no": 0.01, "bf16": 0.2, "fp16": 0.1}
# Parts of the largest gradient below which rounding is all there is: of a generator whose samples are nearly black and
# white, most terms of a gradient cancel, and half precision has left 53 % of what remains.
SMALL = {"no": 1e-3, "bf16": 2e-2, "fp16": 1e-2}


def speed_up(network: nn.Module, config: RunConfig) -> None:
    """Changes how a network is computed, in place, as far as the settings ask: the order in memory, compilation."""
    if config.channels_last:
        network.to(memory_format=torch.channels_last)
    if config.torch_compile:
        network.compile()


def check_compiled(network: nn.Module, loss: Callable[[], Tensor], mixed_precision: str = "no") -> None:
    """Compares the gradients of `loss` with the network compiled and not.

    Weights that are all zero are random meanwhile: an output layer that starts at zero passes no gradient on.

    Args:
        network: compiled in place (`network.compile()`), perhaps wrapped since.
        loss: one batch's mean loss, the same at every call, as in training: that is what gets compiled.
        mixed_precision: "no", "bf16" or "fp16".

    Raises:
        ValueError: if they differ by more than rounding, or if nothing can be compiled here.
    """
    from torch._dynamo.exc import BackendCompilerFailed

    generator = torch.Generator().manual_seed(0)
    silent = [parameter for parameter in network.parameters() if not parameter.any()]
    with torch.no_grad():
        for parameter in silent:
            parameter.copy_(0.05 * torch.randn(parameter.shape, generator=generator))
    with torch.compiler.set_stance("force_eager"):
        eager = _gradients(network, loss)
    try:
        compiled = _gradients(network, loss)
    except BackendCompilerFailed as error:
        reason = str(error.inner_exception).splitlines()[0]
        raise ValueError(f"torch.compile fails here: {reason}. Train without torch_compile.") from error
    with torch.no_grad():
        for parameter in silent:
            parameter.zero_()
    floor = SMALL[mixed_precision] * max(gradient.norm().item() for gradient in eager.values())
    worst, name = max(
        ((compiled[name] - gradient).norm().item() / (gradient.norm().item() + floor), name)
        for name, gradient in eager.items()
    )
    if not worst <= TOLERANCE[mixed_precision]:
        raise ValueError(
            f"Compiled by torch {torch.__version__}, the network's gradients are wrong: that of {name} is off by "
            f"{worst:.0%}. Train without torch_compile, or with another version of torch."
        )


def _gradients(network: nn.Module, loss: Callable[[], Tensor]) -> dict[str, Tensor]:
    network.zero_grad(set_to_none=True)
    loss().backward()
    gradients = {
        name: parameter.grad.detach().float().clone()
        for name, parameter in network.named_parameters()
        if parameter.grad is not None
    }
    network.zero_grad(set_to_none=True)
    return gradients
