"""Trains a score network: `accelerate launch train/train.py --config mnist`. The loop: ncsn_pipeline/training/train.py."""

from ncsn_pipeline.training.train import main

if __name__ == "__main__":
    main()
