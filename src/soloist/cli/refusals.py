"""Refusals: what people who type are told where the API's text, which is Azure's, says less."""

from __future__ import annotations

import click

from soloist.core.ids import is_entity_id
from soloist.core.policy import StartPolicy
from soloist.core.status import RuntimeStatus
from soloist.errors import InstanceExists, InstanceNotFailed, InstanceNotFound, SoloistError


def told(error: SoloistError) -> str:
    """Return an error's text, with the instance that it is about and what to do."""
    match error:
        case InstanceExists(instance_id=instance_id, status=status):
            return (
                f"An instance with ID '{instance_id}' and the status {status} already exists."
                f" {_way_out(RuntimeStatus(status))}"
            )
        case InstanceNotFailed(instance_id=instance_id, status=status):
            return (
                f"Instance '{instance_id}' has the status {status}, but only instances in the"
                ' "Failed" state can be rewound.'
            )
        case InstanceNotFound(instance_id=instance_id) if is_entity_id(instance_id):
            return f"No entity '{instance_id}' found."
    return str(error)


def _way_out(status: RuntimeStatus) -> str:
    """Say what whoever wanted the id can do, by the options that the command has."""
    policy = click.get_current_context().params.get("policy")
    removal = f"{'Purge' if status.is_terminal else 'Terminate'} it first"
    if policy is None:
        return f"{removal}."
    is_other = policy == StartPolicy.RETURN.value
    reason = "It runs another function, so it is not returned. " if is_other else ""
    return f"{reason}{removal}, or start with --if-exists replace."
