"""Distribution matching as updates of two networks: several of the fake score, then one of the generator.

The mathematics is :mod:`ncsn_pipeline.score_matching.distribution_matching`.  Noise, noise levels and classes come from
:class:`~draws.BatchDraws`, as in training on images: a sample gets the numbers of its place in the step, whatever the
number of processes.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial

import torch
from accelerate import Accelerator
from accelerate.utils import extract_model_from_parallel
from torch import Tensor, nn

from ..guidance import classifier_free
from ..noise_levels import NoisyScoreFn, SigmaDistribution, multi_level_denoising_score_matching
from ..noise_levels.loss import WeightFn
from ..score_matching import generate, identity_loss, matching_gradient, within
from .draws import BatchDraws, Stream

# Of a micro-batch: one number per sample for the update and for the log, `(B,)` each, and its noise levels, `(B,)`.
Losses = tuple[Tensor, Tensor, Tensor]


@dataclass(frozen=True)
class Learner:
    """A network that is trained, and how.

    Args:
        network: `(x, sigma[, class_labels=]) -> .sample`, as `accelerator.prepare` returned it.
        optimizer: of its weights, prepared.
        max_grad_norm: its gradients are clipped to this norm; 0 for no clipping.
    """

    network: nn.Module
    optimizer: torch.optim.Optimizer
    max_grad_norm: float = 0.0

    def update(self, accelerator: Accelerator, losses: Sequence[Callable[[], Losses]]) -> list[Losses]:
        """One update by the mean loss of all micro-batches; what their losses were."""
        found = []
        for micro_batch in losses:
            with accelerator.accumulate(self.network):
                loss, shown, sigma = micro_batch()
                accelerator.backward(loss.mean())
                if accelerator.sync_gradients and self.max_grad_norm:
                    accelerator.clip_grad_norm_(self.network.parameters(), self.max_grad_norm)
                self.optimizer.step()
                self.optimizer.zero_grad()
            found.append((loss.detach(), shown, sigma))
        return found


class DistributionMatching:
    """A generator and a fake score, and what each of them learns from a teacher.

    Args:
        teacher: `(x (B, *D), sigma (B,)[, class_labels=(B,)]) -> score (B, *D)`; it need not be a network.
        generator: draws by denoising at `levels` in turn.
        fake: learns the score of what the generator draws.
        shape: `*D` of a sample.
        levels: the generator's, strictly decreasing, in data units.
        draw_sigma: the noise levels at which scores are compared, and learned.
        weight: lambda(sigma) of the fake score's loss.
        num_classes: of all three networks; `None` where they take no labels.
        guidance_scale: of the teacher, w of :func:`~ncsn_pipeline.guidance.classifier_free`; its null class is the
            index `num_classes`.
        guidance_interval: the noise levels between which it is guided (Kynkäänniemi et al. 2024); `None` for all.
        ends: of the data's range, at which samples are cut off, in data units; `None` where it has none.
    """

    def __init__(
        self,
        teacher: Callable[..., Tensor],
        generator: Learner,
        fake: Learner,
        *,
        shape: Sequence[int],
        levels: Sequence[float],
        draw_sigma: SigmaDistribution,
        weight: WeightFn,
        num_classes: int | None = None,
        guidance_scale: float = 1.0,
        guidance_interval: tuple[float, float] | None = None,
        ends: tuple[float, float] | None = None,
    ) -> None:
        self.teacher, self.generator, self.fake = teacher, generator, fake
        self.shape, self.levels = tuple(shape), torch.tensor(levels, dtype=torch.float32)
        self.draw_sigma, self.weight = draw_sigma, weight
        self.num_classes, self.ends = num_classes, ends
        self.guidance = guidance_scale, guidance_interval
        self.device = next(generator.network.parameters()).device

    def step(
        self, accelerator: Accelerator, draws: Sequence[Sequence[BatchDraws]], identity: bool = False
    ) -> tuple[list[Losses], list[Losses]]:
        """All updates of one step.

        Args:
            accelerator: that prepared the networks.
            draws: the random numbers of each update's micro-batches; the last update is the generator's.
            identity: whether that is one of score identity distillation, which differentiates the teacher.

        Returns:
            The losses of the fake score, and those of the generator.
        """
        *of_fake, of_generator = draws
        fake_losses = []
        for turn in of_fake:
            fake_losses += self.fake.update(accelerator, [partial(self.fake_loss, one) for one in turn])
        return fake_losses, self.generator.update(
            accelerator, [partial(self.generator_loss, one, identity) for one in of_generator]
        )

    def fake_loss(self, draws: BatchDraws) -> Losses:
        """Denoising score matching on what the generator draws, per dimension."""
        with torch.no_grad():
            x, labels = self.drawn(draws)
        sigma = draws.whole(self.draw_sigma, Stream.LEVELS)
        noise = draws.normal(self.shape, self.device)
        score = _given(self.fake.network, labels)
        loss = multi_level_denoising_score_matching(score, x, sigma.to(self.device), weight=self.weight, noise=noise)
        loss = loss / x[0].numel()
        return loss, loss.detach(), sigma

    def generator_loss(self, draws: BatchDraws, identity: bool = False) -> Losses:
        """The mean of g · x, whose derivative is g, or the identity's loss; shown is the mean size of g."""
        x, labels = self.drawn(draws)
        sigma = draws.whole(self.draw_sigma, Stream.LEVELS)
        noise = draws.normal(self.shape, self.device)
        teacher: NoisyScoreFn = self.teacher
        if labels is not None:
            teacher = classifier_free(labels, self.num_classes, *self.guidance)(self.teacher)
        # Nothing is learned of it here: the processes have no gradients of it to exchange.
        network = extract_model_from_parallel(self.fake.network)
        with _held(network):
            fake = _given(network, labels)
            if identity:
                return *identity_loss(teacher, fake, x, sigma.to(self.device), noise), sigma
            g = matching_gradient(teacher, fake, x, sigma.to(self.device), noise)
        return (g * x).flatten(1).mean(1), g.abs().flatten(1).mean(1), sigma

    def drawn(self, draws: BatchDraws) -> tuple[Tensor, Tensor | None]:
        """Samples of the generator, `(B, *D)`, each of one of its levels, and their classes, `(B,)`."""
        count = len(self.levels)
        noise = draws.normal((count, *self.shape), self.device, Stream.START)
        chosen = draws.whole(lambda n, generator: torch.randint(count, (n,), generator=generator), Stream.PLACES)
        labels = self._classes(draws)
        score = _given(self.generator.network, labels)
        x = generate(score, noise, self.levels.to(self.device), chosen.to(self.device))
        return x if self.ends is None else within(x, *self.ends), labels

    def _classes(self, draws: BatchDraws) -> Tensor | None:
        if (classes := self.num_classes) is None:
            return None
        draw = lambda n, generator: torch.randint(classes, (n,), generator=generator)  # noqa: E731
        return draws.whole(draw, Stream.LABELS).to(self.device)


@contextmanager
def _held(network: nn.Module) -> Iterator[None]:
    """Lets no gradient into a network's weights, only through them."""
    learned = [parameter for parameter in network.parameters() if parameter.requires_grad]
    for parameter in learned:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in learned:
            parameter.requires_grad_(True)


def _given(network: nn.Module, labels: Tensor | None) -> NoisyScoreFn:
    """A network's score, float32, given classes."""
    classes = {} if labels is None else {"class_labels": labels}
    return lambda x, sigma: network(x, sigma, **classes).sample.float()
