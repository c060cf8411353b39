"""Operations: what waits for the writer, and what is to become of it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Any

from soloist.core.instances import CommitReceipt
from soloist.stores.postgres import starts
from soloist.stores.postgres.commits import EncodedOutcome
from soloist.stores.postgres.connection import Connection
from soloist.stores.postgres.creations import Creation
from soloist.stores.postgres.view import View
from soloist.stores.postgres.wanted import Wanted


class Change:
    """An operation that sees rows first: ``want`` names them, ``run`` works on them."""

    __slots__ = ("error", "future", "payload_bytes", "result", "run", "sees_rows", "want")

    def __init__(
        self,
        want: Callable[[Wanted], None],
        run: Callable[[View], Any],
        payload_bytes: int,
        future: asyncio.Future[Any],
    ) -> None:
        self.payload_bytes = payload_bytes
        self.want = want
        self.run = run
        self.future = future
        self.sees_rows = True
        self.result: Any = None
        self.error: BaseException | None = None


class Start(Change):
    """A start. It sees rows once its id was found to be taken; behind a pooler at once, since
    nobody could find out there what became of it."""

    __slots__ = ("creation",)

    def __init__(self, creation: Creation, future: asyncio.Future[Any], *, sees_rows: bool) -> None:
        request, host_id = creation.request, creation.host_id
        super().__init__(
            partial(starts.want, request, host_id),
            partial(starts.start, request=request, host_id=host_id),
            len(request.input or ""),
            future,
        )
        self.creation = creation
        self.sees_rows = sees_rows

    @property
    def instance_id(self) -> str:
        """The id that it wants."""
        return self.creation.request.instance_id


class Step:
    """A plain step, for the statement that carries out all of them."""

    __slots__ = ("error", "future", "payload_bytes", "result", "step")
    sees_rows = False

    def __init__(self, step: EncodedOutcome, future: asyncio.Future[Any]) -> None:
        self.step = step
        self.payload_bytes = step.payload_bytes
        self.future = future
        self.result: CommitReceipt | None = None
        self.error: BaseException | None = None


class Solo:
    """An operation that is a transaction of its own."""

    __slots__ = ("error", "future", "result", "run")
    sees_rows = True

    def __init__(
        self, run: Callable[[Connection], Awaitable[Any]], future: asyncio.Future[Any]
    ) -> None:
        self.run = run
        self.future = future
        self.result: Any = None
        self.error: BaseException | None = None


Operation = Change | Step | Solo


def see_rows(group: Sequence[Operation]) -> bool:
    """Whether a group must see rows first; of starts that share an id one at most would find it
    free."""
    if any(each.sees_rows for each in group):
        return True
    ids = [each.instance_id for each in group if isinstance(each, Start)]
    return len(set(ids)) < len(ids)
