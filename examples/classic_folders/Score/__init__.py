"""The entity."""

import azure.durable_functions as df


def score(context: df.DurableEntityContext) -> None:
    """Add up."""
    total = context.get_state(lambda: 0) + context.get_input()
    context.set_state(total)
    context.set_result(total)


main = df.Entity.create(score)
