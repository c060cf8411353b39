"""Links, character by character."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from soloist.webapi import Access
from soloist.webapi.links import Links
from soloist_worker.links import LINK_OPERATIONS

BASE = "http://h/runtime/webhooks/durabletask"
QUERY = "taskHub=My+Hub&connection=A%26B"
CODE = re.compile(r"&code=s1\.[A-Za-z0-9_-]{43}$")


def code_in(url: str) -> str:
    return parse_qs(urlsplit(url).query)["code"][0]


def test_the_links_are_those_of_durable_functions() -> None:
    links = Links(task_hub="My Hub", connection="A&B")
    expected = {
        "id": "a:1",
        "statusQueryGetUri": f"{BASE}/instances/a%3A1?{QUERY}",
        "sendEventPostUri": f"{BASE}/instances/a%3A1/raiseEvent/{{eventName}}?{QUERY}",
        "terminatePostUri": f"{BASE}/instances/a%3A1/terminate?reason={{text}}&{QUERY}",
        "purgeHistoryDeleteUri": f"{BASE}/instances/a%3A1?{QUERY}",
        "restartPostUri": f"{BASE}/instances/a%3A1/restart?{QUERY}",
        "suspendPostUri": f"{BASE}/instances/a%3A1/suspend?reason={{text}}&{QUERY}",
        "resumePostUri": f"{BASE}/instances/a%3A1/resume?reason={{text}}&{QUERY}",
    }
    assert links.check_status(BASE, "a:1") == expected
    assert list(links.check_status(BASE, "a:1")) == list(expected)
    keyed = Links(task_hub="My Hub", connection="A&B", system_key=lambda: "k+=~")
    signed = keyed.check_status(BASE, "a:1")
    assert {name: CODE.sub("", url) for name, url in signed.items()} == expected
    assert list(signed) == list(expected)


def test_each_link_has_a_code_of_its_own_and_none_the_key() -> None:
    links = Links(task_hub="H", system_key=lambda: "the-system-key")
    urls = links.check_status(BASE, "one")
    assert urls.pop("id") == "one"
    codes = {name: code_in(url) for name, url in urls.items()}
    assert len(set(codes.values())) == len(codes) == 7
    for name, code in codes.items():
        opened = {each for each in LINK_OPERATIONS.values() if links.opens(each, "one", code)}
        assert opened == {LINK_OPERATIONS[name]}
        assert not links.opens(LINK_OPERATIONS[name], "two", code)
    assert "the-system-key" not in str(urls)
    assert links.status_uri(BASE, "one") == urls["statusQueryGetUri"]


def test_links_end_with_the_key_that_signed_them() -> None:
    key = "first"
    links = Links(task_hub="H", system_key=lambda: key)
    code = code_in(links.status_uri(BASE, "one"))
    assert links.opens("getStatus", "one", code)
    key = "second"
    assert not links.opens("getStatus", "one", code)


def test_a_hub_without_a_key_honours_no_code() -> None:
    code = code_in(Links(task_hub="H", system_key=lambda: "").status_uri(BASE, "one"))
    assert not Links(task_hub="H").opens("getStatus", "one", code)


def test_who_came_by_a_link_is_given_no_other_but_that_to_the_status() -> None:
    links = Links(task_hub="H", system_key=lambda: "key")
    urls = links.check_status(BASE, "one", Access.SCOPED)
    assert [name for name, url in urls.items() if "code=" in url] == ["statusQueryGetUri"]
    assert list(urls) == list(links.check_status(BASE, "one"))


def test_ids_are_escaped_as_dotnet_does_but_for_the_space() -> None:
    links = Links(task_hub="H")
    assert links.status_uri(BASE, "é -_.!*()~'+%") == (
        f"{BASE}/instances/%C3%A9%20-_.!*()%7E%27%2B%25?taskHub=H&connection=Storage"
    )


@pytest.mark.parametrize(
    ("method", "path", "operation", "instance_id"),
    [
        ("GET", "instances/one", "getStatus", "one"),
        ("DELETE", "Instances/one/", "purgeInstance", "one"),
        ("POST", "instances/a%20b%25/RaiseEvent/go", "raiseEvent", "a b%"),
        ("POST", "instances/a%2Fb/terminate", "terminate", "a/b"),
        ("HEAD", "instances/one", None, None),
        ("GET", "instances/%FF", None, None),
        ("POST", "instances/one/terminate/more", None, None),
    ],
)
def test_the_judge_is_told_operation_and_instance(
    hub: Any, method: str, path: str, operation: str | None, instance_id: str | None
) -> None:
    hub.access = Access.NONE
    assert hub.send(method, path).status_code == 401
    assert (hub.asked[-1].operation, hub.asked[-1].instance_id) == (operation, instance_id)


def test_the_judge_is_told_of_no_instance_where_the_path_names_none(hub: Any) -> None:
    for method, path in (("GET", "instances"), ("POST", "orchestrators/Job/one")):
        hub.send(method, path)
        assert hub.asked[-1].operation is not None
        assert hub.asked[-1].instance_id is None
