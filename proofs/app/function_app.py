"""The app under proof: every kind of step, and a ledger of what was really done."""

import os
from datetime import timedelta

import azure.durable_functions as df

app = df.DFApp()


@app.orchestration_trigger(context_name="context")
def Work(context):
    """Chain, fan out, sleep, race, and continue as new once; return the token it was given."""
    state = context.get_input()
    token, lap = state["token"], state.get("lap", 0)
    if lap == 0:
        yield context.call_activity("note", f"begun {token}")
        squares = yield context.task_all([context.call_activity("square", n) for n in range(4)])
        context.set_custom_status({"squares": squares})
        yield context.create_timer(context.current_utc_datetime + timedelta(milliseconds=30))
        context.continue_as_new({"token": token, "lap": 1})
        return None
    slow = context.create_timer(context.current_utc_datetime + timedelta(hours=1))
    quick = context.call_activity("square", 7)
    winner = yield context.task_any([slow, quick])
    if winner is quick:
        slow.cancel()
    guid = context.new_guid()
    yield context.call_activity("note", f"ended {token}")
    return {"token": token, "square": quick.result, "guid": str(guid)}


@app.activity_trigger(input_name="number")
def square(number: int) -> int:
    """Return the square."""
    return number * number


@app.activity_trigger(input_name="line")
def note(line: str) -> None:
    """Write a line to the ledger; a single append is whole or absent."""
    ledger = os.open(os.environ["PROOF_LEDGER"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    try:
        os.write(ledger, f"{line}\n".encode())
    finally:
        os.close(ledger)
