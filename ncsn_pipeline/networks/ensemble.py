"""One network a noise level, behind the interface of one network for all of them.

Before a network was conditioned on sigma, L noise levels meant L networks.  Here they stand side by side, and

    s(x, sigma) = s_i(x, sigma),        i = argmin_i | ln sigma - ln sigma_i |,

so that an ensemble goes wherever a conditional network does: into losses, samplers and diagnostics.  A sigma between
two levels belongs to the nearer one by ratio; halfway, to the larger.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ncsn_pipeline.networks.modeling_score_unet import ScoreUNetOutput
from ncsn_pipeline.noise_levels.spacing import check_noise_levels


class ScoreEnsemble(nn.Module):
    """`(x, sigma) -> score`, each sample answered by the network of the level nearest to its sigma.

    A wrapper for experiments: a pipeline samples with it and cannot save it.

    Args:
        networks: L networks, that of the largest level first, each `(sample, sigma, class_labels=...,
            return_dict=True) -> .sample`, the score.
        sigmas: the levels, shape `(L,)`, strictly decreasing, > 0, in data units.

    Raises:
        ValueError: for an invalid noise schedule, or a number of networks that is not its length.
    """

    def __init__(self, networks: Sequence[nn.Module], sigmas: Sequence[float] | Tensor) -> None:
        super().__init__()
        self.sigmas: list[float] = check_noise_levels(sigmas).tolist()
        if len(networks) != len(self.sigmas):
            raise ValueError(f"Each level needs a network: got {len(networks)} for {len(self.sigmas)} levels.")
        self.networks = nn.ModuleList(networks)

    def nearest_level(self, sigma: Tensor) -> Tensor:
        """The index of the level nearest in ln sigma, 0 for the largest; same shape as `sigma`."""
        levels = torch.tensor(self.sigmas, dtype=sigma.dtype, device=sigma.device)
        return (sigma.log()[..., None] - levels.log()).abs().argmin(-1)

    def forward(
        self,
        sample: Tensor,
        timestep: Tensor | float,
        class_labels: Tensor | None = None,
        return_dict: bool = True,
    ) -> ScoreUNetOutput | tuple[Tensor]:
        """The score at `sample`; each network is called once, with the samples of its level and the sigmas as given.

        Args:
            sample: noised samples, shape `(B, *D)`, in data units.
            timestep: sigma > 0, a number or a tensor of shape `()` or `(B,)`, in data units.
            class_labels: classes to condition on, shape `(B,)`, for networks that have them.
            return_dict: whether to return an output with `.sample` or a tuple with the score alone.
        """
        precise = torch.promote_types(sample.dtype, torch.float32)
        sigma = torch.as_tensor(timestep, dtype=precise, device=sample.device)
        level = self.nearest_level(sigma).expand(len(sample))
        pieces, places = [], []
        for i in level.unique().tolist():
            place = (level == i).nonzero().flatten()
            conditioning = {} if class_labels is None else {"class_labels": class_labels[place]}
            own = sigma[place] if sigma.dim() and len(sigma) > 1 else sigma
            pieces.append(self.networks[i](sample[place], own, return_dict=False, **conditioning)[0])
            places.append(place)
        score = torch.cat(pieces)[torch.cat(places).argsort()]
        return ScoreUNetOutput(sample=score) if return_dict else (score,)

    @property
    def config(self) -> Any:
        """The first network's configuration, which a pipeline reads sizes and classes from."""
        return self.networks[0].config

    @property
    def dtype(self) -> torch.dtype:
        """Floating type of the parameters."""
        return next(self.parameters()).dtype

    @property
    def device(self) -> torch.device:
        """Where the parameters are."""
        return next(self.parameters()).device
