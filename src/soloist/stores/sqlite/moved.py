"""What one transaction moves elsewhere, on its way to becoming a receipt."""

from __future__ import annotations

import sqlite3

from soloist.core.instances import CommitReceipt, InstanceRecord, Lease
from soloist.stores.rows import EPOCH, RECORD, record_of
from soloist.stores.sqlite.leases import lease_one, live
from soloist.stores.sqlite.reads import messages_after

_DUE_RECORD = (
    f"{RECORD} WHERE i.generation = ? AND e.owner IS NULL AND e.due_at IS NOT NULL"
    " AND e.due_at <= ?"
)

FIRST_EPOCH = 1
"""The epoch of an instance that is leased in the transaction that inserts it."""


class Moved:
    """The other instances that one transaction touches, and where it stands itself.

    ``host_id`` is who is given what becomes due, ``None`` when nobody is.
    """

    def __init__(
        self, connection: sqlite3.Connection, hub_id: int, now: int, host_id: int | None
    ) -> None:
        self.connection = connection
        self.hub_id = hub_id
        self.now = now
        self.host_id = live(connection, hub_id, now, host_id)
        self.due: dict[int, InstanceRecord | None] = {}
        self.mail: dict[int, None] = {}
        self.replaced: list[int] = []

    def touch(self, generation: int, owner: int | None) -> None:
        """Remember an instance that has something new to do."""
        if generation in self.due:
            return
        if owner is None:
            self.due[generation] = None
        else:
            self.mail[generation] = None

    def was_born(self, record: InstanceRecord) -> None:
        """Remember an instance that was inserted as the host's, if there is one."""
        self.due[record.generation] = None if self.host_id is None else record

    def forget(self, generation: int) -> None:
        """Leave out an instance that the same transaction removed again."""
        self.due.pop(generation, None)
        self.mail.pop(generation, None)

    def settle(self) -> CommitReceipt:
        """Lease what is due to the host, if there is one."""
        leases: tuple[Lease, ...] = ()
        if self.host_id is not None:
            found = (self._lease(*each, self.host_id) for each in self.due.items())
            leases = tuple(lease for lease in found if lease is not None)
        return CommitReceipt(
            leases=leases,
            mail=tuple(self.mail),
            replaced=tuple(self.replaced),
            waits=len(self.due) > len(leases),
        )

    def _lease(self, generation: int, born: InstanceRecord | None, host_id: int) -> Lease | None:
        if born is not None:
            messages = messages_after(self.connection, generation, 0)
            return Lease(record=born, epoch=FIRST_EPOCH, messages=messages)
        row = self.connection.execute(_DUE_RECORD, (generation, self.now)).fetchone()
        if row is None:
            return None
        return lease_one(self.connection, record_of(row), row[EPOCH], host_id)
