"""Adapts a model: ``python projects/daam/main.py --config-file ...``."""

import signal
import sys

if __name__ == '__main__':
    if signal.getsignal(signal.SIGINT) == signal.default_int_handler:
        # The import takes seconds, and Ctrl-C in it would be a traceback.
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    from torchreid_daam.cli import adapt_main

    sys.exit(adapt_main())
