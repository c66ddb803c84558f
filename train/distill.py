"""Distils a model: `accelerate launch train/distill.py --teacher mnist`; the loop is in the package."""

import sys

from ncsn_pipeline.training.distill_config import DistillConfig
from ncsn_pipeline.training.program import run_program

if __name__ == "__main__":
    sys.exit(run_program(DistillConfig, "distill", None, "distill.py"))
