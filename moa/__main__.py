"""`python -m moa` is the `moa` command."""

import sys

from moa.cli.main import main

sys.exit(main())
