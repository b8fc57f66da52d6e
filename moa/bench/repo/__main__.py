"""Write the repositories to the folder that is named."""

import sys
from pathlib import Path

from moa.bench.repo import suite

if len(sys.argv) != 2:
    sys.exit("python -m moa.bench.repo FOLDER")
suite.write(Path(sys.argv[1]))
