"""The engine: the only room that moves on its own.

It leases due instances from the store, keeps each that is being worked on as a hot session, lets
an executor run the user's code, and commits what the pure core makes of it.
"""

from __future__ import annotations

from soloist.engine.engine import DrainProgress, Engine
from soloist.engine.settings import EngineSettings

__all__ = ["DrainProgress", "Engine", "EngineSettings"]
