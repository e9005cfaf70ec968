"""`python -m rlrf4rec`."""

import sys

from rlrf4rec.cli import main

sys.exit(main())
