"""Entry of `python -m grain_model`."""

import sys

from .cli import main

if __name__ == "__main__":
    sys.exit(main())
