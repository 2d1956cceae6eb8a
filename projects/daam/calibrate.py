"""A threshold for one person: ``python projects/daam/calibrate.py ...``."""

import sys

from torchreid_daam.cli import command_main

if __name__ == '__main__':
    sys.exit(command_main('calibrate'))
