"""Score networks: `forward(sample, sigma) -> .sample`, the score.  One network a file."""

from ncsn_pipeline.networks.modeling_score_unet import ScoreUNet, ScoreUNetOutput
from ncsn_pipeline.networks.score_function import NoisyScoreFn, as_score_function

__all__ = ["NoisyScoreFn", "ScoreUNet", "ScoreUNetOutput", "as_score_function"]
