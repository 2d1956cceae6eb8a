"""The paper's tables: ``python projects/daam/ablation.py table3 table4``."""

import sys

from tables.command import main

if __name__ == '__main__':
    sys.exit(main())
