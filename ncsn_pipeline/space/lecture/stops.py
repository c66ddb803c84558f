"""The stops of the lecture: what each of its claims is called in a list, and its equation as LaTeX.

The claims themselves, their place in the lecture and the equations in plain text are the experiments' own.
"""

from dataclasses import dataclass
from itertools import groupby

from ncsn_pipeline.lecture import EXPERIMENTS, Claim

LEARNING = "Learning a score"
FOLLOWING = "Following it"
FAILING = "What goes wrong"
MANY_LEVELS = "Many noise levels"
ONE_NETWORK = "One network"
IN_PASSING = "Said on the way"


@dataclass(frozen=True)
class Stop:
    """One claim of the lecture on the page.

    Args:
        theme: the heading that it stands under.
        title: a few words for the list.
        latex: its equation.
    """

    theme: str
    title: str
    latex: str


STOPS = {
    "vector-field": Stop(LEARNING, "An arrow at every point", r"s_\theta(x, \sigma) \approx \nabla_x \log p_\sigma(x)"),
    "implicit": Stop(
        LEARNING,
        "Without the true score",
        r"\mathbb E\,\tfrac12\|s\|^2 + \operatorname{tr}\partial_x s"
        r" = \mathbb E\,\tfrac12\|s - s^*\|^2 - \mathbb E\,\tfrac12\|s^*\|^2",
    ),
    "denoising": Stop(
        LEARNING,
        "Learning by denoising",
        r"\tfrac12\bigl\|s(x + \sigma z) + \tfrac{z}{\sigma}\bigr\|^2, \quad"
        r" \mathbb E[x \mid \tilde x] = \tilde x + \sigma^2 s(\tilde x)",
    ),
    "noised-target": Stop(
        LEARNING,
        "Its price: the noised density",
        r"\arg\min_s\, \mathbb E\bigl\|s(x + \sigma z) + \tfrac{z}{\sigma}\bigr\|^2"
        r" = \nabla\log p_\sigma \neq \nabla\log p",
    ),
    "sliced": Stop(
        LEARNING,
        "Random projections",
        r"\mathbb E_v\bigl[v^\top (\partial_x s)\, v\bigr] + \tfrac12\|s\|^2"
        r" = \operatorname{tr}\partial_x s + \tfrac12\|s\|^2",
    ),
    "langevin": Stop(FOLLOWING, "Arrows and a little noise", r"x \leftarrow x + \alpha\, s(x) + \sqrt{2\alpha}\, z"),
    "manifold": Stop(FAILING, "Off the manifold it explodes", r"\|\nabla\log p_\sigma(x)\| \sim \frac{d(x)}{\sigma^2}"),
    "clean-loss": Stop(
        FAILING,
        "A bumpy loss",
        r"\mathbb E\,\tfrac12\|s\|^2 + \operatorname{tr}\partial_x s \;\ge\; -\frac{D}{2\sigma^2}"
        r" \;\text{ with noise; no floor without}",
    ),
    "low-density": Stop(
        FAILING,
        "Wrong where data are rare",
        r"J = \tfrac12\, \mathbb E_{p_\sigma}\|s_\theta(x) - \nabla\log p_\sigma(x)\|^2",
    ),
    "mixing": Stop(FAILING, "The wrong proportion", r"x \leftarrow x + \alpha\, \nabla\log p(x) + \sqrt{2\alpha}\, z"),
    "one-sigma": Stop(
        FAILING,
        "One noise level: a dilemma",
        r"s_\theta \approx \nabla\log p_\sigma, \quad p_\sigma = p * \mathcal N(0, \sigma^2 I)",
    ),
    "many-sigmas": Stop(
        MANY_LEVELS,
        "A direction near and far",
        r"s_\theta(x, \sigma_i) \approx \nabla\log p_{\sigma_i}(x), \quad \sigma_1 > \dots > \sigma_L",
    ),
    "annealing": Stop(
        MANY_LEVELS,
        "Annealed Langevin dynamics",
        r"x \leftarrow x + \alpha_i\, s(x, \sigma_i) + \sqrt{2\alpha_i}\, z, \quad"
        r" \alpha_i = \epsilon\,\frac{\sigma_i^2}{\sigma_L^2}",
    ),
    "continuum": Stop(
        MANY_LEVELS,
        "A continuum of levels",
        r"\frac{dx}{d\sigma} = -\sigma\, s(x, \sigma), \quad"
        r" \log p_0(x) = \log p_T(x_T) - \int \sigma \operatorname{tr}\partial_x s \; d\sigma",
    ),
    "one-network": Stop(
        ONE_NETWORK,
        "One network for all levels",
        r"\min_s\, \tfrac1L \sum_i \lambda_i\, "
        r"\mathbb E\bigl\|s(x + \sigma_i z, \sigma_i) + \tfrac{z}{\sigma_i}\bigr\|^2, \quad"
        r" \lambda_i = \sigma_i^2\, \frac{\sigma_i^2 + \sigma_\text{data}^2}{\sigma_\text{data}^2}",
    ),
    "conservative": Stop(ONE_NETWORK, "Once around a loop", r"\oint s \cdot dx = 0 \;\text{ where }\; s = -\nabla E"),
    "never-lost": Stop(
        IN_PASSING,
        "An annealed chain is never lost",
        r"\mathbb E_\text{chain}\bigl\|s_\theta(x, \sigma_i) - \nabla\log p_{\sigma_i}(x)\bigr\|^2"
        r" \;\text{ is small at every level}",
    ),
    "clean-score": Stop(
        IN_PASSING,
        "Sliced learns the clean score",
        r"\arg\min_s\, \mathbb E\, v^\top (\partial_x s)\, v + \tfrac12\|s\|^2 = \nabla\log p, \quad"
        r" \arg\min_s\, \mathbb E\bigl\|s(x + \sigma z) + \tfrac{z}{\sigma}\bigr\|^2 = \nabla\log p_\sigma",
    ),
    "noisy-samples": Stop(
        IN_PASSING,
        "One level gives noisy samples",
        r"\operatorname{Var} x = \sigma_\text{data}^2 + \sigma^2, \quad"
        r" \operatorname{Var}\bigl[x + \sigma^2 \nabla\log p_\sigma(x)\bigr]"
        r" = \frac{\sigma_\text{data}^4}{\sigma_\text{data}^2 + \sigma^2}",
    ),
    "full-support": Stop(
        IN_PASSING, "Noise gives full support", r"p_\sigma = p * \mathcal N(0, \sigma^2 I) > 0 \;\text{ everywhere}"
    ),
    "vanishing-price": Stop(
        IN_PASSING,
        "The price goes to 0",
        r"\mathbb E_p\|\nabla\log p_\sigma - \nabla\log p\|^2"
        r" = \tfrac{\sigma^4}{4}\, \mathbb E_p\bigl\|\nabla\tfrac{\Delta p}{p}\bigr\|^2 + O(\sigma^6)",
    ),
    "wrong-sigma": Stop(
        IN_PASSING,
        "It must be told the right sigma",
        r"\mathbb E_{p_{\sigma_i}}\|s_\theta(x, \sigma_j) - \nabla\log p_{\sigma_i}(x)\|^2"
        r" \;\text{ is least at }\; \sigma_j = \sigma_i",
    ),
}
NAMES = tuple(EXPERIMENTS)


def claim_of(name: str) -> Claim:
    """What the lecture says there."""
    return EXPERIMENTS[name].CLAIM


def file_of(name: str) -> str:
    """The experiment's file, from the project's folder."""
    return EXPERIMENTS[name].__name__.replace(".", "/") + ".py"


def themes() -> dict[str, list[str]]:
    """The names of the experiments under each heading, in the order of the lecture."""
    return {theme: list(names) for theme, names in groupby(NAMES, lambda name: STOPS[name].theme)}
