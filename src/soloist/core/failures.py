"""Why something failed, kept as facts so that each face can word it its own way."""

from __future__ import annotations

import msgspec


class FailureDetails(msgspec.Struct, frozen=True, omit_defaults=True):
    """One failure; ``TaskFailureDetails`` of the Durable Task protocol.

    ``error_type`` is the exception's class name, empty when Soloist itself is speaking (an
    unknown function, a lost worker). ``stack_trace`` is the traceback in the function's language.
    ``inner`` is what caused it, ``properties`` is JSON text that the function's SDK added.
    """

    message: str
    error_type: str = ""
    stack_trace: str = ""
    inner: FailureDetails | None = None
    is_non_retriable: bool = False
    properties: str | None = None
