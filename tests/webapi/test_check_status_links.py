"""Links, character by character."""

from __future__ import annotations

from soloist.webapi.links import Links

BASE = "http://h/runtime/webhooks/durabletask"
QUERY = "taskHub=My+Hub&connection=A%26B&code=k%2B%3D%7E"


def test_the_links_are_those_of_durable_functions() -> None:
    links = Links(task_hub="My Hub", connection="A&B", system_key="k+=~")
    assert links.check_status(BASE, "a:1") == {
        "id": "a:1",
        "statusQueryGetUri": f"{BASE}/instances/a%3A1?{QUERY}",
        "sendEventPostUri": f"{BASE}/instances/a%3A1/raiseEvent/{{eventName}}?{QUERY}",
        "terminatePostUri": f"{BASE}/instances/a%3A1/terminate?reason={{text}}&{QUERY}",
        "purgeHistoryDeleteUri": f"{BASE}/instances/a%3A1?{QUERY}",
        "restartPostUri": f"{BASE}/instances/a%3A1/restart?{QUERY}",
        "suspendPostUri": f"{BASE}/instances/a%3A1/suspend?reason={{text}}&{QUERY}",
        "resumePostUri": f"{BASE}/instances/a%3A1/resume?reason={{text}}&{QUERY}",
    }


def test_ids_are_escaped_as_dotnet_does_but_for_the_space() -> None:
    links = Links(task_hub="H")
    assert links.status_uri(BASE, "é -_.!*()~'+%") == (
        f"{BASE}/instances/%C3%A9%20-_.!*()%7E%27%2B%25?taskHub=H&connection=Storage"
    )
