"""Score networks: `forward(sample, sigma) -> .sample`, the score.  One network a file.

modeling_score_unet, modeling_score_mlp    images, and points in D dimensions
modeling_ncsn                              the original networks, as people's checkpoints have them
modeling_ddpm_score                        a DDPM's U-Net as a score at any sigma
energy, ensemble                           wrappers: a score that is a gradient; a network for each noise level
score_function                             any of them as a plain function
"""

from ncsn_pipeline.networks.energy import EnergyModel
from ncsn_pipeline.networks.ensemble import ScoreEnsemble
from ncsn_pipeline.networks.modeling_ddpm_score import DDPMScoreModel, DDPMScoreModelOutput
from ncsn_pipeline.networks.modeling_ncsn import NCSNModel, NCSNOutput, NCSNv2Model
from ncsn_pipeline.networks.modeling_score_mlp import ScoreMLP, ScoreMLPOutput
from ncsn_pipeline.networks.modeling_score_unet import ScoreUNet, ScoreUNetOutput
from ncsn_pipeline.networks.score_function import NoisyScoreFn, as_score_function

__all__ = [
    "DDPMScoreModel",
    "DDPMScoreModelOutput",
    "EnergyModel",
    "NCSNModel",
    "NCSNOutput",
    "NCSNv2Model",
    "NoisyScoreFn",
    "ScoreEnsemble",
    "ScoreMLP",
    "ScoreMLPOutput",
    "ScoreUNet",
    "ScoreUNetOutput",
    "as_score_function",
]
