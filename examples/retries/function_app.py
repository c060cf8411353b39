"""Retries: an activity and a sub-orchestration that are called again while they fail.

When the attempts are used up, the caller gets the last failure as an exception, and may catch it.
"""

from collections import Counter

import azure.durable_functions as df
import azure.functions as func

app = df.DFApp(http_auth_level=func.AuthLevel.FUNCTION)

attempts = Counter()
"""How often each instance tried. Memory of this process: good enough to play a flaky service."""


@app.route(route="quotes/{functionName}", methods=["POST"])
@app.durable_client_input(client_name="client")
async def start_quote(
    req: func.HttpRequest, client: df.DurableOrchestrationClient
) -> func.HttpResponse:
    """Start ``QuoteByActivity`` or ``QuoteByChild``, e.g. with ``{"failures": 2}``."""
    order = {"failures": 2, "attempts": 3, "pause_milliseconds": 100} | req.get_json()
    instance_id = await client.start_new(req.route_params["functionName"], client_input=order)
    return client.create_check_status_response(req, instance_id)


@app.orchestration_trigger(context_name="context")
def QuoteByActivity(context: df.DurableOrchestrationContext):
    """Ask a flaky service by an activity with retries."""
    order = context.get_input()
    question = {"caller": context.instance_id, "failures": order["failures"]}
    try:
        answer = yield context.call_activity_with_retry("ask", patience(order), question)
    except Exception as error:
        return (yield context.call_activity("guess", str(error)))
    return answer


@app.orchestration_trigger(context_name="context")
def QuoteByChild(context: df.DurableOrchestrationContext):
    """Ask the same service by a sub-orchestration, which is run anew as a whole."""
    order = context.get_input()
    question = {"caller": context.instance_id, "failures": order["failures"]}
    try:
        answer = yield context.call_sub_orchestrator_with_retry(
            "AskPolitely", patience(order), question
        )
    except Exception as error:
        return (yield context.call_activity("guess", str(error)))
    return answer


@app.orchestration_trigger(context_name="context")
def AskPolitely(context: df.DurableOrchestrationContext):
    """Say the magic word first; no retries here, those are the parent's business."""
    yield context.call_activity("say_please", None)
    return (yield context.call_activity("ask", context.get_input()))


def patience(order: dict) -> df.RetryOptions:
    """Return how often and how quickly to ask again."""
    return df.RetryOptions(
        first_retry_interval_in_milliseconds=order["pause_milliseconds"],
        max_number_of_attempts=order["attempts"],
    )


@app.activity_trigger(input_name="nothing")
def say_please(nothing: str) -> str:
    """Be polite."""
    return "please"


@app.activity_trigger(input_name="question")
def ask(question: dict) -> dict:
    """Answer, after as many failures as the question asks for."""
    caller = question["caller"]
    attempts[caller] += 1
    if attempts[caller] <= question["failures"]:
        raise TimeoutError(f"no answer at attempt {attempts[caller]}")
    return {"price": 42, "attempts": attempts[caller]}


@app.activity_trigger(input_name="reason")
def guess(reason: str) -> dict:
    """Stand in for the service; the first line of the reason says why."""
    return {"price": 40, "guessed_because": reason.splitlines()[0].strip()}
