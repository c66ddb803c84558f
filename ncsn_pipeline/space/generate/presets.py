"""Settings worth looking at, a button each: two that work, the paper's, and three ways to go wrong."""

from ..widgets.presets import Preset


def presets(default: dict[str, str | float]) -> list[Preset]:
    """The presets of a page that starts with the settings `default`, by the names of `check_generate`'s arguments."""
    names = ("sampler", "ladder", "sigma_max", "sigma_min", "num_levels", "step_mode", "noise_back")
    good = {name: default[name] for name in names}
    langevin = good | {"sampler": "annealed_langevin", "steps_per_level": 5}
    return [
        Preset(
            "50 evaluations",
            "Consistent annealed sampling, one evaluation per level: each step removes some of the noise and puts back "
            "what the next level asks for.",
            good,
        ),
        Preset(
            "Fast: 20",
            "The same sampler with Karras spacing, which spends its levels where images take shape: less than half "
            "the evaluations, for images that are a little rougher.",
            good | {"ladder": "karras", "num_levels": 20},
        ),
        Preset(
            "As in the NCSN paper",
            "Annealed Langevin dynamics: 10 levels from 1 to 0.01, 100 steps each, ε = 2·10⁻⁵ as in its released code, "
            "which like this page steps by α s + √(2α) z. Here it starts from noise of σ max, and a denoising step "
            "ends it. σ max = 1 is below the data's extent, and neighbouring levels barely overlap; the next paper "
            "mends both.",
            langevin
            | {"sigma_max": 1, "sigma_min": 0.01, "num_levels": 10, "steps_per_level": 100}
            | {"step_mode": "fraction", "step_fraction": 0.1},
        ),
        Preset(
            "One noise level",
            "Langevin dynamics at a single σ = 0.5, from pure noise. The chain has not arrived: at this level the "
            "images lie far apart and a step is short, so 100 steps go a small part of the way from noise to them. "
            "What the one denoising step at the end makes of it are fragments.",
            langevin | {"sigma_max": 0.5, "num_levels": 1, "steps_per_level": 100},
        ),
        Preset(
            "Step too large",
            "At nine tenths of the limit ε = 2σ² every step overshoots, and the chain settles with three times the "
            "noise that its level names. The network never learned to look there: images break. From the limit on "
            "the chain diverges.",
            langevin | {"step_mode": "fraction", "step_fraction": 0.9},
        ),
        Preset(
            "σ max too small",
            "The noise levels start at σ = 0.3, as if the noise already held a faint image. It holds none, so the "
            "network makes something out of pure noise that no image is.",
            good | {"sigma_max": 0.3},
        ),
    ]
