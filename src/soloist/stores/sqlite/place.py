"""The place of a hub file: whether its path still is the file that was opened.

An unlinked file goes on taking writes for as long as it is open, and whoever opens its path makes
another one. So it is looked up before a group of writes begins, and again before anybody is told
that it was committed.
"""

from __future__ import annotations

import os
from pathlib import Path

from soloist.errors import StoreGone, StoreUnavailable
from soloist.telemetry import logger

_log = logger(__name__)


class Place:
    """The path of a hub file, and which file it named when it was opened."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._absolute = path
        self._file: tuple[int, int] | None = None
        self._gone: str | None = None

    def note(self) -> None:
        """Take the file that is there now for the one that was opened.

        Raises:
            StoreGone: there is none.
        """
        self._absolute = self._path.absolute()  # the app may change the working folder
        self._gone = None
        self._file = self._found()
        if self._file is None:
            self._lose()

    def check(self) -> None:
        """Look whether the path still is the file; a file that was gone once stays gone.

        Raises:
            StoreGone: it was removed or replaced.
            StoreUnavailable: it cannot be looked up.
        """
        self.check_told()
        if self._file is not None and self._found() != self._file:
            self._lose()

    def check_told(self) -> None:
        """Look whether the file was found to be gone before; this costs nothing.

        Raises:
            StoreGone: it was.
        """
        if self._gone is not None:
            raise StoreGone(self._gone)

    def _found(self) -> tuple[int, int] | None:
        try:
            status = os.stat(self._absolute)  # noqa: PTH116  # half the cost of Path.stat
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise StoreUnavailable(
                f"The task hub file {self._path} cannot be looked up: {error.strerror or error}."
                " Give this user access to its folder."
            ) from error
        return status.st_dev, status.st_ino

    def _lose(self) -> None:
        self._gone = (
            f"The task hub file {self._absolute} was removed or replaced under the host, which can"
            " save nothing any more. Stop the host, restore the file, and start it again."
        )
        _log.error("the task hub file is gone", reason=self._gone)
        raise StoreGone(self._gone)
