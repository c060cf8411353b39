"""Monitor: look at something again and again until it is as hoped for, or for too long.

The pause between two looks grows, and between two looks nothing is kept in memory.
"""

import os
import pathlib
from datetime import timedelta

import azure.durable_functions as df
import azure.functions as func

app = df.DFApp(http_auth_level=func.AuthLevel.ANONYMOUS)


@app.route(route="watches", methods=["POST"])
@app.durable_client_input(client_name="client")
async def watch(req: func.HttpRequest, client: df.DurableOrchestrationClient) -> func.HttpResponse:
    """Watch for the file that the body names."""
    instance_id = await client.start_new("Monitor", client_input=req.get_json())
    return client.create_check_status_response(req, instance_id)


@app.orchestration_trigger(context_name="context")
def Monitor(context: df.DurableOrchestrationContext):
    """Look until the file is there or the patience is at its end."""
    order = context.get_input()
    began_at = context.current_utc_datetime
    until = began_at + timedelta(seconds=order.get("patience_seconds", 600))
    pause = timedelta(seconds=order.get("pause_seconds", 5))
    looks = 0
    while context.current_utc_datetime < until:
        looks += 1
        found = yield context.call_activity("look", order["file"])
        if found is not None:
            return {"found": found, "looks": looks}
        context.set_custom_status({"looks": looks})
        yield context.create_timer(min(context.current_utc_datetime + pause, until))
        pause = min(pause * 2, timedelta(minutes=1))
    return {"found": None, "looks": looks}


@app.activity_trigger(input_name="name")
def look(name: str):
    """Return the file's text, or nothing."""
    folder = pathlib.Path(os.environ.get("WATCHED_FOLDER") or ".")
    path = folder / pathlib.PurePath(name).name
    return path.read_text(encoding="utf-8") if path.is_file() else None
