"""``python -m torchreid_daam``."""

import sys

from torchreid_daam.cli import main

if __name__ == '__main__':
    sys.exit(main())
