"""`python -m ncsn_pipeline`, the same as `ncsn`."""

import sys

from .commands import main

if __name__ == "__main__":
    sys.exit(main())
