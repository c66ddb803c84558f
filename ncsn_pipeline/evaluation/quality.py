"""How good a set of samples is: distance to real images, classes, and copies of training images.

With feature means mu and covariances S of the samples (1) and the test images (2):

    Frechet distance   ||mu_1 - mu_2||^2 + tr(S_1 + S_2 - 2 (S_1 S_2)^(1/2))       (Heusel et al., 2017)
    kernel distance    MMD^2 with the kernel k(a, b) = (a . b / F + 1)^3           (Binkowski et al., 2018; "KID")

Both are torchmetrics', in float64.  The Frechet distance of finite sets is biased upwards, the more so the smaller they
are.  The kernel distance is unbiased for independent draws; a set with equal numbers of each class is more even than
independent draws, which biases it downwards, to below zero.  So either means something only beside the distance of *as
many real images, chosen the same way*, which every result here carries.

Both need features made for such pictures.  Where there are none, :mod:`.measures` takes their place.
"""

import warnings
from dataclasses import dataclass, fields
from typing import Any

import torch
from torch import Tensor, nn

from ..data import ImageData
from .features import Features, as_floats, extract_features
from .measures import FEWEST_IMAGES, Measured, measure_pictures


class _GivenFeatures(nn.Identity):
    """Lets torchmetrics take features that are there already."""

    def __init__(self, num_features: int) -> None:
        super().__init__()
        self.num_features = num_features


def _check_pair(first: Tensor, second: Tensor) -> None:
    if first.ndim != 2 or second.ndim != 2 or first.shape[1] != second.shape[1] or min(len(first), len(second)) < 2:
        raise ValueError(
            "Two sets of at least two feature vectors of one length are needed, (N, F) and (M, F); "
            f"got {tuple(first.shape)} and {tuple(second.shape)}."
        )


def frechet_distance(first: Tensor, second: Tensor) -> float:
    """Frechet distance of the normal distributions fitted to two sets of features, `(N, F)` and `(M, F)`.

    Raises:
        ValueError: for fewer than two vectors in a set, or vectors of different lengths.
    """
    from torchmetrics.image.fid import FrechetInceptionDistance

    _check_pair(first, second)
    metric = FrechetInceptionDistance(feature=_GivenFeatures(first.shape[1]), normalize=True)
    metric.update(second.double(), real=True)
    metric.update(first.double(), real=False)
    return metric.compute().item()


def kernel_distance(first: Tensor, second: Tensor, *, subsets: int | None = None, seed: int = 0) -> tuple[float, float]:
    """Squared maximum mean discrepancy of two sets of features, unbiased: mean and standard deviation over subsets.

    Args:
        first: features, `(N, F)`.
        second: features, `(M, F)`.
        subsets: number of random subsets, each of half the smaller set and of 1,000 at most; by default so many that
            they hold 50,000 vectors together, and 200 at most.
        seed: of the subsets.

    Raises:
        ValueError: as :func:`frechet_distance`.
    """
    from torchmetrics.image.kid import KernelInceptionDistance

    _check_pair(first, second)
    size = min(1000, max(2, min(len(first), len(second)) // 2))
    with warnings.catch_warnings(), torch.random.fork_rng():  # torchmetrics draws subsets from the global generator
        warnings.filterwarnings("ignore", message="Metric `Kernel Inception Distance`")
        torch.manual_seed(seed)
        metric = KernelInceptionDistance(
            _GivenFeatures(first.shape[1]), subsets=subsets or min(200, -(-50_000 // size)), subset_size=size
        )
        metric.update(second.double(), real=True)
        metric.update(first.double(), real=False)
        mean, deviation = metric.compute()
    return mean.item(), deviation.item()


def nearest_neighbours(queries: Tensor, database: Tensor, *, batch_size: int = 256) -> tuple[Tensor, Tensor]:
    """The nearest image of `database` to each of `queries`, in L2 distance over all pixels in [0, 1].

    Args:
        queries: `(N, C, H, W)`, bytes or floats in [0, 1].
        database: `(M, C, H, W)`, likewise.
        batch_size: queries compared at once; memory is `4 batch_size M` bytes.

    Returns:
        Distances `(N,)`, float32, and indices into `database`, `(N,)`.

    Raises:
        ValueError: for images of different shapes.
    """
    if queries.shape[1:] != database.shape[1:]:
        raise ValueError(f"Images differ in shape: {tuple(queries.shape[1:])} and {tuple(database.shape[1:])}.")
    points = as_floats(database).flatten(1)
    half_squares = 0.5 * points.square().sum(1)
    distances, indices = [], []
    for part in as_floats(queries).flatten(1).split(batch_size):
        # ||q - p||^2 = ||q||^2 - 2 (q . p - ||p||^2 / 2): the nearest maximises the bracket.
        nearest = (part @ points.T - half_squares).argmax(1)
        distances.append((part - points[nearest]).norm(dim=1))
        indices.append(nearest)
    return torch.cat(distances), torch.cat(indices)


def balanced_indices(labels: Tensor | None, count: int, total: int, generator: torch.Generator) -> Tensor:
    """Indices of `count` of `total` images, drawn without replacement, the classes in rotation as long as they last.

    Args:
        labels: class numbers, `(total,)`, or `None` for a plain random choice.
        count: number of images; all of them if there are not as many.
        total: number of images to choose from.
        generator: source of the random numbers.
    """
    order = torch.randperm(total, generator=generator)
    if labels is not None:
        shuffled = labels[order]
        rank = torch.empty_like(shuffled)  # 0 for the first image of its class, 1 for the second, ...
        for label in shuffled.unique():
            rank[shuffled == label] = torch.arange(int((shuffled == label).sum()))
        order = order[(rank * (int(labels.max()) + 1) + shuffled).argsort()]
    return order[:count]


@dataclass(frozen=True)
class Distances:
    """Distances of one set of images to the test images.

    Args:
        count: number of images.
        frechet: Frechet distance.
        frechet_std: its spread over draws of real images; `None` for one set of samples, and where a draw is all of the
            real images.
        kernel: squared maximum mean discrepancy.
        kernel_std: its spread, over draws of real images (`None` as above), or over random subsets of the samples.
    """

    count: int
    frechet: float
    frechet_std: float | None
    kernel: float
    kernel_std: float | None


@dataclass(frozen=True)
class Neighbours:
    """L2 distances from a set of images to their nearest training images: two quantiles and the smallest."""

    count: int
    median: float
    quantile_01: float
    smallest: float

    @classmethod
    def of(cls, distances: Tensor) -> "Neighbours":
        """Statistics of distances `(N,)`."""
        median, quantile = distances.double().quantile(torch.tensor([0.5, 0.01], dtype=torch.float64)).tolist()
        return cls(len(distances), median, quantile, distances.min().item())


@dataclass(frozen=True)
class SampleQuality:
    """What :func:`evaluate_samples` measured; tensors are kept for the picture and left out of the JSON.

    Args:
        features: the name of the features that distances and classes are measured in; `None` for none, and then
            `samples`, `real`, `ratio` and everything about predicted classes is `None` too.
        samples: their distance to the test images.
        real: the same for as many training images, or for all if there are fewer; class-balanced if the samples are;
            mean over draws.
        ratio: Frechet distance of the samples over that of as many real images; 1 is as good as real; `None` if there
            are fewer of these.
        measures: those that suit any pictures, by the names of :mod:`.measures`; empty if they were not asked for.
        num_test_images: size of the test set.
        requested_classes: how many samples of each class were asked for, `(K,)`; `None` without labels.
        predicted_classes: how many were recognised as each class, `(K,)`; `None` without a classifier.
        agreement: fraction of samples classified as the class that was asked for.
        confidence: mean probability of the predicted class.
        real_confidence: the same of the test images.
        real_agreement: fraction of the test images classified as labelled: the ceiling of `agreement`.
        sample_neighbours: distances of the samples to their nearest training images.
        test_neighbours: the same of as many test images.
        closer_than_test: fraction of samples nearer to a training image than 99 % of the test images are; 0.01 is
            natural, much more is memorisation.  `None` where fewer than 100 are compared.
        sample_distances: distance of each sample to its nearest training image, `(N,)`.
        neighbour_indices: which training image that is, `(N,)`.
        test_distances: distances of the test images to theirs.
        predictions: predicted class of each sample, `(N,)`.
    """

    features: str | None
    samples: Distances | None
    real: Distances | None
    ratio: float | None
    measures: dict[str, Measured]
    num_test_images: int
    requested_classes: list[int] | None
    predicted_classes: list[int] | None
    agreement: float | None
    confidence: float | None
    real_confidence: float | None
    real_agreement: float | None
    sample_neighbours: Neighbours
    test_neighbours: Neighbours
    closer_than_test: float | None
    sample_distances: Tensor
    neighbour_indices: Tensor
    test_distances: Tensor
    predictions: Tensor | None

    def numbers(self) -> dict[str, Any]:
        """All but the tensors, as plain values for JSON."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        values["measures"] = {name: vars(value).copy() for name, value in self.measures.items()}
        return {
            name: vars(value).copy() if isinstance(value, (Distances, Neighbours)) else value
            for name, value in values.items()
            if name != "predictions" and not isinstance(value, Tensor)
        }


class RealImages:
    """Training and test images with what every evaluation needs of them, each computed once.

    Args:
        train: images that the model was trained on; the reference distance and the nearest neighbours come from them.
        test: images that it has not seen; every distance is to these.
        network: from `load_feature_network`; `None` where no features suit these pictures.
        seed: of the choice of training images.
        draws: number of sets of training images over which a reference distance is averaged.

    Raises:
        ValueError: for images that the network cannot take.
    """

    def __init__(
        self, train: ImageData, test: ImageData, network: nn.Module | None, *, seed: int = 0, draws: int = 3
    ) -> None:
        self.train, self.test, self.network = train, test, network
        self.seed, self.draws = seed, draws
        self.features: Features | None = extract_features(test.images, network) if network else None
        self._distances: dict[tuple[int, bool], Distances] = {}
        self._measures: dict[tuple[int, bool], dict[str, float]] = {}
        self._neighbours: dict[int, Tensor] = {}

    def distances(self, count: int, *, balanced: bool = True) -> Distances:
        """Distances of training images to the test images, mean over draws.

        Args:
            count: number of training images; all, if there are not as many.
            balanced: as many of each class, or drawn independently of the class.
        """
        count = min(count, len(self.train))
        if (count, balanced) not in self._distances:
            frechet, kernel = [], []
            for draw in range(1 if count == len(self.train) else self.draws):
                vectors = extract_features(self._drawn(count, balanced, draw), self.network).vectors
                frechet.append(frechet_distance(vectors, self.features.vectors))
                kernel.append(kernel_distance(vectors, self.features.vectors, seed=self.seed)[0])
            means = [torch.tensor(values, dtype=torch.float64) for values in (frechet, kernel)]
            spread = [values.std().item() if len(values) > 1 else None for values in means]
            self._distances[count, balanced] = Distances(
                count, means[0].mean().item(), spread[0], means[1].mean().item(), spread[1]
            )
        return self._distances[count, balanced]

    def measures(self, images: Tensor, vectors: Tensor | None, *, balanced: bool = True) -> dict[str, Measured]:
        """The measures of :mod:`.measures` of `images`, beside those of as many training images.

        Args:
            images: `(N, C, H, W)`, bytes; the first of them where there are fewer training images.
            vectors: their features, `(N, F)`; `None` without a feature network.
            balanced: as in :meth:`distances`.
        """
        count = min(len(images), len(self.train))
        images, vectors = images[:count], None if vectors is None else vectors[:count]
        order = balanced_indices(
            self.test.labels if balanced else None, len(self.test), len(self.test),
            torch.Generator().manual_seed(self.seed),
        )  # fmt: skip
        test, features = self.test.images[order], self.features and self.features.vectors[order]
        key = (count, balanced)
        if key not in self._measures:
            drawn = self._drawn(*key, 0)
            known = None if features is None else extract_features(drawn, self.network).vectors
            self._measures[key] = measure_pictures(drawn, test, known, features, seed=self.seed)
        found = measure_pictures(images, test, vectors, features, seed=self.seed)
        return {name: Measured(value, self._measures[key].get(name)) for name, value in found.items()}

    def _drawn(self, count: int, balanced: bool, draw: int) -> Tensor:
        """Training images in the place of samples, bytes `(count, C, H, W)`."""
        generator = torch.Generator().manual_seed(self.seed + draw)
        labels = self.train.labels if balanced else None
        return self.train.images[balanced_indices(labels, count, len(self.train), generator)]

    def neighbour_distances(self, count: int) -> Tensor:
        """Distances of `count` class-balanced test images to their nearest training images."""
        count = min(count, len(self.test))
        if count not in self._neighbours:
            generator = torch.Generator().manual_seed(self.seed)
            chosen = balanced_indices(self.test.labels, count, len(self.test), generator)
            self._neighbours[count] = nearest_neighbours(self.test.images[chosen], self.train.images)[0]
        return self._neighbours[count]


def evaluate_samples(
    images: Tensor, labels: Tensor | None, real: RealImages, *, seed: int = 0, measures: bool = False
) -> SampleQuality:
    """Measures samples against real images.

    Args:
        images: samples `(N, C, H, W)` in [0, 1], at least two; rounded to 8 bits, as pictures are.
        labels: the classes asked for, `(N,)` in the numbering of the data set, or `None`.
        real: the images to compare with; use one object for many evaluations.
        seed: of the subsets of the kernel distance.
        measures: measure what suits any pictures beside the features; without features it always is.

    Raises:
        ValueError: for fewer than two samples, values that are not finite, a shape unlike the real images', or as many
            labels as there are not samples.
    """
    if images.ndim != 4 or len(images) < 2 or images.shape[1:] != real.train.images.shape[1:]:
        raise ValueError(
            f"At least two samples of the data set's shape {tuple(real.train.images.shape[1:])} are needed; "
            f"got {tuple(images.shape)}."
        )
    if not images.isfinite().all():
        raise ValueError("Some samples hold NaN or infinity: the sampler diverged. Try a smaller step size.")
    if labels is not None and labels.shape != (len(images),):
        raise ValueError(f"One label a sample is needed, ({len(images)},); got {tuple(labels.shape)}.")
    images = (images.detach().cpu().float() * 255).round().clamp(0, 255).byte()
    labels = None if labels is None else labels.cpu()

    found = extract_features(images, real.network) if real.network else None
    samples = reference = None
    if found is not None:
        kernel, kernel_std = kernel_distance(found.vectors, real.features.vectors, seed=seed)
        frechet = frechet_distance(found.vectors, real.features.vectors)
        samples = Distances(len(images), frechet, None, kernel, kernel_std)
        reference = real.distances(len(images), balanced=labels is not None)
    measured = {}
    if measures or found is None:
        measured = real.measures(images, found and found.vectors, balanced=labels is not None)
    distances, indices = nearest_neighbours(images, real.train.images)
    test_distances = real.neighbour_distances(len(images))
    test_neighbours, closer_than_test = Neighbours.of(test_distances), None
    if test_neighbours.count >= FEWEST_IMAGES:
        closer_than_test = (distances < test_neighbours.quantile_01).double().mean().item()

    predictions = agreement = real_agreement = confidence = real_confidence = predicted = requested = None
    if found is not None and found.probabilities is not None:
        num_classes = found.probabilities.shape[1]
        highest, predictions = found.probabilities.max(1)
        predicted = predictions.bincount(minlength=num_classes).tolist()
        confidence, real_confidence = highest.mean().item(), real.features.probabilities.amax(1).mean().item()
        if labels is not None and labels.max() < num_classes:
            agreement = (predictions == labels).double().mean().item()
        if real.test.labels is not None:
            real_agreement = (real.features.probabilities.argmax(1) == real.test.labels).double().mean().item()
    if labels is not None:
        requested = labels.bincount(minlength=len(predicted) if predicted else 0).tolist()

    return SampleQuality(
        features=real.network.name if real.network else None,
        samples=samples,
        real=reference,
        ratio=samples.frechet / max(reference.frechet, 1e-12) if samples and samples.count == reference.count else None,
        measures=measured,
        num_test_images=len(real.test),
        requested_classes=requested,
        predicted_classes=predicted,
        agreement=agreement,
        confidence=confidence,
        real_confidence=real_confidence,
        real_agreement=real_agreement,
        sample_neighbours=Neighbours.of(distances),
        test_neighbours=test_neighbours,
        closer_than_test=closer_than_test,
        sample_distances=distances,
        neighbour_indices=indices,
        test_distances=test_distances,
        predictions=predictions,
    )
