"""Refusals over gRPC: what the host says of itself in the errors that its clients raise.

The keys are those of ``soloist.rpc.errors``; an error of any other server has none of them.
"""

from __future__ import annotations

from typing import Any

KIND_KEY = "soloist-kind"
CONFLICT_KEY = "soloist-conflict-bin"


def facts_of(error: BaseException) -> dict[str, Any]:
    """Return what came along with an error of gRPC's; of other errors, nothing."""
    read = getattr(error, "trailing_metadata", None)
    if not callable(read):
        return {}
    try:
        return {str(key): value for key, value in read() or ()}
    except Exception:  # an error of somebody else's, with a method of that name
        return {}
