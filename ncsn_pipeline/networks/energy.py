"""A score that is a gradient by construction.

A free-form network is a vector field like any other: around a closed loop the "log density" it implies may change.  The
gradient of a scalar cannot.  Any network f(x, sigma) gives one by the inner product of its output with its input,

    E(x, sigma) = -1/2 <x - data_mean, f(x, sigma)>,        s(x, sigma) = -grad_x E(x, sigma)

(Du et al. 2023, "Reduce, Reuse, Recycle", section 4, inner-product form).  The factor and the centre make the wrapper
the identity on f = -(x - data_mean) / (sigma² + sd²), the Gaussian's score with which a preconditioned network starts:
E is then |x - data_mean|² / (2 (sigma² + sd²)), minus the Gaussian's log density up to a constant.

On other fields it is not the identity.  The wrapped network is trained through the wrapper, and its own output is then
no longer a score.
"""

from contextlib import nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from ncsn_pipeline.networks.modeling_score_unet import ScoreUNetOutput


class EnergyModel(nn.Module):
    """`(x, sigma) -> -grad_x E(x, sigma)`, the energy made from any network.

    It needs one backward pass an evaluation.  A wrapper for experiments: a pipeline samples with it and cannot save it.

    Args:
        network: `(sample (B, *D), sigma, class_labels=..., return_dict=True) -> .sample (B, *D)`, twice differentiable.
        data_mean: the centre of the inner product, in data units; by default the one in the network's config, or 0.
    """

    def __init__(self, network: nn.Module, data_mean: float | None = None) -> None:
        super().__init__()
        self.network = network
        known = getattr(getattr(network, "config", None), "data_mean", 0.0)
        self.data_mean = known if data_mean is None else data_mean

    def energy(self, sample: Tensor, timestep: Tensor | float, class_labels: Tensor | None = None) -> Tensor:
        """E = -1/2 <x - data_mean, f(x, sigma)>, minus the log density up to a constant of each sigma's own.

        Args:
            sample: noised samples, shape `(B, *D)`, in data units.
            timestep: sigma > 0, a number or a tensor of shape `()` or `(B,)`, in data units.
            class_labels: classes to condition on, shape `(B,)`, for a network that has them.

        Returns:
            One value a sample, shape `(B,)`, in nats.

        Raises:
            ValueError: for a network whose output has not the shape of its input.
        """
        conditioning = {} if class_labels is None else {"class_labels": class_labels}
        output = self.network(sample, timestep, return_dict=False, **conditioning)[0]
        if output.shape != sample.shape:
            raise ValueError(
                f"The inner product needs a network that returns the shape it is given, {tuple(sample.shape)}; got "
                f"{tuple(output.shape)}."
            )
        precise = torch.promote_types(sample.dtype, torch.float32)
        return -0.5 * ((sample.to(precise) - self.data_mean) * output.to(precise)).flatten(1).sum(1)

    def forward(
        self,
        sample: Tensor,
        timestep: Tensor | float,
        class_labels: Tensor | None = None,
        return_dict: bool = True,
    ) -> ScoreUNetOutput | tuple[Tensor]:
        """The score s = -grad_x E at `sample`, differentiable in x and the parameters where gradients are enabled.

        Args:
            sample: noised samples, shape `(B, *D)`, in data units; they need not require a gradient.
            timestep: sigma > 0, a number or a tensor of shape `()` or `(B,)`, in data units.
            class_labels: classes to condition on, shape `(B,)`, for a network that has them.
            return_dict: whether to return an output with `.sample` or a tuple with the score alone.
        """
        differentiable = torch.is_grad_enabled()
        # The fused kernels of attention have no second derivative; the plain one has.
        attention = sdpa_kernel(SDPBackend.MATH) if differentiable else nullcontext()
        with torch.enable_grad(), attention:
            x = sample if differentiable and sample.requires_grad else sample.detach().requires_grad_()
            energy = self.energy(x, timestep, class_labels)
            (gradient,) = torch.autograd.grad(energy.sum(), x, create_graph=differentiable)
        return ScoreUNetOutput(sample=-gradient) if return_dict else (-gradient,)

    @property
    def config(self) -> Any:
        """The wrapped network's configuration, which a pipeline reads sizes and classes from."""
        return self.network.config

    @property
    def dtype(self) -> torch.dtype:
        """Floating type of the parameters."""
        return next(self.parameters()).dtype

    @property
    def device(self) -> torch.device:
        """Where the parameters are."""
        return next(self.parameters()).device
