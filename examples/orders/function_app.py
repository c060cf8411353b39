"""Orders: reserved with retries, paid within three days or given up, shipped a day later."""

from datetime import timedelta

import azure.durable_functions as df
import azure.functions as func

app = df.DFApp(http_auth_level=func.AuthLevel.ANONYMOUS)

TIME_TO_PAY = timedelta(days=3)
TIME_TO_PACK = timedelta(days=1)
RETRIES = df.RetryOptions(first_retry_interval_in_milliseconds=60_000, max_number_of_attempts=3)


@app.route(route="orders/{id}", methods=["POST"])
@app.durable_client_input(client_name="client")
async def place_order(
    req: func.HttpRequest, client: df.DurableOrchestrationClient
) -> func.HttpResponse:
    """Take an order."""
    instance_id = await client.start_new("Order", req.route_params["id"])
    return client.create_check_status_response(req, instance_id)


@app.orchestration_trigger(context_name="context")
def Order(context: df.DurableOrchestrationContext):
    """See an order through."""
    yield context.call_activity_with_retry("reserve", RETRIES, context.instance_id)
    late = context.create_timer(context.current_utc_datetime + TIME_TO_PAY)
    paid = context.wait_for_external_event("Paid")
    first = yield context.task_any([paid, late])
    if first == late:
        return "given up"
    late.cancel()
    yield context.create_timer(context.current_utc_datetime + TIME_TO_PACK)
    return f"shipped on {context.current_utc_datetime:%A}"


@app.activity_trigger(input_name="order")
def reserve(order: str) -> str:
    """Have the warehouse lay things aside."""
    return ask_warehouse(order)


def ask_warehouse(order: str) -> str:
    """Stand in for a service that is not always there."""
    return f"shelf of order {order}"
