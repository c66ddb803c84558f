"""Trains with FSDP 2 as accelerate sets it up, on CPUs: a script to be launched with two processes.

    sharded.py FIRST SECOND FLAGS...

FIRST is trained to the end, and SECOND from FIRST's oldest checkpoint on.  accelerate shards on accelerators only; here
its state is told that it does, and all that follows is its own code.
"""

import shutil
import sys
from pathlib import Path

from accelerate.state import AcceleratorState, PartialState
from accelerate.utils import DistributedType, FullyShardedDataParallelPlugin

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "train"))

from config import TrainConfig

from train import train

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


if __name__ == "__main__":
    AcceleratorState.__init__ = start_sharded
    first, second, *flags = sys.argv[1:]
    train(TrainConfig.from_command_line([*flags, "--output_dir", first]))
    if PartialState().is_main_process:
        oldest = min(Path(first).glob("checkpoint-*"), key=lambda path: int(path.name.partition("-")[2]))
        shutil.copytree(oldest, Path(second, oldest.name))
    AcceleratorState._reset_state(reset_partial_state=True)
    train(TrainConfig.from_command_line([*flags, "--output_dir", second, "--resume_from_checkpoint", "latest"]))
