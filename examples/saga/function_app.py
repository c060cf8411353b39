"""A saga: a trip of three bookings, all of them or none.

There is no transaction over a hotel, an airline and a car rental. So the orchestrator remembers
what it has booked, and when a booking fails it cancels the others in reverse order.

Activities run at least once. Booking and cancelling twice therefore must do no more than once.
"""

import json
import os
import sqlite3
import tempfile
from contextlib import closing

import azure.durable_functions as df
import azure.functions as func

app = df.DFApp(http_auth_level=func.AuthLevel.FUNCTION)

BOOKINGS_FILE = os.environ.get("BOOKINGS_FILE") or os.path.join(
    tempfile.gettempdir(), "saga-bookings.db"
)
KINDS = ("hotel", "flight", "car")


@app.route(route="trips/{tripId}", methods=["POST"])
@app.durable_client_input(client_name="client")
async def book_trip(
    req: func.HttpRequest, client: df.DurableOrchestrationClient
) -> func.HttpResponse:
    """Book a trip; a body like ``{"sold_out": "car"}`` makes that booking fail."""
    trip_id = req.route_params["tripId"]
    await client.start_new("BookTrip", trip_id, json.loads(req.get_body() or "{}"))
    return client.create_check_status_response(req, trip_id)


@app.route(route="trips/{tripId}/bookings", methods=["GET"])
def read_bookings(req: func.HttpRequest) -> func.HttpResponse:
    """Tell what is booked for a trip at this moment."""
    kinds = [
        kind
        for (kind,) in bookings(
            "SELECT kind FROM bookings WHERE trip = ? ORDER BY rowid", req.route_params["tripId"]
        )
    ]
    return func.HttpResponse(json.dumps(kinds), mimetype="application/json")


@app.orchestration_trigger(context_name="context")
def BookTrip(context: df.DurableOrchestrationContext):
    """Book everything, or undo what was booked."""
    sold_out = context.get_input().get("sold_out")
    undo_patiently = df.RetryOptions(
        first_retry_interval_in_milliseconds=200,
        max_number_of_attempts=10,
    )
    booked = []
    try:
        for kind in KINDS:
            booking = {"trip": context.instance_id, "kind": kind, "is_sold_out": kind == sold_out}
            booked.append((yield context.call_activity("book", booking)))
    except Exception as error:
        context.set_custom_status("undoing")
        undone = []
        for booking in reversed(booked):
            undone.append(
                (yield context.call_activity_with_retry("cancel", undo_patiently, booking))
            )
        return {"trip": "off", "reason": str(error).splitlines()[0].strip(), "undone": undone}
    return {"trip": "on", "booked": [booking["kind"] for booking in booked]}


@app.activity_trigger(input_name="booking")
def book(booking: dict) -> dict:
    """Book one thing, unless it is sold out."""
    if booking["is_sold_out"]:
        raise ValueError(f"no {booking['kind']} is left")
    bookings("INSERT OR IGNORE INTO bookings VALUES (?, ?)", booking["trip"], booking["kind"])
    return booking


@app.activity_trigger(input_name="booking")
def cancel(booking: dict) -> str:
    """Cancel one booking; to cancel what is cancelled is no error."""
    bookings("DELETE FROM bookings WHERE trip = ? AND kind = ?", booking["trip"], booking["kind"])
    return booking["kind"]


def bookings(statement: str, *values: str) -> list:
    """Stand in for the booking systems of three companies."""
    with closing(sqlite3.connect(BOOKINGS_FILE)) as connection, connection:
        connection.execute("CREATE TABLE IF NOT EXISTS bookings (trip, kind, UNIQUE (trip, kind))")
        return connection.execute(statement, values).fetchall()
