"""``python -m soloist_worker --fd N``."""

import sys

from soloist_worker.process import main

sys.exit(main())
