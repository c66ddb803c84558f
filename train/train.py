"""Trains a score network on images by denoising score matching over many noise levels.

    accelerate launch train/train.py --config train/configs/mnist.yaml --output_dir runs/mnist

Each step draws a noise level sigma for every image x, adds sigma z, and regresses the network on the score of what it
did, -z / sigma.  The output directory is at any time after the first checkpoint a pipeline folder that
`NCSNPipeline.from_pretrained` loads; beside it stand `checkpoint-N/` (to resume from), `samples/` and `logs/`.
"""

import copy
import dataclasses
import json
import logging
import math
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.utils import DataLoaderConfiguration, GradientAccumulationPlugin, ProjectConfiguration, set_seed
from config import TrainConfig
from diffusers.training_utils import EMAModel
from diffusers.utils import make_image_grid
from torch import Tensor
from torch.utils.data import DataLoader
from tqdm.auto import tqdm

from ncsn_pipeline import (
    ConsistentAnnealedScheduler,
    LadderSigmas,
    LogNormalSigmas,
    LogUniformSigmas,
    MixtureSigmas,
    NCSNPipeline,
    ScoreUNet,
    edm_weight,
    geometric_ladder,
    largest_pairwise_distance,
    multi_level_denoising_score_matching,
    sigma_squared_weight,
)
from ncsn_pipeline.data import ImageData, load_train_and_held_out, to_range
from ncsn_pipeline.noise_levels import SigmaDistribution

NUM_BANDS = 8
logger = logging.getLogger("train")


def measure_data(config: TrainConfig, data: ImageData) -> TrainConfig:
    """Fills in what is measured on the training images where it is not set: sigma_data and sigma_max."""
    images = data.float_images(config.data_min, config.data_max)
    sigma_data = config.sigma_data or float(images.std())
    sigma_max = config.sigma_max
    if sigma_max is None:
        sigma_max = largest_pairwise_distance(images, generator=torch.Generator().manual_seed(0))
    return dataclasses.replace(config, sigma_data=sigma_data, sigma_max=sigma_max)


def build_network(config: TrainConfig, data: ImageData) -> ScoreUNet:
    """A new network for the data, or the trained one of `init_from`."""
    if config.init_from:
        return ScoreUNet.from_pretrained(config.init_from, subfolder="unet")
    return ScoreUNet(
        sample_size=data.images.shape[-1],
        in_channels=data.images.shape[1],
        block_out_channels=config.block_out_channels,
        layers_per_block=config.layers_per_block,
        attention_levels=config.attention_levels,
        num_class_embeds=len(data.label_names) if config.use_labels and data.label_names else None,
        sigma_data=config.sigma_data,
        data_mean=float(data.float_images(config.data_min, config.data_max).mean()),
        sigma_min=config.sigma_min,
        sigma_max=config.sigma_max,
    )


def build_sigma_distribution(config: TrainConfig) -> SigmaDistribution:
    """How the noise level of each image is drawn."""
    if config.sigma_distribution == "ladder":
        return LadderSigmas(geometric_ladder(config.sigma_max, config.sigma_min, config.num_levels).tolist())
    loguniform = LogUniformSigmas(config.sigma_min, config.sigma_max)
    lognormal = LogNormalSigmas(config.sigma_log_mean, config.sigma_log_std, config.sigma_min, config.sigma_max)
    mixture = MixtureSigmas(lognormal, loguniform, config.sigma_lognormal_fraction)
    return {"loguniform": loguniform, "lognormal": lognormal, "mixture": mixture}[config.sigma_distribution]


def learning_rate_factor(step: int, config: TrainConfig) -> float:
    """Linear warm-up, constant, linear decay to 0 over the last `lr_decay_steps`; a function of the step alone."""
    warm_up = min(1.0, (step + 1) / max(1, config.lr_warmup_steps))
    decay = min(1.0, (config.max_train_steps - step) / max(1, config.lr_decay_steps))
    return warm_up * decay


def generator_for(*numbers: int) -> torch.Generator:
    """A generator that depends on these numbers alone, so that a resumed run draws the noise it would have drawn."""
    return torch.Generator().manual_seed(int(np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0]))


class Objective:
    """The loss of a batch; noise levels, noise and dropped labels are drawn with one generator."""

    def __init__(self, config: TrainConfig) -> None:
        self.config = config
        self.draw_sigma = build_sigma_distribution(config)
        self.weight = edm_weight(config.sigma_data) if config.loss_weight == "edm" else sigma_squared_weight

    def __call__(
        self,
        network: torch.nn.Module,
        batch: dict[str, Tensor],
        generator: torch.Generator,
        sigma: Tensor | None = None,
    ) -> Tensor:
        """One value an image, shape `(B,)`: its loss per dimension.  A given `sigma` is used, and no label dropped."""
        x = to_range(batch["image"], self.config.data_min, self.config.data_max)
        labels = batch.get("label")
        if sigma is None:
            sigma = self.draw_sigma(len(x), generator, x.device)
            if labels is not None:
                dropped = torch.rand(len(x), generator=generator) < self.config.class_dropout
                labels = labels.masked_fill(dropped.to(labels.device), self.null_class(network))
        loss = multi_level_denoising_score_matching(
            lambda noised, level: network(noised, level, class_labels=labels).sample.float(),
            x,
            sigma,
            weight=self.weight,
            generator=generator,
        )
        return loss / x[0].numel()

    @staticmethod
    def null_class(network: torch.nn.Module) -> int:
        """The index of the null class."""
        return getattr(network, "module", network).config.num_class_embeds


@torch.no_grad()
def held_out_loss(objective: Objective, network: ScoreUNet, data: ImageData, with_labels: bool) -> dict[str, float]:
    """The loss on images that were not trained on: overall, and in each of eight bands of ln sigma.

    Images, noise and noise levels are the same at every call.
    """
    config = objective.config
    count = config.num_validation_images
    edges = np.geomspace(config.sigma_min, config.sigma_max, NUM_BANDS + 1)
    band = torch.arange(count) % NUM_BANDS
    place = torch.rand(count, generator=generator_for(config.seed, 1))
    sigma = (torch.tensor(edges, dtype=torch.float32).log()[0] + (band + place) * math.log(edges[1] / edges[0])).exp()
    losses = []
    for start in range(0, count, 256):
        part = torch.arange(start, min(start + 256, count))
        chosen = data.subset(part % len(data))
        batch = {"image": chosen.images.to(network.device)}
        if with_labels:
            batch["label"] = chosen.labels.to(network.device)
        generator = generator_for(config.seed, 2, start)
        losses.append(objective(network, batch, generator, sigma[part].to(network.device)).cpu())
    loss = torch.cat(losses)
    result = {"held_out/loss": loss.mean().item()}
    for i in range(NUM_BANDS):
        result[f"held_out/sigma {edges[i]:.2g} to {edges[i + 1]:.2g}"] = loss[band == i].mean().item()
    return result


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
            tracker.log_images({"samples": np.asarray(grid.convert("RGB"))[None]}, step=step, dataformats="NHWC")


def save_pipeline(config: TrainConfig, network: ScoreUNet) -> None:
    """Writes the pipeline folder beside the output directory's, then moves each file into place."""
    output, beside = Path(config.output_dir), Path(config.output_dir, "pipeline.partial")
    shutil.rmtree(beside, ignore_errors=True)
    build_pipeline(config, network).save_pretrained(beside)
    (beside / "train_config.json").write_text(json.dumps(dataclasses.asdict(config), indent=2) + "\n")
    for path in sorted(beside.rglob("*")):
        if path.is_file():
            target = output / path.relative_to(beside)
            target.parent.mkdir(parents=True, exist_ok=True)
            os.replace(path, target)
    shutil.rmtree(beside)


def checkpoints(output_dir: str) -> list[Path]:
    """The complete checkpoints of a run, oldest first."""
    found = Path(output_dir).glob("checkpoint-*")
    return sorted((path for path in found if path.name[11:].isdigit()), key=lambda path: int(path.name[11:]))


def save_checkpoint(config: TrainConfig, accelerator: Accelerator, step: int) -> None:
    """Writes `checkpoint-{step}` beside, renames it into place, and deletes the oldest beyond the limit."""
    partial = Path(config.output_dir, "checkpoint.partial")
    if accelerator.is_main_process:
        shutil.rmtree(partial, ignore_errors=True)
    accelerator.wait_for_everyone()
    accelerator.save_state(str(partial))
    accelerator.wait_for_everyone()
    if accelerator.is_main_process:
        final = Path(config.output_dir, f"checkpoint-{step}")
        shutil.rmtree(final, ignore_errors=True)
        os.replace(partial, final)
        if config.checkpoints_total_limit:
            for old in checkpoints(config.output_dir)[: -config.checkpoints_total_limit]:
                shutil.rmtree(old)


def find_checkpoint(config: TrainConfig) -> Path | None:
    """The checkpoint that `resume_from_checkpoint` names; `None` to start anew.

    Raises:
        ValueError: for a checkpoint that is not there.
    """
    wanted = config.resume_from_checkpoint
    if wanted is None:
        return None
    if wanted == "latest":
        found = checkpoints(config.output_dir)
        if not found:
            logger.warning("There is no checkpoint in %s yet: starting anew.", config.output_dir)
        return found[-1] if found else None
    for path in (Path(wanted), Path(config.output_dir, wanted)):
        if path.is_dir() and path.name[11:].isdigit():
            return path
    there = ", ".join(path.name for path in checkpoints(config.output_dir)) or "none"
    raise ValueError(f"There is no checkpoint {wanted!r}; in {config.output_dir} there are: {there}.")


def batches(loader: DataLoader, accelerator: Accelerator, start: int) -> Iterator[dict[str, Tensor]]:
    """Batch number `start` and all after it, epoch after epoch, each shuffled by its own number."""
    epoch, skip = divmod(start, len(loader))
    while True:
        part = accelerator.skip_first_batches(loader, skip) if skip else loader
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
    if config.compile:
        network.compile()
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
                save_pipeline(config, ema_network)
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
    train(TrainConfig.from_command_line())
