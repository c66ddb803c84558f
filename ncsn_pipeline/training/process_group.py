"""How the processes of a run part at its end, whatever ends it.

gloo works in threads of its process group.  After a collective such a thread drops the tensors: it holds the group's
lock and needs Python's lock (the GIL).  Whoever destroys the group takes the group's lock and waits for the threads, so
it must not hold the GIL meanwhile.  The owner of the last reference destroys the group.  References of Python's release
the GIL first; the C++ `Reducer` of `DistributedDataParallel` does not: where it is the last owner and a thread is late,
both wait for ever.

So reducers go first, while `torch.distributed` still owns the group: that waits for nothing.  The group goes second, by
a reference of Python's.  It waits for no peer, only for what this process has begun and its peers begin too.
"""

from types import TracebackType
from typing import Self

import torch
from accelerate import Accelerator
from torch import nn
from torch.nn.parallel import DistributedDataParallel


class Connection:
    """The connection of the processes of a run.  A context: at its end, also after an error, it is given up.

    Args:
        accelerator: has connected the processes.
    """

    def __init__(self, accelerator: Accelerator) -> None:
        self.accelerator = accelerator
        self.networks: list[nn.Module] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        # After an error NCCL would wait for peers that know nothing of it; there the end of the process parts them.
        if error is None or (torch.distributed.is_initialized() and torch.distributed.get_backend() == "gloo"):
            self.end()

    def serves(self, network: nn.Module) -> None:
        """Remembers a network as `accelerator.prepare` returned it: its reducer must go before the group."""
        self.networks.append(network)

    def end(self) -> None:
        """Gives up the connection in this process; to be called in every process, a second call does nothing.

        Networks that `fully_shard` has divided have no reducer: what they hold of the group are references of Python's.
        """
        for network in self.networks:
            for module in network.modules():
                if isinstance(module, DistributedDataParallel):
                    # A traceback may hold the module itself for longer.  The logger owns the reducer too.
                    for owner in ("reducer", "logger", "process_group"):
                        vars(module).pop(owner, None)
        self.networks.clear()
        self.accelerator.state.destroy_process_group()
