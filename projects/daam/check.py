"""Looks at a run's images first: ``python projects/daam/check.py ...``."""

import sys

from torchreid_daam.cli import command_main

if __name__ == '__main__':
    sys.exit(command_main('check'))
