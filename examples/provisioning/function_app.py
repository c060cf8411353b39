"""Provisioning: one orchestration sets up many devices, each by a sub-orchestration of its own.

All children run at once. One that fails is started again, a few times; the parent waits until
every device is ready, or fails with the first device that cannot be set up.
"""

from collections import Counter

import azure.durable_functions as df
import azure.functions as func

app = df.DFApp(http_auth_level=func.AuthLevel.FUNCTION)

installations = Counter()
"""How often each device was tried. Memory of this process: good enough to play a bad connection."""


@app.route(route="provision", methods=["POST"])
@app.durable_client_input(client_name="client")
async def start_provisioning(
    req: func.HttpRequest, client: df.DurableOrchestrationClient
) -> func.HttpResponse:
    """Start with a body like ``{"devices": ["lamp"], "failures": {"lamp": 2}}``."""
    instance_id = await client.start_new("ProvisionAll", client_input=req.get_json())
    return client.create_check_status_response(req, instance_id)


@app.orchestration_trigger(context_name="context")
def ProvisionAll(context: df.DurableOrchestrationContext):
    """Provision all devices side by side."""
    order = context.get_input()
    failures = order.get("failures", {})
    retry = df.RetryOptions(
        first_retry_interval_in_milliseconds=100,
        max_number_of_attempts=3,
    )
    children = [
        context.call_sub_orchestrator_with_retry(
            "ProvisionDevice",
            retry,
            {"order": context.instance_id, "device": name, "failures": failures.get(name, 0)},
        )
        for name in order["devices"]
    ]
    return (yield context.task_all(children))


@app.orchestration_trigger(context_name="context")
def ProvisionDevice(context: df.DurableOrchestrationContext):
    """Take one device through its three steps."""
    device = context.get_input()
    serial = yield context.call_activity("register", device["device"])
    context.set_custom_status(f"{serial} is registered")
    attempt = yield context.call_activity("install", device)
    yield context.call_activity("activate", serial)
    return {"device": device["device"], "serial": serial, "attempts": attempt}


@app.activity_trigger(input_name="name")
def register(name: str) -> str:
    """Give a device its serial number: always the same, however often it is asked for."""
    return f"SN-{name.upper()}"


@app.activity_trigger(input_name="device")
def install(device: dict) -> int:
    """Install the software over a line that drops as often as the order says."""
    key = (device["order"], device["device"])
    installations[key] += 1
    if installations[key] <= device["failures"]:
        raise ConnectionError(f"lost the line to {device['device']}")
    return installations[key]


@app.activity_trigger(input_name="serial")
def activate(serial: str) -> None:
    """Pretend to switch the device on."""
