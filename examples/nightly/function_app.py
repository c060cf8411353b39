"""Nightly: a timer starts a long job, unless the last one still runs.

The job is a singleton: whatever the schedule says, one instance called ``nightly`` runs at a time.
The schedule is the app setting ``NIGHTLY_SCHEDULE``.
"""

import logging
import os
from datetime import timedelta

import azure.durable_functions as df
import azure.functions as func

app = df.DFApp()

INSTANCE_ID = "nightly"
FINISHED = (
    df.OrchestrationRuntimeStatus.Completed,
    df.OrchestrationRuntimeStatus.Failed,
    df.OrchestrationRuntimeStatus.Terminated,
    None,  # there is no such instance
)


@app.timer_trigger(arg_name="timer", schedule="%NIGHTLY_SCHEDULE%")
@app.durable_client_input(client_name="client")
async def start_nightly(timer: func.TimerRequest, client: df.DurableOrchestrationClient) -> None:
    """Start tonight's job, or leave it out."""
    existing = await client.get_status(INSTANCE_ID)
    if existing.runtime_status not in FINISHED:
        logging.warning("The last job still runs; this one is left out.")
        return
    night = {
        "is_late": timer.past_due,
        "seconds": float(os.environ.get("NIGHTLY_SECONDS") or 10),
    }
    await client.start_new("Nightly", INSTANCE_ID, night)


@app.orchestration_trigger(context_name="context")
def Nightly(context: df.DurableOrchestrationContext):
    """Sweep, take a while, and say from when to when it took."""
    night = context.get_input()
    began_at = context.current_utc_datetime
    swept = yield context.call_activity("sweep", night)
    yield context.create_timer(began_at + timedelta(seconds=night["seconds"]))
    return {
        "began_at": began_at.isoformat(),
        "ended_at": context.current_utc_datetime.isoformat(),
        "swept": swept,
    }


@app.activity_trigger(input_name="night")
def sweep(night: dict) -> str:
    """Pretend to clean up."""
    return "late, but clean" if night["is_late"] else "clean"
