"""``soloist`` as it is where the extra ``grpc`` is not installed."""

from __future__ import annotations

import sys

from soloist.cli import main

if __name__ == "__main__":
    sys.modules["durabletask"] = None  # type: ignore[assignment]  # how an import is forbidden
    main()
