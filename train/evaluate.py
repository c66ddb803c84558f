"""Measures a model's samples: `python train/evaluate.py --model FOLDER`. The code is ncsn_pipeline.evaluation."""

from ncsn_pipeline.evaluation.evaluate import main

if __name__ == "__main__":
    main()
