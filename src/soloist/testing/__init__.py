"""For users' tests: a whole app in this process, and a clock that jumps. See docs/testing.md."""

from __future__ import annotations

from soloist.testing.apps import AppUnderTest, app_under_test
from soloist.testing.clock import JumpClock

__all__ = ["AppUnderTest", "JumpClock", "app_under_test"]
