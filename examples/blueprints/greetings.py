"""The activities, as a blueprint of their own."""

import azure.durable_functions as df
import azure.functions as func

greetings = df.Blueprint()

WORDS = {"Tokyo": "Konnichiwa", "Lisbon": "Olá", "Oslo": "Hei"}


@greetings.activity_trigger(input_name="visit")
def greet(visit: dict) -> str:
    """Greet somebody as it is done in a city."""
    return f"{WORDS[visit['city']]}, {visit['name']}!"


@greetings.route(route="cities", auth_level=func.AuthLevel.ANONYMOUS)
def cities(req: func.HttpRequest) -> func.HttpResponse:
    """Name the cities of a tour."""
    return func.HttpResponse(", ".join(WORDS))
