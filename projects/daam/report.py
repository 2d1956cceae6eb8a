"""Reports on a run: ``python projects/daam/report.py RUN``."""

import sys

from torchreid_daam.cli import report_main

if __name__ == '__main__':
    sys.exit(report_main())
