"""Greets one city after another and counts the visits."""

import azure.durable_functions as df


def tour(context: df.DurableOrchestrationContext):
    """Visit the cities of the input."""
    greetings = []
    for city in context.get_input():
        greeting = yield context.call_activity("SayHello", city)
        visits = yield context.call_entity(df.EntityId("Visits", city), "add", 1)
        greetings.append(f"{greeting} Visit {visits}.")
    return greetings


main = df.Orchestrator.create(tour)
