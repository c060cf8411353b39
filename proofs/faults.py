"""Faults of a disk, none of which needs root: a file size limit that the system itself holds, and a
library between a host and its C library that fails writes and syncs on demand."""

from __future__ import annotations

import mmap
import random
import shutil
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import msgspec

SOURCE = Path(__file__).parent / "failing_disk.c"
SECTOR_BYTES = 512
ALWAYS = 1 << 40

_FIELDS = (
    "room",
    "failing_syncs",
    "failing_writes",
    "keeps_undo",
    "times_full",
    "syncs_failed",
    "writes_failed",
    "syncs",
    "syncs_to_live",
)
_NUMBER = struct.Struct("=q")
_HEAD = struct.Struct("=qqq")


def missing() -> str | None:
    """Return why no library can be put under a host here, ``None`` when one can."""
    if not sys.platform.startswith("linux"):
        return "writes and syncs that fail: they need Linux"
    if shutil.which("gcc") is None:
        return "writes and syncs that fail: there is no gcc to build proofs/failing_disk.c with"
    return None


def can_limit_files() -> bool:
    """Whether another process's files can be kept from growing."""
    return sys.platform.startswith("linux")


def limit_files(pid: int, size_bytes: int) -> Callable[[], object]:
    """Let every write of a process beyond a size fail; return what takes the limit away."""
    import resource  # not everywhere

    limit, before = resource.RLIMIT_FSIZE, resource.prlimit(pid, resource.RLIMIT_FSIZE)
    resource.prlimit(pid, limit, (size_bytes, before[1]))
    return lambda: resource.prlimit(pid, limit, before)


class FailingDisk:
    """What a host's disk does, changed while it runs; numbers as in ``failing_disk.c``."""

    def __init__(self, folder: Path) -> None:
        """Build the library.

        Raises:
            CalledProcessError: gcc could not.
        """
        self.control = folder / "disk"
        self.control.write_bytes(bytes(len(_FIELDS) * _NUMBER.size))
        self._memory = _mapped(self.control)
        self.put("room", -1)
        library = folder / "failing_disk.so"
        options = ("-shared", "-fPIC", "-O2", "-o", str(library))
        subprocess.run(["gcc", *options, str(SOURCE), "-ldl", "-lpthread"], check=True)
        self.environment: dict[str, str] = {
            "LD_PRELOAD": str(library),
            "FAILING_DISK": str(self.control),
        }

    @classmethod
    def attached(cls, control: Path) -> FailingDisk:
        """Return the disk under this very process, by its control file."""
        disk = cls.__new__(cls)
        disk.control = control
        disk._memory = _mapped(control)
        disk.environment = {}
        return disk

    def put(self, field: str, number: int) -> None:
        """Change one thing, at once."""
        _NUMBER.pack_into(self._memory, _FIELDS.index(field) * _NUMBER.size, number)

    def get(self, field: str) -> int:
        """Read one thing."""
        (number,) = _NUMBER.unpack_from(self._memory, _FIELDS.index(field) * _NUMBER.size)
        return int(number)

    def begin(self, field: str, number: int) -> Callable[[], object]:
        """Change one thing; return what mends it."""
        self.put(field, number)
        return self.mend

    def mend(self) -> None:
        """Let everything succeed again."""
        for field in ("failing_syncs", "failing_writes", "keeps_undo", "syncs_to_live"):
            self.put(field, 0)
        self.put("room", -1)
        self._forget()

    def die_at_sync(self, number: int) -> None:
        """Let the host be killed when it comes to its ``number``-th sync from now."""
        self.put("syncs_to_live", number)

    def keep_undo(self) -> None:
        """From now on know what was not synced, so that it can be lost."""
        self._forget()
        self.put("keeps_undo", 1)

    def cut_power(self, hub: Path, chance: random.Random) -> int:
        """Let a file and its log, whose host is dead, lose some of what was not synced; return how
        many writes were at stake."""
        at_stake = 0
        keeps = chance.choice([0.0, 0.5, 1.0])
        for path in (hub, hub.with_name(f"{hub.name}-wal")):
            undo = self.control.with_name(f"{self.control.name}.{path.name}.undo")
            if path.exists() and undo.exists():
                records = _records(undo.read_bytes())
                at_stake += len(records)
                path.write_bytes(_after_the_cut(path.read_bytes(), records, keeps, chance))
        hub.with_name(f"{hub.name}-shm").unlink(missing_ok=True)
        self._forget()
        return at_stake

    def _forget(self) -> None:
        for undo in self.control.parent.glob(f"{self.control.name}.*.undo"):
            undo.write_bytes(b"")


def _mapped(control: Path) -> mmap.mmap:
    with control.open("r+b") as opened:
        return mmap.mmap(opened.fileno(), 0)


class Replaced(msgspec.Struct, frozen=True):
    """What one write that was not synced has replaced."""

    offset: int
    size_bytes: int
    content: bytes


def _records(undo: bytes) -> list[Replaced]:
    records, place = [], 0
    while place + _HEAD.size <= len(undo):
        offset, size, length = _HEAD.unpack_from(undo, place)
        place += _HEAD.size
        if place + length > len(undo):
            break  # the kill came while it was written, so before the write itself
        records.append(Replaced(offset, size, undo[place : place + length]))
        place += length
    return records


def _after_the_cut(
    content: bytes, records: list[Replaced], keeps: float, chance: random.Random
) -> bytes:
    """Return what the disk holds: of what was not synced, each sector by chance."""
    synced = bytearray(content)
    for record in reversed(records):
        synced[record.offset : record.offset + len(record.content)] = record.content
        del synced[record.size_bytes :]
        synced.extend(bytes(record.size_bytes - len(synced)))
    size = len(content) if chance.random() < keeps else len(synced)
    result = bytearray(synced[:size]) + bytes(max(0, size - len(synced)))
    for start in range(0, size, SECTOR_BYTES):
        end = min(start + SECTOR_BYTES, size, len(content))
        if start < end and result[start:end] != content[start:end] and chance.random() < keeps:
            result[start:end] = content[start:end]
    return bytes(result)
