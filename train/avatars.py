"""Draws a data set of avatars: `python train/avatars.py --output_dir runs/data/avatars`."""

import sys

from ncsn_pipeline.data.avatars import main

if __name__ == "__main__":
    sys.exit(main())
