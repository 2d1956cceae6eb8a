"""Adapts a model: ``python projects/daam/main.py --config-file ...``."""

import sys

from torchreid_daam.cli import adapt_main

if __name__ == '__main__':
    sys.exit(adapt_main())
