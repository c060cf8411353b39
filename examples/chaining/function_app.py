"""Function chaining: each step is given what the step before it came to.

A trip is a flight, then a hotel near where the flight lands, then one payment for both. When a
later step fails, the earlier ones are taken back in reverse order.
"""

import json

import azure.durable_functions as df
import azure.functions as func

app = df.DFApp(http_auth_level=func.AuthLevel.ANONYMOUS)

PRICES = {"flight": 180, "hotel": 95}


@app.route(route="trips", methods=["POST"])
@app.durable_client_input(client_name="client")
async def start_trip(
    req: func.HttpRequest, client: df.DurableOrchestrationClient
) -> func.HttpResponse:
    """Begin to book; the answer's links tell how it goes."""
    trip = json.loads(req.get_body() or "null")
    instance_id = await client.start_new("BookTrip", client_input=trip)
    return client.create_check_status_response(req, instance_id)


@app.route(route="trips/now", methods=["POST"])
@app.durable_client_input(client_name="client")
async def book_trip_now(
    req: func.HttpRequest, client: df.DurableOrchestrationClient
) -> func.HttpResponse:
    """Book, and answer with the booking itself when it is there within ten seconds."""
    trip = json.loads(req.get_body() or "null")
    instance_id = await client.start_new("BookTrip", client_input=trip)
    return await client.wait_for_completion_or_create_check_status_response(
        req, instance_id, timeout_in_milliseconds=10_000, retry_interval_in_milliseconds=100
    )


@app.orchestration_trigger(context_name="context")
def BookTrip(context: df.DurableOrchestrationContext):
    """Three steps in a row, and the way back."""
    trip = context.get_input()
    booked = []
    try:
        flight = yield context.call_activity("book_flight", trip)
        booked.append(flight)
        hotel = yield context.call_activity("book_hotel", flight)
        booked.append(hotel)
        return (yield context.call_activity("pay", {"budget": trip["budget"], "items": booked}))
    except Exception:
        for booking in reversed(booked):
            yield context.call_activity("cancel", booking)
        raise


@app.activity_trigger(input_name="trip")
def book_flight(trip: dict) -> dict:
    """Book a seat; the trip says where to."""
    return {"what": "flight", "city": trip["city"], "price": PRICES["flight"]}


@app.activity_trigger(input_name="flight")
def book_hotel(flight: dict) -> dict:
    """Book a bed in the city where the flight lands."""
    return {"what": "hotel", "city": flight["city"], "price": PRICES["hotel"]}


@app.activity_trigger(input_name="bill")
def pay(bill: dict) -> str:
    """Pay for everything, if the budget allows it."""
    total = sum(item["price"] for item in bill["items"])
    if total > bill["budget"]:
        raise ValueError(f"The trip costs {total}, but the budget is {bill['budget']}.")
    names = " and ".join(item["what"] for item in bill["items"])
    return f"{names} in {bill['items'][0]['city']} for {total}"


@app.activity_trigger(input_name="booking")
def cancel(booking: dict) -> str:
    """Give back what was booked."""
    return f"{booking['what']} in {booking['city']} cancelled"
