"""The least that a POST costs: Starlette on the server settings that a host uses, and no work.

Run: ``python -m benchmarks.peers.bare_post``; with ``serve`` it is the server.
"""

from __future__ import annotations

import socket
import subprocess
import sys

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from benchmarks.hub import run
from benchmarks.ours.web import post_rate
from benchmarks.program import serve_async

# As many links, about as long, as the answer to a start has.
_LINKS = 8
_LINK = "http://127.0.0.1:7071/runtime/webhooks/durabletask/instances/{}?taskHub=Benchmark&code=x"


async def _start(request: Request) -> JSONResponse:
    await request.body()
    instance_id = request.path_params["instanceId"]
    answer = {f"link{place}": _LINK.format(instance_id) for place in range(_LINKS)}
    return JSONResponse({"id": instance_id, **answer}, status_code=202)


def serve() -> None:
    """Serve on a port that the system chose, and say which."""
    path = "/api/orchestrators/{functionName}/{instanceId}"
    app = Starlette(routes=[Route(path, _start, methods=["POST"])])
    listener = socket.create_server(("127.0.0.1", 0), backlog=2048)
    print(listener.getsockname()[1], flush=True)
    config = uvicorn.Config(app, log_config=None, access_log=False, lifespan="off")
    uvicorn.Server(config).run(sockets=[listener])


def measure() -> None:
    """Serve the workload beside the server."""
    server = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.peers.bare_post", "serve"],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert server.stdout is not None
    try:
        origin = f"http://127.0.0.1:{server.stdout.readline().strip()}"
        target = "/api/orchestrators/Hello/start-{}"
        starts = {"starts": lambda **sizes: post_rate(origin, target, **sizes)}
        run(lambda: serve_async(starts))
    finally:
        server.kill()
        server.wait()
        server.stdout.close()


if __name__ == "__main__":
    serve() if "serve" in sys.argv else measure()
