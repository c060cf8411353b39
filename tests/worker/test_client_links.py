"""The links that the SDK's client makes inside a worker: each opens itself and nothing else."""

from __future__ import annotations

import json
from collections.abc import Iterator
from urllib.parse import parse_qs, unquote, urlsplit

import pytest
from azure.durable_functions import DurableOrchestrationClient
from azure.functions import HttpRequest

from soloist.functions.binding import ClientBinding
from soloist.webapi import Links
from soloist_worker.client import Transport
from soloist_worker.links import LINK_OPERATIONS, code_opens, link_secret
from tests.worker.apps import BINDING

KEY = "system/key+1"
ORIGIN = "http://inside:1"
REQUEST = HttpRequest("GET", "https://public.example/api/start", body=b"")


@pytest.fixture
def transport() -> Iterator[Transport]:
    """A worker's transport, under the SDK's client of this process."""
    made = Transport(lambda _messages: None)
    made.install()
    yield made
    made.uninstall()


def client_of(transport: Transport, key: str | None = KEY) -> DurableOrchestrationClient:
    binding = ClientBinding("MyHub", lambda: key).text(ORIGIN)
    transport.learn(binding)
    return DurableOrchestrationClient(binding)


def code_in(url: str) -> str:
    return parse_qs(urlsplit(url).query)["code"][0]


@pytest.mark.parametrize(
    "instance_id", ["one", "a b", "50%", "%41", "a+b", "é", "code=1", "INSTANCEID", "{text}", "~"]
)
def test_every_link_opens_its_operation_on_its_instance(
    transport: Transport, instance_id: str
) -> None:
    links = client_of(transport).get_client_response_links(REQUEST, instance_id)
    assert links.pop("id") == instance_id
    assert set(links) == set(LINK_OPERATIONS)
    for name, url in links.items():
        parts = urlsplit(url)
        assert f"{parts.scheme}://{parts.netloc}" == "https://public.example"
        came_back = unquote(parts.path.split("/instances/", 1)[1].split("/")[0])
        assert came_back == instance_id
        for each in LINK_OPERATIONS.values():
            is_opened = code_opens(link_secret(KEY), "MyHub", each, came_back, code_in(url))
            assert is_opened == (each == LINK_OPERATIONS[name])


def test_the_hosts_links_and_the_sdks_are_the_same(transport: Transport) -> None:
    theirs = client_of(transport).create_http_management_payload("a b%")
    base = f"{ORIGIN}/runtime/webhooks/durabletask"
    ours = Links(task_hub="MyHub", system_key=lambda: KEY).check_status(base, "a b%")
    assert theirs.pop("rewindPostUri").startswith(f"{base}/instances/a%20b%25/rewind?reason=")
    assert theirs == ours


def test_the_check_status_response_carries_no_key(transport: Transport) -> None:
    response = client_of(transport).create_check_status_response(REQUEST, "one")
    body = json.loads(response.get_body())
    assert response.headers["Location"] == body["statusQueryGetUri"]
    text = response.get_body().decode() + response.headers["Location"]
    assert "system" not in text
    assert len({code_in(url) for name, url in body.items() if name != "id"}) == 8


def test_links_are_signed_with_the_key_of_the_binding_at_hand(transport: Transport) -> None:
    first = client_of(transport, "first").create_http_management_payload("one")
    second = client_of(transport, "second").create_http_management_payload("one")
    for key, links in (("first", first), ("second", second)):
        code = code_in(links["purgeHistoryDeleteUri"])
        assert code_opens(link_secret(key), "MyHub", "purgeInstance", "one", code)


def test_without_keys_links_carry_no_code(transport: Transport) -> None:
    links = client_of(transport, None).create_http_management_payload("one")
    assert "code" not in json.dumps(links)


def test_clients_of_another_host_keep_their_links(transport: Transport) -> None:
    transport.learn(BINDING)
    elsewhere = json.loads(BINDING) | {"rpcBaseUrl": "http://elsewhere/"}
    client = DurableOrchestrationClient(json.dumps(elsewhere))
    assert client.create_http_management_payload("a b") == {
        "id": "a b",
        "statusQueryGetUri": "http://host/a b",
    }
