"""Outputs: what happens when what is printed cannot be written."""

from __future__ import annotations

import contextlib
import os
import sys
from typing import Any

import click


class Commands(click.Group):
    """The commands; an output that cannot be written ends one with a sentence."""

    def main(self, *args: Any, **extra: Any) -> Any:
        """Run the command that is typed."""
        try:
            return super().main(*args, **extra)
        except OSError as error:
            if not _is_of_output(error):
                raise
            _give_up_output()
            reason = error.strerror or str(error)
            with contextlib.suppress(OSError):
                click.echo(f"Error: The output cannot be written: {reason}.", err=True)
            sys.exit(1)


def _is_of_output(error: OSError) -> bool:
    """Whether an error was raised where a command prints."""
    step = error.__traceback__
    while step is not None and step.tb_next is not None:
        step = step.tb_next
    return step is not None and step.tb_frame.f_code is click.echo.__code__


def _give_up_output() -> None:
    """Drop what is not written: the interpreter would try again at exit, with a traceback."""
    try:
        sys.stdout.flush()
    except OSError:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
