"""Trains a score network on images by denoising score matching over many noise levels.

    accelerate launch train/train.py --config mnist --output_dir runs/mnist

Each step draws a noise level sigma for every image x, adds sigma z, and regresses the network on the score of what it
did, -z / sigma.  The output directory is at any time after the first checkpoint, also that of a run which is stopped, a
pipeline folder that `NCSNPipeline.from_pretrained` loads; beside it stand `checkpoint-N/` (to resume from), `samples/`
and `logs/`.
"""

import copy
from collections.abc import Sequence
from functools import partial

from .batches import Batches, load_data
from .beginning import begun
from .compiling import check_compiled
from .config import TrainConfig
from .interruption import StopRequest
from .network import build_network, load_trained, measure_data
from .objective import Objective
from .tracking import start_trackers
from .training_run import TrainingRun


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
    with begun(config) as start:
        # Images, and what is measured on them unless the checkpoint knows it.
        config, accelerator, record = start.config, start.accelerator, start.record
        data, sample, held_out = load_data(config, accelerator)
        trained = None if record.network else load_trained(config)
        config = measure_data(config, sample, trained)

        # The network, the average of its weights, their optimiser.
        network = build_network(config, sample, trained, record.network, whole=data is sample)
        ema_network = copy.deepcopy(network).to(accelerator.device).eval().requires_grad_(False)
        network, optimizer = start.prepare(network)
        ema = start.average(network)

        # What a checkpoint holds, and what is told of the run.
        objective = Objective(config)
        run = TrainingRun(
            start=start, config=config, arguments=arguments, data=data, sample=sample, held_out=held_out,
            network=network, ema_network=ema_network, optimizers=[optimizer], ema=ema, objective=objective,
        )  # fmt: skip
        batches = Batches(data, config, accelerator, run.with_labels)
        if start.checkpoint is not None:
            run.resume(start.checkpoint)
        start_trackers(accelerator, config, record)
        run.announce()
        example = batches.example()
        if config.torch_compile:
            check_compiled(network, partial(run.trial_loss, example), config.mixed_precision)
        run.estimate(partial(run.trial, example))
        with StopRequest(accelerator) as stop, run.progress_bar():
            stream = batches.of_steps_from(run.step)
            for _ in run.steps(stop):
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
        run.end()
