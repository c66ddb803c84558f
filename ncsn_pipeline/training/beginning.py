"""Where every run begins: its processes, its folder, what it goes on from, and how its networks are prepared."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

import torch
from accelerate import Accelerator
from accelerate.utils import (
    DistributedDataParallelKwargs,
    GradientAccumulationPlugin,
    ProjectConfiguration,
    set_seed,
)
from torch import nn

from .averaging import WeightAverage, check_sharding
from .checkpoints import find_checkpoint, only_run_in
from .compiling import speed_up
from .distributed import broadcast_from_main
from .process_group import Connection
from .publishing import prepare_repository
from .run_config import RunConfig
from .run_record import RunRecord
from .tracking import tracker_names

Settings = TypeVar("Settings", bound=RunConfig)


@dataclass(frozen=True)
class Beginning(Generic[Settings]):
    """What is known before anything is trained.

    Args:
        accelerator: knows the processes and the device.
        connection: of the processes.
        checkpoint: to go on from; `None` for a new run.
        record: what the run had done when this process began.
        given: settings as they were given, which the card shows.
        config: the same with what was measured before.
        repository: where the model is pushed to, if it is.
    """

    accelerator: Accelerator
    connection: Connection
    checkpoint: Path | None
    record: RunRecord
    given: Settings
    config: Settings
    repository: str | None

    def prepare(self, network: nn.Module) -> tuple[nn.Module, torch.optim.Optimizer]:
        """A network as the processes share it, and its optimiser; both are part of every checkpoint from now on."""
        config = self.config
        speed_up(network, config)
        optimizer = torch.optim.AdamW(
            network.parameters(), lr=config.learning_rate, betas=(config.adam_beta1, config.adam_beta2),
            eps=config.adam_epsilon, weight_decay=config.adam_weight_decay, fused=True,
        )  # fmt: skip
        network, optimizer = self.accelerator.prepare(network, optimizer)
        self.connection.serves(network)
        return network, optimizer

    def average(self, network: nn.Module) -> WeightAverage:
        """The average of a prepared network's weights; it is part of every checkpoint from now on."""
        weights = self.accelerator.unwrap_model(network).parameters()
        ema = WeightAverage(weights, decay=self.config.ema_decay, use_ema_warmup=True, power=0.75, foreach=True)
        self.accelerator.register_for_checkpointing(ema)
        return ema


@contextmanager
def begun(config: Settings) -> Iterator[Beginning[Settings]]:
    """Connects the processes and holds the output directory until the end of the block.

    Raises:
        ValueError: for settings that a run cannot begin with; while another run holds the directory.
        PushError: for a token that the Hub refuses.
    """
    trackers = tracker_names(config.report_to)
    accelerator = Accelerator(
        mixed_precision=config.mixed_precision,
        # Steps are counted by the run, across the ends of epochs.
        gradient_accumulation_plugin=GradientAccumulationPlugin(
            num_steps=config.gradient_accumulation_steps, sync_with_dataloader=False
        ),
        log_with=trackers or None,
        project_config=ProjectConfiguration(config.output_dir, logging_dir=str(Path(config.output_dir, "logs"))),
        kwargs_handlers=[DistributedDataParallelKwargs(gradient_as_bucket_view=True)],
    )
    with Connection(accelerator) as connection, only_run_in(config.output_dir, accelerator):
        check_sharding(accelerator)
        set_seed(config.seed)
        checkpoint = broadcast_from_main(accelerator, lambda: find_checkpoint(config))
        record = RunRecord.of(checkpoint)
        given, config = config, record.carried_on(config)
        repository = broadcast_from_main(accelerator, lambda: prepare_repository(config))
        yield Beginning(accelerator, connection, checkpoint, record, given, config, repository)
