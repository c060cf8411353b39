"""The host lock: a hub in an SQLite file has one host process at a time.

The operating system holds the lock for the process, so that it vanishes with it however it ends.
Who holds it stands in the table ``hosts``.
"""

from __future__ import annotations

from pathlib import Path

from filelock import FileLock, Timeout

from soloist.errors import StoreUnavailable


class HostLock:
    """The right to be the host of one hub. Not shared between threads."""

    def __init__(self, database: Path, hub_id: int) -> None:
        self._path = database.with_name(f"{database.name}.hub{hub_id}.lock")
        self._lock = FileLock(self._path, thread_local=False)

    @property
    def is_held(self) -> bool:
        """Whether this object holds it."""
        return self._lock.is_locked

    def take(self) -> bool:
        """Take it at once, or return ``False`` when another process has it.

        Raises:
            StoreUnavailable: the lock file cannot be made.
        """
        if self.is_held:
            return True
        try:
            self._lock.acquire(timeout=0)
        except Timeout:
            return False
        except OSError as error:
            raise StoreUnavailable(
                f"The lock file {self._path} cannot be used: {error.strerror or error}. Give this"
                " user write access to its folder."
            ) from error
        return True

    def give_back(self) -> None:
        """Let it go; when it is not held this does nothing."""
        self._lock.release()
