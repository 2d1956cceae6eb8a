"""Finds images of the same person: ``python projects/daam/search.py ...``."""

import sys

from torchreid_daam.cli import command_main

if __name__ == '__main__':
    sys.exit(command_main('search'))
