"""Health: whether a host lives, and whether it can serve, for load balancers and for people."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from soloist.client import Client
from soloist.errors import StoreUnavailable

LIVE_PATH = "/live"
READY_PATH = "/ready"


def health_routes(client: Client, task_hub: str) -> list[Route]:
    """Return ``/live``, which says that the process answers, and ``/ready``, which says that its
    store does, and what that promises about an acknowledged commit."""

    async def live(_request: Request) -> Response:
        return JSONResponse({"status": "live"})

    async def ready(_request: Request) -> Response:
        try:
            durability = await client.durability()
        except StoreUnavailable as error:
            return JSONResponse(
                {"status": "unavailable", "taskHub": task_hub, "reason": str(error)},
                status_code=503,
                headers={"Retry-After": str(error.retry_after_seconds)},
            )
        return JSONResponse(
            {
                "status": "ready",
                "taskHub": task_hub,
                "durability": {
                    "survivesCrash": durability.survives_crash,
                    "survivesFailover": durability.survives_failover,
                    "text": durability.text,
                },
            }
        )

    return [
        Route(LIVE_PATH, live, methods=["GET"]),
        Route(READY_PATH, ready, methods=["GET"]),
    ]
