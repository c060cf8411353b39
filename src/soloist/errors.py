"""Every error Soloist raises on purpose, as one tree.

The *class* says whose fault it is; ``kind`` says what sort of failure it is, and is all that a
face needs to translate an error into its own protocol.

    SoloistError
    ├── RequestError              the caller asked for something that cannot be done
    │   ├── InvalidRequest            malformed: an id, a name, a payload, a parameter
    │   │   └── PayloadTooLarge       larger than the configured bound
    │   ├── FunctionNotFound          no function of that name and kind in the app
    │   ├── InstanceNotFound          no instance of that id
    │   ├── InstanceExists            a start met an instance that blocks it
    │   ├── InstanceFinished          the instance takes no more events
    │   ├── InstanceUnfinished        the instance must be finished first
    │   └── InstanceNotFailed         only a failed instance can be rewound
    ├── AppError                  the user's Function app is at fault
    │   ├── AppLoadFailed             it cannot be imported or describes itself wrongly
    │   └── WorkerLost                its process died while working
    │       └── WorkerAbsent              there was no process to give the work to
    ├── HubError                  the task hub or its data is at fault
    │   ├── HubInUse                  another host process runs this hub
    │   ├── HubTooNew                 written by a newer Soloist
    │   └── HistoryCorrupt            a stored history breaks a law
    ├── StoreUnavailable          the database does not answer, is full or is locked
    │   └── StoreGone                 its file was taken away from under the host
    ├── Overloaded                a bound is reached; the same call may succeed later
    └── SettingsError             a setting or an option is wrong
"""

from __future__ import annotations

from enum import StrEnum
from typing import ClassVar


class Kind(StrEnum):
    """What sort of failure an error is; faces translate this and nothing else."""

    INVALID = "invalid"
    TOO_LARGE = "too_large"
    NOT_FOUND = "not_found"
    CONFLICT = "conflict"
    GONE = "gone"
    PRECONDITION = "precondition"
    EXHAUSTED = "exhausted"
    UNAVAILABLE = "unavailable"
    INTERNAL = "internal"


class SoloistError(Exception):
    """The root: its text is a full sentence that may be shown to the person it concerns."""

    kind: ClassVar[Kind] = Kind.INTERNAL
    retry_after_seconds: ClassVar[int | None] = None


class RequestError(SoloistError):
    """The caller asked for something that cannot be done."""

    kind = Kind.INVALID


class InvalidRequest(RequestError):
    """The request is malformed; asking again the same way will fail again."""


class PayloadTooLarge(InvalidRequest):
    """A payload exceeds the configured bound."""

    kind = Kind.TOO_LARGE

    def __init__(self, what: str, size_bytes: int, limit_bytes: int) -> None:
        super().__init__(
            f"{what} is {size_bytes} bytes; the limit is {limit_bytes} bytes"
            " (option --max-payload-bytes)."
        )
        self.limit_bytes = limit_bytes


class FunctionNotFound(RequestError):
    """The app has no function of that name and kind.

    The wording is the Functions host's own, which applications match on.
    """

    def __init__(self, name: str, kind: str, known: tuple[str, ...]) -> None:
        article = "an" if kind[0] in "aeiou" else "a"
        names = ", ".join(f"'{each}'" for each in sorted(known))
        listing = (
            f"The following are the known {kind} functions: {names}."
            if known
            else f"No {kind} functions are currently registered!"
        )
        super().__init__(
            f"The function '{name}' doesn't exist, is disabled, or is not {article} {kind}"
            f" function. Additional info: {listing}"
        )


class InstanceNotFound(RequestError):
    """No instance of that id exists in the task hub."""

    kind = Kind.NOT_FOUND

    def __init__(self, instance_id: str) -> None:
        super().__init__(f"No instance with ID '{instance_id}' found.")
        self.instance_id = instance_id


class InstanceExists(RequestError):
    """A start met an instance of the same id that its policy does not replace.

    ``status`` and ``created_at`` (ISO 8601) describe the instance in the way.
    """

    kind = Kind.CONFLICT

    def __init__(self, instance_id: str, status: str, created_at: str) -> None:
        super().__init__(f"An Orchestration instance with the status {status} already exists.")
        self.instance_id = instance_id
        self.status = status
        self.created_at = created_at


class InstanceFinished(RequestError):
    """The instance is completed, failed or terminated and takes no more events."""

    kind = Kind.GONE

    def __init__(self, instance_id: str, status: str) -> None:
        super().__init__(
            f"Instance '{instance_id}' has status {status} and accepts no further operations."
        )
        self.instance_id = instance_id
        self.status = status


class InstanceUnfinished(RequestError):
    """The instance must be completed, failed or terminated before it can be purged."""

    kind = Kind.PRECONDITION

    def __init__(self, instance_id: str, status: str) -> None:
        super().__init__(
            "Only orchestrations in a terminal state can be purged, but the orchestration with"
            f" instance ID {instance_id} has status {status}"
        )
        self.instance_id = instance_id
        self.status = status


class InstanceNotFailed(RequestError):
    """Only a failed instance can be rewound; the wording is Azure's."""

    kind = Kind.PRECONDITION

    def __init__(self, instance_id: str, status: str) -> None:
        super().__init__(
            f'This orchestration has status {status}, but only orchestrations in the "Failed"'
            " state can be rewound."
        )
        self.instance_id = instance_id
        self.status = status


class AppError(SoloistError):
    """The user's Function app is at fault."""


class AppLoadFailed(AppError):
    """The app cannot be imported, or what it declares cannot be hosted.

    ``traceback`` is the app's own, empty when the app raised nothing.
    """

    def __init__(self, message: str, traceback: str = "") -> None:
        super().__init__(message)
        self.traceback = traceback


class WorkerLost(AppError):
    """The process that ran the user's code died before it answered."""

    kind = Kind.UNAVAILABLE


class WorkerAbsent(WorkerLost):
    """No process was there to take the work: it has certainly not run."""


class HubError(SoloistError):
    """The task hub or its data is at fault."""


class HubInUse(HubError):
    """Another host process already runs this hub."""

    kind = Kind.CONFLICT


class HubTooNew(HubError):
    """The hub was written by a newer Soloist than this one."""


class HistoryCorrupt(HubError):
    """A stored history breaks a law of ``ARCHITECTURE.md``."""


class StoreUnavailable(SoloistError):
    """The database does not answer, is full, read-only or locked; nothing was changed."""

    kind = Kind.UNAVAILABLE
    retry_after_seconds = 1


class StoreGone(StoreUnavailable):
    """The hub's file was removed or replaced while it was open; nothing brings this store back."""


class Overloaded(SoloistError):
    """A bound is reached; nothing was changed and the same call may succeed later."""

    kind = Kind.EXHAUSTED
    retry_after_seconds = 1


class SettingsError(SoloistError):
    """A setting, an option or a configuration file is wrong."""

    kind = Kind.INVALID
