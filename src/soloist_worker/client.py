"""The durable client's transport: what the SDK would send over HTTP goes to the host as messages.

The SDK's client takes three functions from its module when it is constructed. They are replaced,
once a process; which worker a call belongs to is known from the context that it is made in. The
one method that makes management links is replaced as well, so that each link opens itself only.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import itertools
import json
import sys
import threading
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qs

from soloist_worker.frames import MAX_FRAME_BYTES, Message
from soloist_worker.links import in_path, link_secret, signed_links
from soloist_worker.refusals import CLIENT_MODULE, Answer

_BASE_KEY = "rpcBaseUrl"
_TOO_LARGE = 413
_MAX_DATA_CHARACTERS = MAX_FRAME_BYTES // 8  # JSON may need six bytes for one character

_current: contextvars.ContextVar[Transport] = contextvars.ContextVar("soloist_transport")
_latest: list[Transport] = []


class Transport:
    """Carries one worker's client calls. Works from any thread and any event loop."""

    def __init__(self, send: Callable[[list[Message]], None]) -> None:
        self._send = send
        self._numbers = itertools.count(1)
        self._lock = threading.Lock()
        self._waiting: dict[int, tuple[asyncio.AbstractEventLoop, asyncio.Future[Any]]] = {}
        self._binding = ""
        self._bases: tuple[str, ...] = ()

    def enter(self) -> None:
        """Let the calls made in the current context go through this transport."""
        _current.set(self)

    def learn(self, binding: str) -> None:
        """Take note of the base URL that a client binding tells the SDK to call."""
        if binding == self._binding:
            return
        try:
            base = json.loads(binding).get(_BASE_KEY)
        except (ValueError, AttributeError):
            base = None
        with self._lock:
            self._binding = binding
            if base and base not in self._bases:
                self._bases += (base,)

    def target_of(self, url: str) -> str | None:
        """Return what follows the base URL; ``None`` for a URL that is not the host's."""
        for base in self._bases:
            if url.startswith(base):
                return url[len(base) :]
        return None

    async def request(self, method: str, target: str, data: str | None) -> Answer:
        """Ask the host."""
        if data is not None and len(data) > _MAX_DATA_CHARACTERS:
            return _too_large(len(data))
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Message] = loop.create_future()
        call = next(self._numbers)
        with self._lock:
            self._waiting[call] = (loop, future)
        try:
            self._send(
                [
                    {
                        "kind": "client_call",
                        "call": call,
                        "method": method,
                        "target": target,
                        "data": data,
                    }
                ]
            )
            reply = await future
        finally:
            with self._lock:
                self._waiting.pop(call, None)
        return _read(method, target, reply)

    def reply(self, message: Message) -> None:
        """Take the host's answer."""
        with self._lock:
            waiting = self._waiting.pop(message["call"], None)
        if waiting is None:
            return
        _tell(*waiting, message)

    def install(self) -> None:
        """Put this transport under the SDK's client, if the app has the SDK."""
        if self not in _latest:
            _latest.append(self)
        module = sys.modules.get(CLIENT_MODULE)
        if module is not None and not hasattr(module, "_soloist_stock"):
            _patch(module)
            _patch_links(module.DurableOrchestrationClient)

    def uninstall(self) -> None:
        """Take no more calls; those under way fail."""
        if self in _latest:
            _latest.remove(self)
        with self._lock:
            waiting, self._waiting = self._waiting, {}
        error = {"status": 503, "body": json.dumps({"Message": "The worker is closed."})}
        for loop, future in waiting.values():
            _tell(loop, future, error)


def is_hosts(base_url: str) -> bool:
    """Whether a base URL is one that a host of ours has told."""
    return _transport_for(base_url) is not None


def with_codes(
    links: dict[str, str], query: str, task_hub: str, instance_id: str
) -> dict[str, str]:
    """Return the links of an instance with a code in each, if ``query``, which the host requires,
    holds the key that signs them."""
    system_key = parse_qs(query).get("code")
    if not system_key:
        return links
    return signed_links(links, link_secret(system_key[0]), task_hub, instance_id)


def _tell(
    loop: asyncio.AbstractEventLoop, future: asyncio.Future[Message], message: Message
) -> None:
    # A loop that has been closed has nobody who waits any more.
    with contextlib.suppress(RuntimeError):
        loop.call_soon_threadsafe(_resolve, future, message)


def _resolve(future: asyncio.Future[Message], message: Message) -> None:
    if not future.done():
        future.set_result(message)


def _read(method: str, target: str, reply: Message) -> Answer:
    status, text = reply["status"], reply["body"]
    body = None if text is None or not text.strip() else json.loads(text)
    if body is None and method == "GET":
        body = ""
    answer = Answer((status, body))
    path = target.partition("?")[0].split("/")
    if path[0] == "orchestrators" and len(path) > 2:
        answer.instance_id = "/".join(path[2:])
    return answer


def _too_large(size: int) -> Answer:
    text = (
        f"A payload of {size} characters cannot be sent to the host; at most"
        f" {_MAX_DATA_CHARACTERS} can, whatever its limit is (option --max-payload-bytes)."
    )
    return Answer((_TOO_LARGE, {"Message": text, "ExceptionMessage": text}))


def _transport_for(url: str) -> tuple[Transport, str] | None:
    """Return the transport that a call belongs to and the target of its URL."""
    current = _current.get(None)
    for transport in (current, *reversed(_latest)):
        target = transport.target_of(url) if transport is not None else None
        if transport is not None and target is not None:
            return transport, target
    return None


def _patch(module: Any) -> None:
    """Replace the module's three transport functions; calls to elsewhere keep the stock ones."""
    stock_post, stock_get = module.post_async_request, module.get_async_request
    stock_delete = module.delete_async_request

    async def post_async_request(url: str, data: Any = None, *args: Any, **kwargs: Any) -> Any:
        found = _transport_for(url)
        if found is None:
            return await stock_post(url, data, *args, **kwargs)
        # The stock transport dumps the text that it is given once more.
        text = None if data is None else json.dumps(data)
        return await found[0].request("POST", found[1], text)

    async def get_async_request(url: str, *args: Any, **kwargs: Any) -> Any:
        found = _transport_for(url)
        if found is None:
            return await stock_get(url, *args, **kwargs)
        return await found[0].request("GET", found[1], None)

    async def delete_async_request(url: str, *args: Any, **kwargs: Any) -> Any:
        found = _transport_for(url)
        if found is None:
            return await stock_delete(url, *args, **kwargs)
        return await found[0].request("DELETE", found[1], None)

    module._soloist_stock = (stock_post, stock_get, stock_delete)
    module.post_async_request = post_async_request
    module.get_async_request = get_async_request
    module.delete_async_request = delete_async_request


def _patch_links(client_class: Any) -> None:
    """Replace the method that every management link of the SDK comes from. Clients that were not
    made by a host of ours keep the stock one."""
    stock = client_class.get_client_response_links

    def get_client_response_links(self: Any, request: Any, instance_id: str) -> dict[str, str]:
        bindings = self._orchestration_bindings
        if not is_hosts(bindings.rpc_base_url or ""):
            links: dict[str, str] = stock(self, request, instance_id)
            return links
        placeholder = bindings.management_urls["id"]
        links = stock(self, request, placeholder)  # with the caller's origin, still of nobody
        addressed = in_path(instance_id)
        links = {name: url.replace(placeholder, addressed) for name, url in links.items()}
        links["id"] = instance_id
        query = getattr(bindings.client_data, "requiredQueryStringParameters", "")
        return with_codes(links, query, bindings.task_hub_name, instance_id)

    client_class.get_client_response_links = get_client_response_links
