"""Images from noise, in the interface of diffusers."""

from ncsn_pipeline.pipelines.ddpm import from_ddpm
from ncsn_pipeline.pipelines.folders import NCSNPipeline
from ncsn_pipeline.pipelines.inpainting import NCSNInpaintPipeline
from ncsn_pipeline.pipelines.posterior import NCSNPosteriorPipeline

__all__ = ["NCSNInpaintPipeline", "NCSNPipeline", "NCSNPosteriorPipeline", "from_ddpm"]
