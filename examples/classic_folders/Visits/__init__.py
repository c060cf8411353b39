"""Counts visits, one entity a city."""

import azure.durable_functions as df


def visits(context: df.DurableEntityContext):
    """``add`` a number, ``get`` the sum; both answer with the sum."""
    count = context.get_state(lambda: 0)
    if context.operation_name == "add":
        count += context.get_input()
        context.set_state(count)
    context.set_result(count)


main = df.Entity.create(visits)
