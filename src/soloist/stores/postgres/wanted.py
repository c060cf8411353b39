"""What a group of operations wants to have locked and read before it runs."""

from __future__ import annotations

from collections.abc import Iterable


class Wanted:
    """Names of rows, gathered from all operations of a group.

    Everything named by ``ids`` and ``generations`` is locked. ``whole`` are generations whose
    record is needed although somebody holds them, ``inboxes`` and ``histories`` generations of
    which that is read, ``parents`` generations whose sub-orchestrations are. ``starts`` are ids of
    which one must know whether a termination waits. ``hosts`` must stay live until the end.
    ``generations_drawn`` is how many instances may come into being.
    """

    def __init__(self) -> None:
        self.ids: set[str] = set()
        self.generations: set[int] = set()
        self.whole: set[int] = set()
        self.inboxes: set[int] = set()
        self.histories: set[int] = set()
        self.parents: set[int] = set()
        self.starts: set[str] = set()
        self.hosts: set[int] = set()
        self.generations_drawn = 0
        self.purges = False

    def host(self, host_id: int | None) -> None:
        """Want a host to stay live, if there is one."""
        if host_id is not None:
            self.hosts.add(host_id)


class Missing(Exception):
    """An operation needs what was not read; the group runs again with it.

    ``kind`` is a field of :class:`Wanted`.
    """

    def __init__(self, kind: str, *names: int | str) -> None:
        super().__init__(f"{kind}: {names}")
        self.kind = kind
        self.names = names

    def widen(self, wanted: Wanted) -> None:
        """Add it to what is wanted."""
        if self.kind == "generations_drawn":
            wanted.generations_drawn = 2 * wanted.generations_drawn + 1
            return
        names: set[int | str] = getattr(wanted, self.kind)
        before = len(names)
        _extend(names, self.names)
        assert len(names) > before, f"{self} was wanted already"


def _extend(names: set[int | str], more: Iterable[int | str]) -> None:
    names.update(more)
