"""Orchestrations that do what their input says, step by step."""

from datetime import timedelta

import azure.durable_functions as df

app = df.DFApp()
RETRY = df.RetryOptions(first_retry_interval_in_milliseconds=2000, max_number_of_attempts=3)


@app.orchestration_trigger(context_name="context")
def Work(context):
    """Take the steps of a plan; return the number of its steps."""
    plan = context.get_input()
    for number, step in enumerate(plan["steps"]):
        yield from take(context, f"{plan['token']}.{number}", step, plan)
        if step == "again":
            rest = {"steps": plan["steps"][number + 1 :], "token": f"{plan['token']}+"}
            context.continue_as_new({**plan, **rest})
            return None
    return plan["size"]


def take(context, token, step, plan):
    """Take one step; ``token`` is used once in all the world."""
    journal = df.EntityId("Journal", "one")
    if step == "activities":
        found = yield context.task_all([context.call_activity("Echo", n) for n in range(3)])
        assert found == [0, 1, 2], found
    elif step == "chain":
        for n in range(3):
            found = yield context.call_activity("Echo", n)
            assert found == n, found
    elif step == "timer":
        yield context.create_timer(context.current_utc_datetime + timedelta(seconds=7))
    elif step == "event":
        late = context.create_timer(context.current_utc_datetime + timedelta(seconds=40))
        event = context.wait_for_external_event("E")
        winner = yield context.task_any([late, event])
        if winner is event:
            late.cancel()
    elif step == "either":
        echo = context.call_activity("Echo", token)
        event = context.wait_for_external_event("E")
        winner = yield context.task_any([echo, event])
        yield context.call_activity("Echo", "event" if winner is event else "echo")
        yield echo
    elif step == "signal":
        context.signal_entity(journal, "write", token)
    elif step == "call":
        yield context.call_entity(journal, "write", token)
    elif step == "children":
        child = {"steps": ["activities", "call", "timer"], "size": 3}
        plans = [{**child, "token": f"{token}/{n}", "flaws": 0} for n in range(2)]
        found = yield context.task_all([context.call_sub_orchestrator("Work", p) for p in plans])
        assert found == [3, 3], found
    elif step == "retry":
        try:
            yield context.call_activity_with_retry("Fail", RETRY, None)
        except Exception:
            context.set_custom_status("failed as it should")
    elif step == "flaw":
        yield context.call_activity("Flawed", plan["token"])


@app.activity_trigger(input_name="value")
def Echo(value):
    """Return the value."""
    return value


@app.activity_trigger(input_name="value")
def Flawed(value):
    """Return the value, once the simulation lets it."""
    return value


@app.activity_trigger(input_name="value")
def Fail(value):
    """Raise."""
    raise ValueError("as it should")


@app.entity_trigger(context_name="context")
def Journal(context):
    """Write down each token; deleting forgets them."""
    lines = context.get_state(list)
    lines.append(context.get_input())
    context.set_state(lines)
    context.set_result(len(lines))
