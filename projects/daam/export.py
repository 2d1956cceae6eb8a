"""Exports a model: ``python projects/daam/export.py RUN_OR_CHECKPOINT``."""

import sys

from torchreid_daam.cli import export_main

if __name__ == '__main__':
    sys.exit(export_main())
