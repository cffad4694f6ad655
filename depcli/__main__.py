"""`python -m depcli`, and `torchrun ... -m depcli`: the command line."""

import sys

from depcli.cli import main

sys.exit(main())
