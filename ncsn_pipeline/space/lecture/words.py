"""The lecture's claims in words: what each says and where to look, and where the Playground shows it moving."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Words:
    """A claim explained.

    Args:
        text: what it says, and what to look for in the picture.
        moving: settings of the Playground that show it, as in the page's address; None where it cannot.
    """

    text: str
    moving: str | None = None


WORDS = {
    "vector-field": Words(
        "A score points, from every place, to where data are likelier, and is longer where the density rises "
        "faster. Compare the arrows of the true score with those of the network.",
        "playground.density=spiral",
    ),
    "implicit": Words(
        "Nobody knows the true score of images. Integration by parts removes it from the loss; what remains is "
        "known of the model alone, but one derivative per dimension has to be taken. Look at how the time grows.",
    ),
    "denoising": Words(
        "Add noise to a sample and let the network guess that noise: the best guess, divided by -σ, is the score of "
        "the noised data. So a denoiser is a score, and the other way round.",
    ),
    "noised-target": Words(
        "What denoising learns is the score with the noise in it. The smaller the noise, the nearer it is to the "
        "clean score, and the harder to learn.",
        "playground.sigma=1&playground.density=spiral",
    ),
    "sliced": Words(
        "Instead of all derivatives, one along a random direction: right on average, at about twice the cost of a "
        "denoising step in any number of dimensions. Look at the spread of the estimates, and at the time per step.",
    ),
    "langevin": Words(
        "Step along the arrow and add a little noise, again and again: after many steps the points are spread as "
        "the density is, a little too widely where steps are large.",
        "playground.step=0.5",
    ),
    "manifold": Words(
        "Data fill a thin part of the space, as points on a curve. Beside it the arrows grow without bound as the "
        "noise shrinks; those of a network, which saw no point there, grow less. Images of digits lie near a plane of "
        "fewer dimensions than they have pixels.",
        "playground.density=ring&playground.sigma=0.05",
    ),
    "clean-loss": Words(
        "On clean images a steeper and steeper score has an ever lower loss, and the curve is bumpy. With a noise "
        "too small to be seen there is a least value: measured against its own size the loss has smaller bumps and "
        "changes less at the end, though it does not stand still.",
    ),
    "low-density": Words(
        "A network learns where samples are. Where it has seen hardly any, its arrows are off by a larger share of "
        "their length: look at the error between the modes.",
    ),
    "mixing": Words(
        "Between two modes the arrows say nothing of how much mass each has, and a particle hardly ever crosses. So "
        "the shares that were started with remain.",
        "playground.density=gaussians",
    ),
    "one-sigma": Words(
        "With little noise the score takes far longer to learn, and after the same training it is wrong; with much "
        "noise it is right, but for another density. In the Playground the scores are exact: there a large σ has the "
        "right shares and the wrong shape.",
        "playground.sigma=3",
    ),
    "many-sigmas": Words(
        "Large noise levels give a direction far from the data, small ones near them, where large ones do not. That "
        "small ones are lost far off was not confirmed: in the plane they point back to the data from there as well, "
        "with arrows of the wrong length.",
        "playground.density=ring",
    ),
    "annealing": Words(
        "Start at the largest noise level, where particles move between the modes, and take what comes out to the "
        "next smaller one. Shares are settled early, the shape at the end. With the exact score they come out right; "
        "with a learned one they come near, but that nothing but chance is left was not confirmed.",
        "playground.density=moons",
    ),
    "continuum": Words(
        "More and more levels in ever smaller steps become a path without noise, along which even the probability "
        "of a sample can be computed. With one step at each, ten levels are too few, and beyond a hundred little is "
        "gained: look at where the distance stops falling. That a learned score comes as near as it should with a "
        "thousand was not confirmed by every seed.",
        "playground.levels=24&playground.steps=20",
    ),
    "one-network": Words(
        "Scores at neighbouring noise levels are alike, so one network that is told σ learns them together, with far "
        "fewer weights: after half as many samples its error is a little larger. That it is worse after as many was "
        "not confirmed: then it is larger at some levels, smaller at others, and about as large on average.",
    ),
    "conservative": Words(
        "The arrows of a true score belong to a hill: once around a loop, ups and downs cancel. Those of a free "
        "network do not cancel exactly; of an energy they do. Samples of the two are about as good; that an energy "
        "helps no more than that was not confirmed: its score has the smaller error.",
    ),
    "never-lost": Words(
        "At a small noise level the network is wrong where that level has no samples. An annealed chain is never "
        "there: it comes from the level before. Compare the error along the chain with the error where it started. "
        "And a score that is right only near the samples which each level is handed leads the particles where the "
        "exact score does; that right near the level's own, narrower samples is enough was not confirmed.",
        "playground.density=moons",
    ),
    "clean-score": Words(
        "Two networks learn from the same data, one by sliced score matching, one by denoising. Each is held against "
        "the score of the clean data and against that of the noised data, and is near one of them only.",
    ),
    "noisy-samples": Words(
        "Samples drawn at one noise level are as wide as the noised data, not as the data. A last denoising step takes "
        "noise away, and with larger σ the data's own width too.",
        "playground.sigma=1",
    ),
    "full-support": Words(
        "Data on a curve have no score off the curve, and two networks say two things there. With noise there is a "
        "score everywhere; how large the noise must be to learn it on the whole square is what the curves show.",
        "playground.density=moons&playground.sigma=1",
    ),
    "vanishing-price": Words(
        "The distance from the noised score to the clean one falls as the square of σ where the density is smooth. "
        "Where it has edges, the price grows instead.",
    ),
    "wrong-sigma": Words(
        "Data are noised by one σ and the network is told another. Each row of the matrix is least where the two "
        "agree; for a network that is not told σ all columns are the same.",
    ),
}
