"""Writes the vectors of images: ``python projects/daam/extract.py ...``."""

import sys

from torchreid_daam.cli import command_main

if __name__ == '__main__':
    sys.exit(command_main('extract'))
