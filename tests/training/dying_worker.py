"""The command line, whose second torchrun worker is killed in the middle of its fifth step."""

import os
import signal
import sys

from depcli.cli import main
from depcli.training import loop

_real, _calls = loop.backward, []


def _backward(*args):
    _calls.append(1)
    if len(_calls) == 5 and os.environ["RANK"] == "1":
        os.kill(os.getpid(), signal.SIGKILL)
    return _real(*args)


loop.backward = _backward
sys.exit(main())
