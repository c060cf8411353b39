"""For users' tests: a clock that jumps.

A whole app runs in-process by ``soloist.app.open_host`` with ``in_process=True`` and the store
``memory:``.
"""

from __future__ import annotations

from soloist.testing.clock import JumpClock

__all__ = ["JumpClock"]
