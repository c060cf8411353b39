"""The Durable Functions HTTP management API, over HTTP and for durable clients in a worker.

Composition: a :class:`~soloist.webapi.management.Management` answers requests; the doors
:class:`~soloist.webapi.asgi.ManagementApp` (HTTP) and :class:`~soloist.webapi.local.LocalDoor`
(the durable clients of the app's functions) turn what they receive into requests for it.
"""

from __future__ import annotations

from soloist.webapi.access import Access, AccessRequest, Authorise
from soloist.webapi.asgi import ManagementApp, ManagementRoute
from soloist.webapi.health import LIVE_PATH, READY_PATH, health_routes
from soloist.webapi.links import BASE_PATH, Links
from soloist.webapi.local import LocalDoor
from soloist.webapi.management import Management

__all__ = [
    "BASE_PATH",
    "LIVE_PATH",
    "READY_PATH",
    "Access",
    "AccessRequest",
    "Authorise",
    "Links",
    "LocalDoor",
    "Management",
    "ManagementApp",
    "ManagementRoute",
    "health_routes",
]
