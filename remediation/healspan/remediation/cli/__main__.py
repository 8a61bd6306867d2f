"""``python -m healspan.remediation.cli``."""

import sys

from healspan.remediation.cli import main

sys.exit(main())
