"""The command line for torchrun, after one word on what is odd: `small`, devices have hardly any memory; `dying`, the second
worker is killed in the middle of its fifth step; `small+dying`."""

import os
import signal
import sys

from depcli.cli import main
from depcli.training import backbone, loop

_odd, _real, _calls = sys.argv.pop(1), loop.backward, []


def _backward(*args):
    _calls.append(1)
    if len(_calls) == 5 and os.environ["RANK"] == "1":
        os.kill(os.getpid(), signal.SIGKILL)
    return _real(*args)


if "small" in _odd:
    backbone.free_memory = lambda device: 1000
if "dying" in _odd:
    loop.backward = _backward
sys.exit(main())
