"""Trains a score network: `accelerate launch train/train.py --config mnist`; the loop is in the package."""

import sys

from ncsn_pipeline.training.__main__ import main

if __name__ == "__main__":
    sys.exit(main())
