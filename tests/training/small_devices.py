"""The command line on devices with hardly any memory."""

import sys

from depcli.cli import main
from depcli.training import backbone

backbone.free_memory = lambda device: 1000
sys.exit(main())
