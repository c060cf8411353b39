"""The verbs that every face speaks.

A client checks what a caller wrote, stamps times and ids, and passes on to the store. It is the
only road from a face to the store, so one rule holds at every door.
"""

from __future__ import annotations

from soloist.client.base import Functions
from soloist.client.checks import DEFAULT_MAX_PAYLOAD_BYTES, MAX_NAME_LENGTH
from soloist.client.entities import Entity, EntityPage, EntityQuery
from soloist.client.hub import HubVerbs, Standing, Timer

__all__ = [
    "DEFAULT_MAX_PAYLOAD_BYTES",
    "MAX_NAME_LENGTH",
    "Client",
    "Entity",
    "EntityPage",
    "EntityQuery",
    "Functions",
    "Standing",
    "Timer",
]


class Client(HubVerbs):
    """One task hub, as its callers see it.

    Without ``orchestrators`` any function name is accepted, as by a client that runs apart from
    the app; the same holds for ``entities``. Every verb may raise ``StoreUnavailable``.
    """
