"""Trains the classifier in whose features samples are measured. The code is ncsn_pipeline.evaluation."""

from ncsn_pipeline.evaluation.train_classifier import main

if __name__ == "__main__":
    main()
