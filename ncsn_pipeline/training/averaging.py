"""The exponential moving average of the weights, also where every process holds only a shard of them.

Weights that `fully_shard` has divided (FSDP 2) are `DTensor`s, and so is their average: each process averages its own
shard.  They are gathered where the average is written or handed to a whole network.
"""

from collections.abc import Iterable
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import DistributedType
from diffusers.training_utils import EMAModel
from torch import Tensor, nn
from torch.distributed.tensor import DTensor, distribute_tensor


def check_sharding(accelerator: Accelerator) -> None:
    """Refuses what would divide the weights in another way.

    Raises:
        ValueError: for FSDP 1, DeepSpeed or Megatron-LM.
    """
    kind = accelerator.distributed_type
    others = (DistributedType.DEEPSPEED, DistributedType.MEGATRON_LM)
    if kind in others or (kind == DistributedType.FSDP and not accelerator.is_fsdp2):
        raise ValueError(
            f"accelerate is configured for {'FSDP version 1' if kind == DistributedType.FSDP else kind.value}, whose "
            "weights cannot be averaged here. Use data parallelism (multi-GPU) or FSDP with fsdp_version: 2."
        )


def gathered(weights: Iterable[Tensor]) -> list[Tensor]:
    """Whole tensors for shards, and others as they are; to be called in every process."""
    return [weight.full_tensor() if isinstance(weight, DTensor) else weight for weight in weights]


@torch.no_grad()
def copy_weights(weights: Iterable[Tensor], network: nn.Module) -> None:
    """Puts `weights`, whole or shards, into a whole network of the same parameters; to be called in every process."""
    for parameter, weight in zip(network.parameters(), gathered(weights), strict=True):
        parameter.copy_(weight)


class WeightAverage(EMAModel):
    """diffusers' `EMAModel`, whose state is whole: it can be loaded by another number of processes."""

    def state_dict(self) -> dict[str, Any]:
        """Settings and whole averages; to be called in every process."""
        return super().state_dict() | {"shadow_params": gathered(self.shadow_params)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Takes over a whole state, each process its shards of it."""
        shards = self.shadow_params
        super().load_state_dict(state_dict)
        self.shadow_params = [
            distribute_tensor(whole.to(shard.device), shard.device_mesh, shard.placements)
            if isinstance(shard, DTensor)
            else whole.to(shard.device)
            for shard, whole in zip(shards, self.shadow_params, strict=True)
        ]
