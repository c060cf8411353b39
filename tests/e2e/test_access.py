"""Who gets in: every route and every kind of credential, on a whole host."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, quote, urlsplit

import httpx
import pytest

from soloist.app import Host, HostOptions, open_host
from soloist.contracts.clock import SystemClock
from soloist.core.instances import AccessKey
from soloist.stores import store_at
from soloist.webapi import BASE_PATH
from soloist.webapi.routes import ROUTES, find_route
from soloist_worker.links import LINK_OPERATIONS, link_code, link_secret
from tests.functions.hosting import write_app

APP = """
import azure.functions as func
import azure.durable_functions as df

app = df.DFApp(http_auth_level=func.AuthLevel.FUNCTION)

@app.orchestration_trigger(context_name="context")
def Wait(context):
    return (yield context.wait_for_external_event("go"))

@app.route(route="hello")
def Hello(req: func.HttpRequest) -> str:
    return "hello"

@app.route(route="other")
def Other(req: func.HttpRequest) -> str:
    return "other"

@app.route(route="open", auth_level=func.AuthLevel.ANONYMOUS)
def Open(req: func.HttpRequest) -> str:
    return "open"

@app.route(route="admin", auth_level=func.AuthLevel.ADMIN)
def Admin(req: func.HttpRequest) -> str:
    return "admin"

@app.route(route="start/{id}", auth_level=func.AuthLevel.ANONYMOUS)
@app.durable_client_input(client_name="client")
async def Start(req: func.HttpRequest, client) -> func.HttpResponse:
    instance_id = await client.start_new("Wait", req.route_params["id"])
    return client.create_check_status_response(req, instance_id)
"""
ORIGIN = "http://hub.example"
TARGET = "a target %"
HUB = "AccessHub"
OTHER_KEYS = (
    AccessKey("host", "second", "second host key", datetime(2030, 1, 1, tzinfo=UTC)),
    AccessKey(
        "system", "another_extension", "another system key", datetime(2030, 1, 1, tzinfo=UTC)
    ),
)

KEYS = {
    "master": ("master", "_master"),
    "host": ("host", "default"),
    "second host": ("host", "second"),
    "Hello's own": ("function:Hello", "default"),
    "Other's own": ("function:Other", "default"),
    "system": ("system", "durabletask_extension"),
    "another system": ("system", "another_extension"),
}
HERE, ELSEWHERE = "code here: ", "code elsewhere: "
OPERATIONS = tuple(LINK_OPERATIONS.values())
CREDENTIALS = (
    "none",
    "wrong",
    *KEYS,
    *(HERE + operation for operation in OPERATIONS),
    *(ELSEWHERE + operation for operation in OPERATIONS),
)


class Site:
    """A whole host in this process, and callers with and without credentials."""

    def __init__(self, folder: Path) -> None:
        self._runner = asyncio.Runner()
        self.run = self._runner.run
        self.host: Host = self.run(self._open(folder))

    def close(self) -> None:
        """End the host and the loop."""
        self.run(self.host.close())
        self._runner.close()

    def credential(self, kind: str) -> str | None:
        """Return what a caller of that kind presents."""
        if kind in KEYS:
            return self.host.keys.ring.value(*KEYS[kind])
        for mark, instance_id in ((HERE, TARGET), (ELSEWHERE, "somebody else")):
            if kind.startswith(mark):
                secret = link_secret(self.host.keys.system_key() or "")
                return link_code(secret, HUB, kind.removeprefix(mark), instance_id)
        return None if kind == "none" else "wrong"

    def send(
        self, method: str, path: str, *, header: str | None = None, query: str | None = None
    ) -> httpx.Response:
        """Send a request with what is to be presented in its header and in its query."""
        headers = {} if header is None else {"x-functions-key": header}
        params = {} if query is None else {"code": query}

        async def exchange() -> httpx.Response:
            transport = httpx.ASGITransport(self.host.web)
            async with httpx.AsyncClient(transport=transport, base_url=ORIGIN) as caller:
                url = httpx.URL(path).copy_merge_params(params) if params else path
                return await caller.request(method, url, headers=headers)

        return self.run(exchange())

    async def _open(self, folder: Path) -> Host:
        write_app(folder, APP)
        url = str(folder / "hub.db")
        store = store_at(url, task_hub=HUB, clock=SystemClock())
        await store.open()
        for key in OTHER_KEYS:
            await store.put_key(key)
        await store.close()
        return await open_host(
            HostOptions(
                app_dir=folder, store_url=url, task_hub=HUB, enforces_keys=True, in_process=True
            )
        )


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """One host for all of these tests."""
    made = Site(tmp_path_factory.mktemp("site"))
    yield made
    made.close()


ROUTE_TABLE = (  # and the operation of the link that opens it
    ("POST", "orchestrators/Wait", None),
    ("POST", "orchestrators/Nobody/{id}", None),
    ("GET", "instances", None),
    ("DELETE", "instances", None),
    ("GET", "instances/{id}", "getStatus"),
    ("DELETE", "instances/{id}", "purgeInstance"),
    ("POST", "instances/{id}/raiseEvent/go", "raiseEvent"),
    ("POST", "instances/{id}/terminate", "terminate"),
    ("POST", "instances/{id}/suspend", "suspend"),
    ("POST", "instances/{id}/resume", "resume"),
    ("POST", "instances/{id}/rewind", "rewind"),
    ("POST", "instances/{id}/restart", "restart"),
    ("GET", "entities", None),
    ("GET", "entities/counter", None),
    ("GET", "entities/counter/{id}", None),
    ("POST", "entities/counter/{id}", None),
    ("POST", "entities/counter", None),
    ("DELETE", "entities/counter/{id}", None),
    ("DELETE", "entities/counter", None),
    ("POST", "makeprimary", None),
    ("GET", "openapi.json", None),
    ("GET", "nothing", None),
)


def managed(path: str) -> str:
    """Return a path of the management API about the instance."""
    return f"{BASE_PATH}/{path.replace('{id}', quote(TARGET))}"


@pytest.mark.parametrize("place", ["header", "query"])
@pytest.mark.parametrize("kind", CREDENTIALS)
@pytest.mark.parametrize(("method", "path", "operation"), ROUTE_TABLE)
def test_the_management_api_opens_to_its_keys_and_to_each_link_by_its_own_code(
    site: Site, method: str, path: str, operation: str | None, kind: str, place: str
) -> None:
    answer = site.send(method, managed(path), **{place: site.credential(kind)})
    is_open = kind in ("master", "system") or kind == f"{HERE}{operation}"
    assert (answer.status_code != 401) == is_open
    if not is_open:
        assert answer.content == b""


def test_the_table_holds_every_route_and_every_link() -> None:
    found = [find_route(method, tuple(path.split("/"))) for method, path, _ in ROUTE_TABLE]
    assert {match.route for match in found if match is not None} == set(ROUTES)
    assert {operation for _, _, operation in ROUTE_TABLE} == {None, *OPERATIONS}


FUNCTIONS = {
    "hello": {"master", "host", "second host", "Hello's own"},
    "other": {"master", "host", "second host", "Other's own"},
    "admin": {"master"},
    "open": set(CREDENTIALS),
}


@pytest.mark.parametrize("place", ["header", "query"])
@pytest.mark.parametrize("kind", CREDENTIALS)
@pytest.mark.parametrize("route", FUNCTIONS)
def test_a_function_opens_to_the_keys_of_its_level(
    site: Site, route: str, kind: str, place: str
) -> None:
    answer = site.send("GET", f"/api/{route}", **{place: site.credential(kind)})
    assert (answer.status_code == 200) == (kind in FUNCTIONS[route])
    assert answer.status_code in (200, 401)


@pytest.mark.parametrize("kind", ["none", "wrong", "host", "Hello's own", HERE + "getStatus"])
@pytest.mark.parametrize("path", ["", "/nothing", "/instances/a%20target%20%25/more", "/%FF"])
def test_without_the_key_an_unknown_path_looks_like_any_other(
    site: Site, path: str, kind: str
) -> None:
    for method in ("GET", "POST", "PUT"):
        answer = site.send(method, BASE_PATH + path, header=site.credential(kind))
        assert (answer.status_code, answer.content) == (401, b"")


@pytest.mark.parametrize(
    ("path", "right"),
    [
        (managed("instances/{id}"), "system"),
        (managed("instances/{id}"), HERE + "getStatus"),
        ("/api/hello", "Hello's own"),
    ],
)
def test_the_header_wins_over_the_query(site: Site, path: str, right: str) -> None:
    good = site.credential(right)
    assert site.send("GET", path, header="wrong", query=good).status_code == 401
    assert site.send("GET", path, header="", query=good).status_code == 401
    assert site.send("GET", path, header=good, query="wrong").status_code in (200, 404)


@pytest.mark.parametrize("place", ["header", "query"])
def test_a_spoilt_code_opens_nothing(site: Site, place: str) -> None:
    code = site.credential(HERE + "getStatus") or ""
    path = managed("instances/{id}")
    assert site.send("GET", path, **{place: code}).status_code == 404
    swapped = code[:-1] + ("A" if code[-1] != "A" else "B")
    for spoilt in (swapped, code[:-1], f"{code}=", code * 50, code.upper(), code[3:], "s1."):
        assert site.send("GET", path, **{place: spoilt}).status_code == 401
    assert site.send("GET", path, query=f"{code}é\x00").status_code == 401


def test_the_code_of_another_hub_opens_nothing(site: Site) -> None:
    secret = link_secret(site.host.keys.system_key() or "")
    code = link_code(secret, "OtherHub", "getStatus", TARGET)
    assert site.send("GET", managed("instances/{id}"), query=code).status_code == 401


def links_of(site: Site, maker: str, instance_id: str) -> dict[str, str]:
    """Start an instance by the SDK inside the app or at the management API; return its links."""
    if maker == "SDK":
        answer = site.send("POST", f"/api/start/{instance_id}")
    else:
        path = f"{BASE_PATH}/orchestrators/Wait/{instance_id}"
        answer = site.send("POST", path, header=site.credential("system"))
    assert answer.status_code == 202
    links: dict[str, str] = answer.json()
    assert answer.headers["location"] == links["statusQueryGetUri"]
    assert (site.host.keys.system_key() or "?") not in answer.text
    return links


@pytest.mark.parametrize("maker", ["SDK", "host"])
@pytest.mark.parametrize("suffix", ["one", "a%20b", "50%25", "%2541"])
def test_links_work_as_they_are_handed_out_and_for_their_own_instance_only(
    site: Site, maker: str, suffix: str
) -> None:
    links = links_of(site, maker, f"{maker}-{suffix}")
    assert links["id"] == httpx.URL(f"/{maker}-{suffix}").path[1:]
    other = links_of(site, maker, f"{maker}-{suffix}-other")
    assert site.send("GET", links["statusQueryGetUri"]).json()["runtimeStatus"] in (
        "Pending",
        "Running",
    )
    for name, url in links.items():
        if name != "id":
            code = parse_qs(urlsplit(url).query)["code"][0]
            crossed = f"{other[name].split('?')[0]}?code={code}"
            method = "GET" if name.endswith("GetUri") else "POST"
            method = "DELETE" if name.endswith("DeleteUri") else method
            assert site.send(method, crossed).status_code == 401, name
    assert site.send("POST", links["terminatePostUri"].format(text="enough")).status_code == 202
    assert site.send("GET", other["statusQueryGetUri"]).json()["runtimeStatus"] != "Terminated"
    site.send("POST", other["sendEventPostUri"].format(eventName="go"))


def test_an_answer_to_a_link_hands_out_no_other_link(site: Site) -> None:
    links = links_of(site, "host", "restarted")
    answer = site.send("GET", links["statusQueryGetUri"])
    status_code = parse_qs(urlsplit(links["statusQueryGetUri"]).query)["code"][0]
    seen = json.dumps([answer.text, dict(answer.headers)])
    assert seen.count("code=") == seen.count(status_code)


def test_a_conflict_tells_where_the_instance_is_and_no_more(site: Site) -> None:
    links = links_of(site, "host", "taken")
    path = f"{BASE_PATH}/orchestrators/Wait/taken"
    refused: dict[str, Any] = site.send("POST", path, header=site.credential("system")).json()
    assert refused["statusQueryGetUri"] == links["statusQueryGetUri"]
