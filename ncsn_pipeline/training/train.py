"""Trains a score network on images by denoising score matching over many noise levels.

    accelerate launch train/train.py --config mnist --output_dir runs/mnist

Each step draws a noise level sigma for every image x, adds sigma z, and regresses the network on the score of what it
did, -z / sigma.  The output directory is at any time after the first checkpoint a pipeline folder that
`NCSNPipeline.from_pretrained` loads; beside it stand `checkpoint-N/` (to resume from), `samples/` and `logs/`.
"""

import copy
import dataclasses
import math
import time
from collections.abc import Sequence
from pathlib import Path

import torch
from accelerate import Accelerator
from accelerate.utils import (
    DistributedDataParallelKwargs,
    GradientAccumulationPlugin,
    ProjectConfiguration,
    set_seed,
)
from tqdm.auto import tqdm

from ..data import ImageData, load_train_and_held_out, stream_train_and_held_out
from ..noise_levels import largest_pairwise_distance
from .averaging import WeightAverage, check_sharding, copy_weights
from .batches import Batches
from .checkpoints import find_checkpoint, save_checkpoint, save_pipeline
from .command_line import training_command
from .compiling import check_compiled
from .config import TrainConfig
from .distributed import broadcast_from_main
from .draws import BatchDraws, Purpose, generator_for
from .interruption import Interrupted, StopRequest
from .network import build_network, build_pipeline, num_classes
from .objective import Objective, held_out_loss
from .pixel_quality import QualityProbe
from .process_group import Connection
from .publishing import prepare_repository, publish, write_summary
from .run_record import RunRecord, training_summary
from .tracking import BandLosses, describe, start_trackers, tracker_names
from .validation import draw_samples, save_samples


def measure_data(config: TrainConfig, data: ImageData) -> TrainConfig:
    """Fills in what is measured on the training images where it is not set: sigma_data and sigma_max."""
    sigma_max = config.sigma_min if config.objective == "single_sigma" else config.sigma_max
    if sigma_max is None:
        some = data.subset(torch.randperm(len(data), generator=generator_for(config.seed, Purpose.MEASURING))[:10_000])
        sigma_max = largest_pairwise_distance(some.float_images(config.data_min, config.data_max))
    sigma_data = config.sigma_data or data.mean_and_std(config.data_min, config.data_max)[1]
    return dataclasses.replace(config, sigma_data=sigma_data, sigma_max=sigma_max)


def learning_rate_factor(step: int, config: TrainConfig) -> float:
    """Linear warm-up, constant, linear decay to 0 over the last `lr_decay_steps`; a function of the step alone."""
    warm_up = min(1.0, (step + 1) / max(1, config.lr_warmup_steps))
    decay = min(1.0, (config.max_train_steps - step) / max(1, config.lr_decay_steps))
    return warm_up * decay


def train(config: TrainConfig, arguments: Sequence[str] | None = None) -> None:
    """One run, from the data to the pipeline folder and to the Hub.

    Args:
        config: settings.
        arguments: the command line they came from, for the model card; by default one is made from the settings.

    Raises:
        ValueError: for settings, data or a token that training cannot begin with.
        FloatingPointError: if training diverges.
        OSError: if something cannot be written; what was saved before is whole.
        Interrupted: after SIGTERM or SIGINT, when a checkpoint is saved.
        PushError: if the model is trained and saved and was not pushed.
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
    with Connection(accelerator) as connection:
        _train(config, arguments, accelerator, connection)


def _train(
    config: TrainConfig, arguments: Sequence[str] | None, accelerator: Accelerator, connection: Connection
) -> None:
    """`train`, from the settings on, with the processes connected."""
    given = config
    check_sharding(accelerator)
    set_seed(config.seed)
    checkpoint = broadcast_from_main(accelerator, lambda: find_checkpoint(config))
    repository = broadcast_from_main(accelerator, lambda: prepare_repository(config)) if config.push_to_hub else None
    Path(config.output_dir).mkdir(parents=True, exist_ok=True)

    shape = {"resolution": config.resolution, "channels": config.channels, "seed": config.seed}
    if config.streaming:
        data, held_out = stream_train_and_held_out(
            config.source, **shape, num_held_out=config.num_validation_images, shuffle_buffer=config.shuffle_buffer,
            rank=accelerator.process_index, world_size=accelerator.num_processes,
        )  # fmt: skip
        sample = data.sample
    else:
        data, held_out = load_train_and_held_out(config.source, **shape, held_out_fraction=config.held_out_fraction)
        sample = data
    config = measure_data(config, sample)
    network = build_network(config, sample)
    config = dataclasses.replace(config, sigma_data=getattr(network.config, "sigma_data", config.sigma_data))
    with_labels = num_classes(network) is not None
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
    weights = list(accelerator.unwrap_model(network).parameters())
    ema = WeightAverage(weights, decay=config.ema_decay, use_ema_warmup=True, power=0.75, foreach=True)
    accelerator.register_for_checkpointing(ema)
    batches = Batches(data, config, accelerator, with_labels)
    objective = Objective(config)
    record = RunRecord.of(checkpoint)
    step, started = record.step, time.monotonic()
    if checkpoint is not None:
        accelerator.load_state(str(checkpoint))
        ema.decay = config.ema_decay  # of this run's settings, not of those that the checkpoint was written with
        accelerator.print(f"Resumed from {checkpoint}.")
    start_trackers(accelerator, config, record)
    batch_size, micro_batches, processes = (
        config.train_batch_size, config.gradient_accumulation_steps, accelerator.num_processes
    )  # fmt: skip
    images_per_step = batch_size * micro_batches * processes
    accelerator.print(
        f"{'a stream of' if config.streaming else len(data)} images {tuple(data.shape)}, "
        f"{sum(p.numel() for p in ema_network.parameters()):,} "
        f"parameters, {images_per_step} images per step, {processes} process(es) on {accelerator.device}."
    )

    def progress_record() -> RunRecord:
        return record.later(step, images_per_step, time.monotonic() - started)

    def publish_model(*, final: bool) -> None:
        """The facts and the card into the pipeline folder, and the folder to the Hub."""
        facts = {
            "images": None if config.streaming else len(data),
            "held_out": len(held_out),
            "shape": list(data.shape),
        }
        summary = training_summary(
            given, progress_record(), arguments=arguments, processes=processes, device=accelerator.device,
            dataset=facts, held_out_loss=numbers.get("held_out/loss"),
        )  # fmt: skip
        write_summary(config.output_dir, summary)
        if repository is not None:
            publish(config, repository, step, final=final)

    quality = QualityProbe(config, sample, held_out) if config.quality_samples and accelerator.is_main_process else None
    numbers: dict[str, float] = {}

    def validate_and_save() -> None:
        """Held-out loss and grid every `validation_steps`, checkpoint and pipeline every `checkpointing_steps`."""
        last = step >= config.max_train_steps
        copy_weights(ema.shadow_params if config.use_ema else weights, ema_network)
        if last or step % config.checkpointing_steps == 0:
            if step > record.step or checkpoint is None:  # otherwise it is the one that was loaded
                save_checkpoint(config, accelerator, progress_record())
            if accelerator.is_main_process:
                save_pipeline(config, build_pipeline(config, ema_network))
                if repository is not None and config.hub_strategy == "checkpoint" and not last:
                    publish_model(final=False)
        if last or step % config.validation_steps == 0:
            numbers.update(held_out_loss(objective, ema_network, held_out, with_labels, accelerator))
            images = draw_samples(config, ema_network, accelerator)
            if quality is not None:
                numbers.update(quality(build_pipeline(config, ema_network)))
            accelerator.log(numbers, step=step)
            if accelerator.is_main_process:
                progress.write(f"step {step}: {describe(numbers)}")
                save_samples(config, images, step, accelerator)
        accelerator.wait_for_everyone()

    bands = BandLosses(config, accelerator.device)
    progress = tqdm(
        total=config.max_train_steps * images_per_step, initial=step * images_per_step, unit=" images", unit_scale=True,
        smoothing=0.02, disable=not accelerator.is_main_process, dynamic_ncols=True,
    )  # fmt: skip
    stream = batches.of_steps_from(step)
    if config.torch_compile:
        batch, draws = batches.example(), BatchDraws(config.seed, 0, 0, batch_size, batch_size, Purpose.MEASURING)
        sigma = objective.levels(draws)
        check_compiled(network, lambda: objective(network, batch, draws, sigma).mean(), config.mixed_precision)
    if step >= config.max_train_steps:  # resumed at the end, to write what may be missing
        validate_and_save()
    with StopRequest(accelerator) as stop:
        while step < config.max_train_steps:
            learning_rate = config.learning_rate * learning_rate_factor(step, config)
            for group in optimizer.param_groups:
                group["lr"] = learning_rate
            for micro_batch in range(micro_batches):
                place = (micro_batch * processes + accelerator.process_index) * batch_size
                draws = BatchDraws(config.seed, step, place, batch_size, images_per_step)
                sigma = objective.levels(draws)
                with accelerator.accumulate(network):
                    losses = objective(network, next(stream), draws, sigma)
                    accelerator.backward(losses.mean())
                    if accelerator.sync_gradients and config.max_grad_norm:
                        accelerator.clip_grad_norm_(network.parameters(), config.max_grad_norm)
                    optimizer.step()
                    optimizer.zero_grad()
                bands.add(losses, sigma)
            step += 1
            ema.step(weights)
            progress.update(images_per_step)
            stopping = stop.agreed() and step < config.max_train_steps
            saves = step % config.checkpointing_steps == 0 or step % config.validation_steps == 0
            saves = saves or step == config.max_train_steps
            if saves or stopping or step % config.logging_steps == 0:
                means = bands.take(accelerator)
                if not math.isfinite(means["train/loss"]):
                    raise FloatingPointError(
                        f"The training loss is {means['train/loss']} at step {step}. Checkpoints hold the weights from "
                        f"before; resume from one with a learning_rate below {config.learning_rate:g}."
                    )
                accelerator.log(means | {"train/learning_rate": learning_rate}, step=step)
                progress.set_postfix(loss=f"{means['train/loss']:.4f}", lr=f"{learning_rate:.1e}")
            if stopping:
                progress.close()
                if accelerator.is_main_process:
                    command = training_command(given, arguments, processes, resume=True)
                    print(f"Stopping after step {step}. Go on by:\n    {command}", flush=True)
                save_checkpoint(config, accelerator, progress_record())
                connection.end()
                accelerator.end_training()
                raise Interrupted(f"Stopped after step {step}; checkpoint-{step} is saved.")
            if saves:
                validate_and_save()
    progress.close()
    is_main = accelerator.is_main_process
    connection.end()  # nobody waits while the main process publishes
    accelerator.end_training()
    if is_main:
        publish_model(final=True)
