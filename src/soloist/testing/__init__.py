"""For users' tests: a whole hub in memory, a clock that jumps, an app run in-process."""

from __future__ import annotations

from soloist.testing.clock import JumpClock

__all__ = ["JumpClock"]
