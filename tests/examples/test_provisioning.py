"""Provisioning: many sub-orchestrations at once, and those that fail are tried again."""

from __future__ import annotations

import json
from typing import Any

from soloist.webapi import BASE_PATH
from tests.examples.site import Site

APP = "provisioning"


def children_of(site: Site, parent: str, status: str) -> list[Any]:
    """Return the names of the devices whose sub-orchestrations are in a status."""
    query = {"runtimeStatus": status, "showInput": "true"}
    listed = site.send("GET", f"{BASE_PATH}/instances", params=query).json()
    inputs = [json.loads(each["input"]) for each in listed if each["name"] == "ProvisionDevice"]
    return sorted(each["device"] for each in inputs if each["order"] == parent)


def test_all_devices_are_provisioned_though_one_fails_twice(site: Site) -> None:
    devices = ["camera", "lamp", "door", "bell"]
    order = {"devices": devices, "failures": {"lamp": 2}}
    links = site.started("/api/provision", order)
    assert site.output(links) == [
        {"device": "camera", "serial": "SN-CAMERA", "attempts": 1},
        {"device": "lamp", "serial": "SN-LAMP", "attempts": 3},
        {"device": "door", "serial": "SN-DOOR", "attempts": 1},
        {"device": "bell", "serial": "SN-BELL", "attempts": 1},
    ]
    assert children_of(site, links["id"], "Completed") == sorted(devices)
    assert children_of(site, links["id"], "Failed") == ["lamp", "lamp"]


def test_a_device_that_always_fails_fails_the_order_and_is_named(site: Site) -> None:
    order = {"devices": ["camera", "lamp"], "failures": {"lamp": 3}}
    links = site.started("/api/provision", order)
    status = site.ended(links)
    assert status["runtimeStatus"] == "Failed"
    assert "Orchestrator function 'ProvisionDevice' failed" in status["output"]
    assert "lost the line to lamp" in status["output"]
    assert children_of(site, links["id"], "Failed") == ["lamp"] * 3
