"""What the tests of this face share."""

from __future__ import annotations

import io
import logging
from collections.abc import Iterator

import pytest
import structlog

from soloist.telemetry import configure_logging


@pytest.fixture
def log() -> Iterator[io.StringIO]:
    """Return what is logged meanwhile, as ``key=value`` lines."""
    root = logging.getLogger()
    before = (root.handlers, root.level)
    stream = io.StringIO()
    configure_logging(stream=stream)
    yield stream
    structlog.reset_defaults()
    root.handlers, _ = before
    root.setLevel(before[1])
