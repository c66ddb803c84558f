"""Trains a score network on images by denoising score matching over many noise levels.

    accelerate launch train/train.py --config mnist --output_dir runs/mnist

Each step draws a noise level sigma for every image x, adds sigma z, and regresses the network on the score of what it
did, -z / sigma.  The output directory is at any time after the first checkpoint a pipeline folder that
`NCSNPipeline.from_pretrained` loads; beside it stand `checkpoint-N/` (to resume from), `samples/` and `logs/`.  A run
that is stopped before its first checkpoint is due leaves that one alone.
"""

import copy
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import torch
from accelerate import Accelerator
from accelerate.utils import (
    DistributedDataParallelKwargs,
    GradientAccumulationPlugin,
    ProjectConfiguration,
    set_seed,
)

from .averaging import WeightAverage, check_sharding
from .batches import Batches, load_data
from .checkpoints import find_checkpoint, only_run_in
from .compiling import check_compiled
from .config import TrainConfig
from .distributed import broadcast_from_main
from .interruption import Interrupted, StopRequest
from .network import build_network, load_trained, measure_data
from .objective import Objective
from .process_group import Connection
from .publishing import prepare_repository
from .run import Run
from .run_record import RunRecord
from .tracking import start_trackers, tracker_names


def learning_rate_at(step: int, config: TrainConfig) -> float:
    """Linear warm-up, constant, linear decay to 0 over the last `lr_decay_steps`; a function of the step alone."""
    warm_up = min(1.0, (step + 1) / max(1, config.lr_warmup_steps))
    decay = min(1.0, (config.max_train_steps - step) / max(1, config.lr_decay_steps))
    return config.learning_rate * (warm_up * decay)


def train(config: TrainConfig, arguments: Sequence[str] | None = None) -> None:
    """One run, from the data to the pipeline folder and to the Hub.

    Args:
        config: settings.
        arguments: the command line they came from, for the model card; by default one is made from the settings.

    Raises:
        ValueError: for settings or data that training cannot begin with.
        FloatingPointError: if training diverges.
        OSError: if something cannot be written; what was saved before is whole.
        Interrupted: after SIGTERM or SIGINT, when a checkpoint is saved.
        PushError: for a token that the Hub refuses, before training; at the end if the model is saved and not pushed.
    """
    trackers = tracker_names(config.report_to)
    accelerator = Accelerator(
        mixed_precision=config.mixed_precision,
        # Steps are counted here, across the ends of epochs.
        gradient_accumulation_plugin=GradientAccumulationPlugin(
            num_steps=config.gradient_accumulation_steps, sync_with_dataloader=False
        ),
        log_with=trackers or None,
        project_config=ProjectConfiguration(config.output_dir, logging_dir=str(Path(config.output_dir, "logs"))),
        kwargs_handlers=[DistributedDataParallelKwargs(gradient_as_bucket_view=True)],
    )
    with Connection(accelerator) as connection, only_run_in(config.output_dir, accelerator):
        # Where the run begins.  `given` is what the card shows; `config` has what was measured too.
        check_sharding(accelerator)
        set_seed(config.seed)
        checkpoint = broadcast_from_main(accelerator, lambda: find_checkpoint(config))
        record = RunRecord.of(checkpoint)
        given, config = config, record.carried_on(config)
        repository = broadcast_from_main(accelerator, lambda: prepare_repository(config))

        # Images, and what is measured on them unless the checkpoint knows it.
        data, sample, held_out = load_data(config, accelerator)
        trained = None if record.network else load_trained(config)
        config = measure_data(config, sample, trained)

        # The network, the average of its weights, their optimiser.
        network = build_network(config, sample, trained, record.network)
        ema_network = copy.deepcopy(network).to(accelerator.device).eval().requires_grad_(False)
        if config.channels_last:
            network.to(memory_format=torch.channels_last)
        if config.torch_compile:
            network.compile()
        optimizer = torch.optim.AdamW(
            network.parameters(), lr=config.learning_rate, betas=(config.adam_beta1, config.adam_beta2),
            eps=config.adam_epsilon, weight_decay=config.adam_weight_decay, fused=True,
        )  # fmt: skip
        network, optimizer = accelerator.prepare(network, optimizer)
        connection.serves(network)
        weights = accelerator.unwrap_model(network).parameters()
        ema = WeightAverage(weights, decay=config.ema_decay, use_ema_warmup=True, power=0.75, foreach=True)
        accelerator.register_for_checkpointing(ema)

        # What a checkpoint holds, and what is told of the run.
        objective = Objective(config)
        run = Run(
            given=given, config=config, arguments=arguments, accelerator=accelerator, repository=repository,
            data=data, sample=sample, held_out=held_out,
            network=network, ema_network=ema_network, optimizer=optimizer, ema=ema, objective=objective, record=record,
        )  # fmt: skip
        batches = Batches(data, config, accelerator, run.with_labels)
        if checkpoint is not None:
            run.resume(checkpoint)
        start_trackers(accelerator, config, record)
        run.announce()
        if config.torch_compile:
            check_compiled(network, partial(run.trial_loss, batches.example()), config.mixed_precision)
        run.estimate(batches.example())
        if run.finished:  # resumed at the end, to write what may be missing
            run.fill_ema_network()
            run.save()
            run.validate()
        stream = batches.of_steps_from(run.step)
        with StopRequest(accelerator) as stop, run.progress_bar():
            while not run.finished:
                learning_rate = learning_rate_at(run.step, config)
                for group in optimizer.param_groups:
                    group["lr"] = learning_rate
                for micro_batch in range(config.gradient_accumulation_steps):
                    draws = run.draws(micro_batch)
                    sigma = objective.levels(draws)
                    with accelerator.accumulate(network):
                        losses = objective(network, next(stream), draws, sigma)
                        accelerator.backward(losses.mean())
                        if accelerator.sync_gradients and config.max_grad_norm:
                            accelerator.clip_grad_norm_(network.parameters(), config.max_grad_norm)
                        optimizer.step()
                        optimizer.zero_grad()
                    run.bands.add(losses, sigma)
                ema.step(run.weights)
                run.advance()

                stopping = stop.agreed() and not run.finished
                saving, validating = run.is_due(config.checkpointing_steps), run.is_due(config.validation_steps)
                if saving or validating or stopping or run.is_due(config.logging_steps):
                    run.log(learning_rate)
                if stopping:
                    run.stop()
                    break
                if saving or validating:
                    run.fill_ema_network()
                if saving:
                    run.save()
                if validating:
                    run.validate()
                if saving and not run.finished:
                    run.publish_checkpoint()

            connection.end()  # nobody waits while the main process publishes
            accelerator.end_training()
        if not run.finished:
            raise Interrupted(f"Stopped after step {run.step}; checkpoint-{run.step} is saved.")
        if run.is_main:
            run.finish()
