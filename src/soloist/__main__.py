"""``python -m soloist`` is ``soloist``."""

from __future__ import annotations

from soloist.cli import main

main(prog_name="soloist")
