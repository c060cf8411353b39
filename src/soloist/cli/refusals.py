"""Refusals: what people who type are told where the API's text, which is Azure's, says less."""

from __future__ import annotations

from soloist.core.ids import is_entity_id
from soloist.core.status import RuntimeStatus
from soloist.errors import InstanceExists, InstanceNotFailed, InstanceNotFound, SoloistError


def told(error: SoloistError) -> str:
    """Return an error's text, with the instance that it is about and what to do."""
    match error:
        case InstanceExists(instance_id=instance_id, status=status):
            removal = "Purge" if RuntimeStatus(status).is_terminal else "Terminate"
            return (
                f"An instance with ID '{instance_id}' and the status {status} already exists."
                f" {removal} it first, or start with --if-exists replace."
            )
        case InstanceNotFailed(instance_id=instance_id, status=status):
            return (
                f"Instance '{instance_id}' has the status {status}, but only instances in the"
                ' "Failed" state can be rewound.'
            )
        case InstanceNotFound(instance_id=instance_id) if is_entity_id(instance_id):
            return f"No entity '{instance_id}' found."
    return str(error)
