"""The orchestrators, as a blueprint of their own."""

import azure.durable_functions as df
from greetings import WORDS, greet

orchestrations = df.Blueprint()


@orchestrations.orchestration_trigger(context_name="context")
def Tour(context: df.DurableOrchestrationContext):
    """Visit one city after another; activities may be named by their functions."""
    greetings = []
    for city in WORDS:
        visit = {"city": city, "name": context.get_input()}
        greetings.append((yield context.call_activity(greet, visit)))
    return greetings
