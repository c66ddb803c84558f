"""Score-based generative models with many noise levels, sampled by annealed Langevin dynamics.

A score is a function `(x, sigma) -> score`, the gradient of the log density of the data noised by sigma.  Everything
here makes one, learns one, or follows one.  Read it in this order:

    densities        scores that are known exactly
    score_matching   how a score is learned from samples
    noise_levels     which sigmas, and the loss that trains a network on all of them
    networks         score networks, for images and for points
    sampling         annealed Langevin dynamics and its relatives, as schedulers and step by step; likelihoods
    guidance         a score, given something
    pipelines        images from noise, from a part of an image, from a measurement
    data             images to learn from
    convert          checkpoints of the authors' code, as pipelines: `ncsn convert`
    hub              model cards, and the push to the Hub: `ncsn hub`
    training         the training loop: `accelerate launch train/train.py`, `ncsn train`
    evaluation       how good samples are: `ncsn evaluate`
    diagnostics      how good a score, a chain or a set of samples is; `diagnostics.plots` draws
    lecture          the claims of a lecture on all this, as experiments: `ncsn lecture`
"""

import importlib
from typing import TYPE_CHECKING, Any

# Where each public name is; the rest lives in its folder.  Nothing is imported before it is asked for.
_PLACES = {
    "densities": "GaussianMixture exact_score_function",
    "score_matching": "denoising_score_matching",
    "noise_levels": "diagnose_noise_levels geometric_noise_levels karras_noise_levels "
    "multi_level_denoising_score_matching "
    "step_size_for_variance suggest_noise_levels uniform_noise_levels",
    "networks": "DDPMScoreModel EnergyModel NCSNModel NCSNv2Model ScoreMLP ScoreUNet as_score_function",
    "sampling": "AnnealedLangevinScheduler ConsistentAnnealedScheduler PredictorCorrectorScheduler "
    "annealed_langevin_dynamics langevin_dynamics log_likelihood",
    "pipelines": "NCSNInpaintPipeline NCSNPipeline NCSNPosteriorPipeline",
    "convert": "convert_checkpoint",
    "hub": "push_folder write_card",
    "diagnostics": "mode_weights",
}
_FOLDER_OF = {name: folder for folder, names in _PLACES.items() for name in names.split()}
_FOLDERS = {*_PLACES, "commands", "data", "evaluation", "guidance", "lecture", "space", "training"}

__version__ = "0.1.0"

__all__ = [
    "AnnealedLangevinScheduler",
    "ConsistentAnnealedScheduler",
    "DDPMScoreModel",
    "EnergyModel",
    "GaussianMixture",
    "NCSNInpaintPipeline",
    "NCSNModel",
    "NCSNPipeline",
    "NCSNPosteriorPipeline",
    "NCSNv2Model",
    "PredictorCorrectorScheduler",
    "ScoreMLP",
    "ScoreUNet",
    "annealed_langevin_dynamics",
    "as_score_function",
    "convert_checkpoint",
    "denoising_score_matching",
    "diagnose_noise_levels",
    "exact_score_function",
    "geometric_noise_levels",
    "karras_noise_levels",
    "langevin_dynamics",
    "log_likelihood",
    "mode_weights",
    "multi_level_denoising_score_matching",
    "push_folder",
    "step_size_for_variance",
    "suggest_noise_levels",
    "uniform_noise_levels",
    "write_card",
]


def __getattr__(name: str) -> Any:
    """A public name or a folder of the package, imported now.

    Raises:
        AttributeError: for any other name.
    """
    if name in _FOLDERS:
        return importlib.import_module(f"{__name__}.{name}")
    if name in _FOLDER_OF:
        return getattr(importlib.import_module(f"{__name__}.{_FOLDER_OF[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    """What there is to ask for."""
    return sorted({*globals(), *__all__, *_FOLDERS})


if TYPE_CHECKING:
    from ncsn_pipeline.convert import convert_checkpoint
    from ncsn_pipeline.densities import GaussianMixture, exact_score_function
    from ncsn_pipeline.diagnostics import mode_weights
    from ncsn_pipeline.hub import push_folder, write_card
    from ncsn_pipeline.networks import (
        DDPMScoreModel,
        EnergyModel,
        NCSNModel,
        NCSNv2Model,
        ScoreMLP,
        ScoreUNet,
        as_score_function,
    )
    from ncsn_pipeline.noise_levels import (
        diagnose_noise_levels,
        geometric_noise_levels,
        karras_noise_levels,
        multi_level_denoising_score_matching,
        step_size_for_variance,
        suggest_noise_levels,
        uniform_noise_levels,
    )
    from ncsn_pipeline.pipelines import NCSNInpaintPipeline, NCSNPipeline, NCSNPosteriorPipeline
    from ncsn_pipeline.sampling import (
        AnnealedLangevinScheduler,
        ConsistentAnnealedScheduler,
        PredictorCorrectorScheduler,
        annealed_langevin_dynamics,
        langevin_dynamics,
        log_likelihood,
    )
    from ncsn_pipeline.score_matching import denoising_score_matching
