"""Trains a score network on images by denoising score matching over many noise levels.

    accelerate launch train/train.py --config train/configs/mnist.yaml --output_dir runs/mnist

Each step draws a noise level sigma for every image x, adds sigma z, and regresses the network on the score of what it
did, -z / sigma.  The output directory is at any time after the first checkpoint a pipeline folder that
`NCSNPipeline.from_pretrained` loads; beside it stand `checkpoint-N/` (to resume from), `samples/` and `logs/`.
"""

import copy
import dataclasses
import logging
import math
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.utils import DataLoaderConfiguration, GradientAccumulationPlugin, ProjectConfiguration, set_seed
from checkpoints import find_checkpoint, save_checkpoint, save_pipeline
from config import TrainConfig
from diffusers.training_utils import EMAModel
from diffusers.utils import make_image_grid
from objective import Objective, generator_for, held_out_loss
from torch import Tensor
from torch.utils.data import DataLoader
from tqdm.auto import tqdm

from ncsn_pipeline import ConsistentAnnealedScheduler, NCSNPipeline, ScoreUNet, largest_pairwise_distance
from ncsn_pipeline.data import ImageData, load_train_and_held_out


def build_network(config: TrainConfig, data: ImageData) -> ScoreUNet:
    """A new network for the data, or the trained one of `init_from`.

    Raises:
        ValueError: for a trained network of other images or classes than the data's.
    """
    channels, height, size = data.images.shape[1:]
    if height != size:
        raise ValueError(f"Images of {height}x{size} pixels are not square. Set resolution to make them so.")
    classes = len(data.label_names) if config.use_labels and data.label_names else None
    if config.init_from is None:
        return ScoreUNet(
            sample_size=size,
            in_channels=channels,
            block_out_channels=config.block_out_channels,
            layers_per_block=config.layers_per_block,
            attention_levels=config.attention_levels,
            num_class_embeds=classes,
            sigma_data=config.sigma_data,
            data_mean=data.mean_and_std(config.data_min, config.data_max)[0],
            sigma_min=config.sigma_min,
            sigma_max=config.sigma_max,
        )
    pipeline = NCSNPipeline.from_pretrained(config.init_from)
    network = pipeline.unet.train()
    trained = (network.config.in_channels, network.config.sample_size, network.config.num_class_embeds)
    trained += (pipeline.config.data_min, pipeline.config.data_max)
    if trained != (channels, size, classes, config.data_min, config.data_max):
        raise ValueError(
            f"The model of {config.init_from} has (channels, size, classes, data_min, data_max) = {trained}; here they "
            f"are {(channels, size, classes, config.data_min, config.data_max)}. Set channels, resolution, use_labels, "
            "data_min and data_max to bring them together."
        )
    network.register_to_config(sigma_min=config.sigma_min, sigma_max=config.sigma_max)
    return network


def measure_data(config: TrainConfig, data: ImageData) -> TrainConfig:
    """Fills in what is measured on the training images where it is not set: sigma_data and sigma_max."""
    sigma_max = config.sigma_max
    if sigma_max is None:
        some = data.subset(torch.randperm(len(data), generator=generator_for(config.seed, 4))[:10_000])
        sigma_max = largest_pairwise_distance(some.float_images(config.data_min, config.data_max))
    sigma_data = config.sigma_data or data.mean_and_std(config.data_min, config.data_max)[1]
    return dataclasses.replace(config, sigma_data=sigma_data, sigma_max=sigma_max)


def learning_rate_factor(step: int, config: TrainConfig) -> float:
    """Linear warm-up, constant, linear decay to 0 over the last `lr_decay_steps`; a function of the step alone."""
    warm_up = min(1.0, (step + 1) / max(1, config.lr_warmup_steps))
    decay = min(1.0, (config.max_train_steps - step) / max(1, config.lr_decay_steps))
    return warm_up * decay


def build_pipeline(config: TrainConfig, network: ScoreUNet) -> NCSNPipeline:
    """The pipeline around the network, with the scheduler that is best at few evaluations."""
    scheduler = ConsistentAnnealedScheduler(config.num_levels, sigma_min=config.sigma_min, sigma_max=config.sigma_max)
    return NCSNPipeline(network, scheduler, data_min=config.data_min, data_max=config.data_max)


def save_samples(config: TrainConfig, network: ScoreUNet, step: int, accelerator: Accelerator) -> None:
    """A grid of samples, from the same noise at every call: ten columns, one a class where there are ten."""
    pipeline = build_pipeline(config, network)
    pipeline.set_progress_bar_config(disable=True)
    classes = network.config.num_class_embeds
    labels = [i % classes for i in range(config.num_sample_images)] if classes else None
    generator = generator_for(config.seed, 3)
    images = pipeline(config.num_sample_images, generator=generator, class_labels=labels).images
    columns = next(n for n in range(min(10, len(images)), 0, -1) if len(images) % n == 0)
    folder = Path(config.output_dir, "samples")
    folder.mkdir(exist_ok=True)
    grid = make_image_grid(images, rows=len(images) // columns, cols=columns)
    grid.save(folder / f"step-{step:07d}.png")
    for tracker in accelerator.trackers:
        if hasattr(tracker, "log_images"):
            layout = {"dataformats": "NHWC"} if tracker.name == "tensorboard" else {}
            tracker.log_images({"samples": np.asarray(grid.convert("RGB"))[None]}, step=step, **layout)


def batches(loader: DataLoader, accelerator: Accelerator, start: int) -> Iterator[dict[str, Tensor]]:
    """Batch number `start` and all after it, epoch after epoch, each shuffled by its own number."""
    epoch, skip = divmod(start, len(loader))
    while True:
        part = accelerator.skip_first_batches(loader, skip) if skip else loader
        loader.set_epoch(epoch)  # reaches the sampler, which both share
        part.set_epoch(epoch)
        yield from part
        epoch, skip = epoch + 1, 0


def train(config: TrainConfig) -> None:
    """One run, from the data to the pipeline folder."""
    checkpoint = find_checkpoint(config)
    Path(config.output_dir).mkdir(parents=True, exist_ok=True)
    accelerator = Accelerator(
        mixed_precision=config.mixed_precision,
        # Steps are counted here, across the ends of epochs.
        gradient_accumulation_plugin=GradientAccumulationPlugin(
            num_steps=config.gradient_accumulation_steps, sync_with_dataloader=False
        ),
        log_with=None if config.report_to in (None, "none") else config.report_to,
        project_config=ProjectConfiguration(config.output_dir, logging_dir=str(Path(config.output_dir, "logs"))),
        dataloader_config=DataLoaderConfiguration(use_seedable_sampler=True),
    )
    set_seed(config.seed)

    data, held_out = load_train_and_held_out(
        config.source, resolution=config.resolution, channels=config.channels,
        held_out_fraction=config.held_out_fraction, seed=config.seed,
    )  # fmt: skip
    config = measure_data(config, data)
    network = build_network(config, data)
    config = dataclasses.replace(config, sigma_data=network.config.sigma_data)
    with_labels = network.config.num_class_embeds is not None
    if not with_labels:
        data = ImageData(data.images)
    ema_network = copy.deepcopy(network).to(accelerator.device).eval().requires_grad_(False)
    ema = EMAModel(network.parameters(), decay=config.ema_decay, use_ema_warmup=True, power=0.75, foreach=True)
    ema.to(accelerator.device)
    optimizer = torch.optim.AdamW(
        network.parameters(), lr=config.learning_rate, betas=(config.adam_beta1, config.adam_beta2),
        weight_decay=config.adam_weight_decay, fused=True,
    )  # fmt: skip
    # accelerate steps a schedule once a process; dividing makes the step that of the optimiser again.
    processes = accelerator.num_processes
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda n: learning_rate_factor(n // processes, config))
    loader = DataLoader(
        data, config.train_batch_size, shuffle=True, drop_last=True, num_workers=config.dataloader_num_workers
    )
    if len(loader) < processes:
        raise ValueError(
            f"{len(data)} training images do not fill one batch of {config.train_batch_size} on each of {processes} "
            "process(es); lower train_batch_size."
        )
    network, optimizer, loader, schedule = accelerator.prepare(network, optimizer, loader, schedule)
    accelerator.register_for_checkpointing(ema)
    objective = Objective(config)
    if accelerator.log_with:
        flat = {
            k: v if isinstance(v, int | float | str | bool) else str(v) for k, v in dataclasses.asdict(config).items()
        }
        accelerator.init_trackers("ncsn", config=flat)

    step = 0
    if checkpoint is not None:
        step = int(checkpoint.name[11:])
        accelerator.load_state(str(checkpoint))
        ema.to(accelerator.device)
        # The checkpoint holds the rates it was written with; those of this run's settings count.
        ema.decay = config.ema_decay
        schedule.scheduler.base_lrs = [config.learning_rate]
        optimizer.param_groups[0]["initial_lr"] = config.learning_rate
        optimizer.param_groups[0]["lr"] = config.learning_rate * learning_rate_factor(step, config)
        accelerator.print(f"Resumed from {checkpoint}.")
    images_a_step = config.train_batch_size * processes * config.gradient_accumulation_steps
    accelerator.print(
        f"{len(data)} images {tuple(data.images.shape[1:])}, {sum(p.numel() for p in ema_network.parameters()):,} "
        f"parameters, {images_a_step} images a step, {processes} process(es) on {accelerator.device}."
    )

    def validate_and_save() -> None:
        """Held-out loss and grid every `validation_steps`, checkpoint and pipeline every `checkpointing_steps`."""
        last = step == config.max_train_steps
        if config.use_ema:
            ema.copy_to(ema_network.parameters())
        else:
            ema_network.load_state_dict(accelerator.unwrap_model(network).state_dict())
        if last or step % config.checkpointing_steps == 0:
            save_checkpoint(config, accelerator, step)
            if accelerator.is_main_process:
                save_pipeline(config, build_pipeline(config, ema_network))
        if accelerator.is_main_process and (last or step % config.validation_steps == 0):
            numbers = held_out_loss(objective, ema_network, held_out, with_labels)
            accelerator.log(numbers, step=step)
            progress.write(
                f"step {step}: " + ", ".join(f"{k.removeprefix('held_out/')} {v:.4f}" for k, v in numbers.items())
            )
            save_samples(config, ema_network, step, accelerator)
        accelerator.wait_for_everyone()

    running, counted = torch.zeros((), device=accelerator.device), 0
    progress = tqdm(
        total=config.max_train_steps * images_a_step, initial=step * images_a_step, unit=" images", unit_scale=True,
        smoothing=0.02, disable=not accelerator.is_main_process, dynamic_ncols=True,
    )  # fmt: skip
    stream = batches(loader, accelerator, step * config.gradient_accumulation_steps)
    while step < config.max_train_steps:
        for micro_step in range(config.gradient_accumulation_steps):
            generator = generator_for(config.seed, 0, step, micro_step, accelerator.process_index)
            with accelerator.accumulate(network):
                loss = objective(network, next(stream), generator).mean()
                accelerator.backward(loss)
                if accelerator.sync_gradients:
                    accelerator.clip_grad_norm_(network.parameters(), config.max_grad_norm)
                optimizer.step()
                schedule.step()
                optimizer.zero_grad()
            running, counted = running + loss.detach(), counted + 1
        step += 1
        ema.step(accelerator.unwrap_model(network).parameters())
        progress.update(images_a_step)
        saves = step % config.checkpointing_steps == 0 or step % config.validation_steps == 0
        saves = saves or step == config.max_train_steps
        if saves or step % config.logging_steps == 0:
            mean = accelerator.reduce(running / counted, reduction="mean").item()
            if not math.isfinite(mean):
                raise FloatingPointError(
                    f"The training loss is {mean} at step {step}. Checkpoints hold the weights from before; resume "
                    f"from one with a learning_rate below {config.learning_rate:g}."
                )
            rate = schedule.get_last_lr()[0]
            accelerator.log({"train/loss": mean, "train/learning_rate": rate}, step=step)
            progress.set_postfix(loss=f"{mean:.4f}", lr=f"{rate:.1e}")
            running, counted = torch.zeros_like(running), 0
        if saves:
            validate_and_save()
    progress.close()
    accelerator.end_training()


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(levelname)s: %(message)s")
    try:
        train(TrainConfig.from_command_line())
    except (ValueError, FloatingPointError, OSError) as error:
        sys.exit(f"train.py: {error}")
