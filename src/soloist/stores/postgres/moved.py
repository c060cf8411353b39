"""What one operation moves elsewhere, on its way to becoming a receipt."""

from __future__ import annotations

from soloist.core.instances import CommitReceipt, Lease
from soloist.stores.postgres.view import Row, View

FIRST_EPOCH = 1
"""The epoch of an instance that is leased in the transaction that inserts it."""


class Moved:
    """The other instances that one operation touches, and where it stands itself.

    ``host_id`` is who is given what becomes due, ``None`` when nobody is.
    """

    def __init__(self, view: View, host_id: int | None) -> None:
        self.view = view
        self.host_id = view.live(host_id)
        self.due: dict[int, Row] = {}
        self.mail: dict[int, None] = {}
        self.replaced: list[int] = []

    def touch(self, row: Row) -> None:
        """Remember an instance that has something new to do."""
        if row.generation in self.due:
            return
        if row.owner is None:
            self.due[row.generation] = row
        else:
            self.mail[row.generation] = None

    def forget(self, row: Row) -> None:
        """Leave out an instance that the same operation removed again."""
        self.due.pop(row.generation, None)
        self.mail.pop(row.generation, None)

    def settle(self) -> CommitReceipt:
        """Lease what is due to the host, if there is one."""
        due = [row for row in self.due.values() if self.is_due(row)]
        leases: tuple[Lease, ...] = ()
        if self.host_id is None:
            self.view.leaves_work |= bool(due)
        else:
            leases = tuple(self.view.lease(row, self.host_id) for row in due)
        return CommitReceipt(
            leases=leases,
            mail=tuple(self.mail),
            replaced=tuple(self.replaced),
            waits=len(self.due) > len(leases),
        )

    def is_due(self, row: Row) -> bool:
        """Whether somebody ought to look at the instance now."""
        return row.owner is None and row.due_at is not None and row.due_at <= self.view.now
