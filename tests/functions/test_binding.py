"""The client binding: what the SDK makes its client from."""

from __future__ import annotations

import json
import re

from azure.durable_functions import DurableOrchestrationClient

from soloist.functions.binding import ClientBinding, url_encoded

ORIGIN = "https://host.example:8443"
BASE = f"{ORIGIN}/runtime/webhooks/durabletask"


def test_the_value_is_the_extensions_own_but_for_codes_in_management_links() -> None:
    value = json.loads(ClientBinding("My Hub", lambda: "se/cret").text(ORIGIN))
    common = "taskHub=My+Hub&connection=Storage"
    one = f"{BASE}/instances/INSTANCEID"
    post = f"{BASE}/orchestrators/{{functionName}}[/{{instanceId}}]"
    assert value == {
        "taskHubName": "My Hub",
        "connectionName": None,
        "creationUrls": {
            "createNewInstancePostUri": f"{post}?code=se%2Fcret",
            "createAndWaitOnNewInstancePostUri": f"{post}?timeout={{timeoutInSeconds}}"
            "&pollingInterval={intervalInSeconds}&code=se%2Fcret",
        },
        "managementUrls": {
            "id": "INSTANCEID",
            "statusQueryGetUri": f"{one}?{common}",
            "sendEventPostUri": f"{one}/raiseEvent/{{eventName}}?{common}",
            "terminatePostUri": f"{one}/terminate?reason={{text}}&{common}",
            "rewindPostUri": f"{one}/rewind?reason={{text}}&{common}",
            "purgeHistoryDeleteUri": f"{one}?{common}",
            "restartPostUri": f"{one}/restart?{common}",
            "suspendPostUri": f"{one}/suspend?reason={{text}}&{common}",
            "resumePostUri": f"{one}/resume?reason={{text}}&{common}",
        },
        "baseUrl": BASE,
        "requiredQueryStringParameters": "code=se%2Fcret",
        "rpcBaseUrl": "http://127.0.0.1:17071/durabletask/",
        "httpBaseUrl": None,
    }
    assert list(value["managementUrls"])[:5] == [
        "id",
        "statusQueryGetUri",
        "sendEventPostUri",
        "terminatePostUri",
        "rewindPostUri",
    ]


def test_without_a_system_key_links_carry_none() -> None:
    text = ClientBinding("Hub", lambda: None).text(ORIGIN)
    assert "code=" not in text
    assert re.search(r"[?&](?:\"|&)", text) is None


def test_the_sdk_builds_its_links_from_it() -> None:
    client = DurableOrchestrationClient(ClientBinding("Hub", lambda: "key").text(ORIGIN))
    links = client.create_http_management_payload("abc")
    assert len(links) == 9
    assert "INSTANCEID" not in json.dumps(links)
    assert links["statusQueryGetUri"].startswith(
        f"{BASE}/instances/abc?taskHub=Hub&connection=Storage"
    )


def test_a_management_link_that_leaks_from_the_template_carries_no_key() -> None:
    value = json.loads(ClientBinding("Hub", lambda: "key").text(ORIGIN))
    assert not any("code" in url for url in value["managementUrls"].values())


def test_a_rotated_key_is_written_at_once() -> None:
    keys = ["first"]
    binding = ClientBinding("Hub", lambda: keys[-1])
    assert "code=first" in binding.text(ORIGIN)
    keys.append("second")
    assert "first" not in binding.text(ORIGIN)
    assert "code=second" in binding.text(ORIGIN)


def test_texts_are_kept_for_the_latest_origins_only() -> None:
    binding = ClientBinding("Hub", lambda: "key")
    first = binding.text("http://0")
    assert binding.text("http://0") is first
    for number in range(1, 100):
        binding.text(f"http://{number}")
    assert binding.text("http://0") is not first
    assert binding.text("http://0") == first


def test_encoding_is_that_of_dotnet() -> None:
    assert url_encoded("a b~!*()-_.é/&") == "a+b%7E!*()-_.%C3%A9%2F%26"


def test_clients_that_speak_grpc_are_all_made_from_one_text() -> None:
    binding = ClientBinding("Hub", lambda: "key")
    binding.text(ORIGIN)
    binding.point_at("unix:/run/door", 2**20, ORIGIN)
    text = binding.text("http://whatever-the-caller-says")
    assert text == binding.text(ORIGIN)
    value = json.loads(text)
    assert (value["rpcBaseUrl"], value["maxGrpcMessageSizeInBytes"]) == ("unix:/run/door", 2**20)
    assert value["baseUrl"] == BASE
