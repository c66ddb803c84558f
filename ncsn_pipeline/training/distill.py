"""Makes of a score network one that draws in one evaluation, by matching distributions.

    accelerate launch train/distill.py --teacher mnist --output_dir runs/mnist-fast

No data are needed.  Generator and fake score begin as the teacher, or the generator as another network, of any width:
one that was made before, or a small score network (`init_from`).  Each step the fake score learns, `fake_steps` times,
the score of what the generator draws, and the generator moves what it draws along the difference of the teacher's score
and the fake one, in the last `identity_steps` with a gradient through both; see :mod:`.matching`.  The output directory
is what a training's is, with both networks in the checkpoints and the generator's average in the pipeline folder.
"""

import copy
import sys
from collections.abc import Sequence

from .beginning import begun
from .distill_config import DistillConfig
from .distillation_run import DistillationRun, load_generator, load_teacher, matching_of
from .interruption import StopRequest
from .matching import Learner
from .program import run_program
from .tracking import start_trackers


def distill(config: DistillConfig, arguments: Sequence[str] | None = None) -> None:
    """One run, from the teacher to the pipeline folder and to the Hub.

    Args:
        config: settings.
        arguments: the command line they came from, for the model card; by default one is made from the settings.

    Raises:
        ValueError: for settings or a teacher that a distillation cannot begin with.
        FloatingPointError: if training diverges.
        OSError: for a teacher that is not there; if something cannot be written: what was saved before is whole.
        Interrupted: after SIGTERM or SIGINT, when a checkpoint is saved.
        PushError: for a token that the Hub refuses, before training; at the end if the model is saved and not pushed.
    """
    with begun(config) as start:
        # The teacher, and the two networks that learn.
        accelerator = start.accelerator
        config, teacher = load_teacher(start.config)
        networks = load_generator(config, teacher), copy.deepcopy(teacher.unet)
        ema_network = copy.deepcopy(networks[0]).to(accelerator.device).eval().requires_grad_(False)
        generator, fake = (
            Learner(*start.prepare(network.train().requires_grad_(True)), config.max_grad_norm) for network in networks
        )
        ema = start.average(generator.network)

        # What a checkpoint holds, and what is told of the run.
        matching = matching_of(config, teacher, generator, fake, accelerator)
        run = DistillationRun(
            start=start, config=config, arguments=arguments, network=generator.network, ema_network=ema_network,
            optimizers=[generator.optimizer, fake.optimizer], ema=ema, teacher=teacher, matching=matching,
        )  # fmt: skip
        if start.checkpoint is not None:
            run.resume(start.checkpoint)
        start_trackers(accelerator, config, start.record)
        run.announce()
        if config.torch_compile:
            run.check_compiled()
        run.estimate(run.trial)
        with StopRequest(accelerator) as stop, run.progress_bar():
            for _ in run.steps(stop):
                of_fake, of_generator = matching.step(accelerator, run.step_draws(), run.by_identity)
                for _, losses, sigma in of_fake:
                    run.bands.add(losses, sigma)
                for _, sizes, sigma in of_generator:
                    run.generator_bands.add(sizes, sigma)
        run.end()


if __name__ == "__main__":
    sys.exit(run_program(DistillConfig, "distill", None, "distill.py"))
