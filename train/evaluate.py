"""Measures a model's samples: `python train/evaluate.py --model FOLDER`, the same as `ncsn evaluate`."""

import sys

from ncsn_pipeline.commands.evaluate import main

if __name__ == "__main__":
    sys.exit(main())
