"""The orchestrator."""

import azure.durable_functions as df


def countdown(context: df.DurableOrchestrationContext):
    """Count down, and keep the score in an entity."""
    spoken = []
    for number in range(context.get_input(), 0, -1):
        spoken.append((yield context.call_activity("tick", number)))
    score = yield context.call_entity(df.EntityId("Score", "all"), "add", len(spoken))
    return {"spoken": spoken, "score": score}


main = df.Orchestrator.create(countdown)
