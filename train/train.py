"""Trains a score network: `accelerate launch train/train.py --config mnist`; the loop is in the package."""

from ncsn_pipeline.training.train import main

if __name__ == "__main__":
    main()
