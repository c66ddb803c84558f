"""FSDP 2 as accelerate sets it up, on CPUs.

accelerate shards on accelerators only; here its state is told that it does, and all that follows is its own code.
"""

from accelerate.state import AcceleratorState, PartialState
from accelerate.utils import DistributedType, FullyShardedDataParallelPlugin


def shard() -> None:
    """From now on, runs of this process divide their networks."""
    start = AcceleratorState.__init__

    def start_sharded(self: AcceleratorState, *args: object, **kwargs: object) -> None:
        """As accelerate does where it finds several accelerators and `--use_fsdp`."""
        fresh = not AcceleratorState._shared_state
        start(self, *args, **kwargs)
        if fresh:
            PartialState._shared_state["distributed_type"] = self.distributed_type = DistributedType.FSDP
            self.fsdp_plugin = FullyShardedDataParallelPlugin(
                fsdp_version=2,
                auto_wrap_policy="transformer_based_wrap",
                transformer_cls_names_to_wrap=["ResnetBlock2D"],
                state_dict_type="SHARDED_STATE_DICT",
            )

    AcceleratorState.__init__ = start_sharded
