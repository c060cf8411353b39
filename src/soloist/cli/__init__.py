"""The command line: ``soloist``."""

from __future__ import annotations

import click

from soloist import __version__
from soloist.cli.entities import entities
from soloist.cli.hosts import hosts
from soloist.cli.instances import instances
from soloist.cli.keys import keys
from soloist.cli.outputs import Commands
from soloist.cli.serve import serve
from soloist.cli.start import start
from soloist.cli.timers import timers


@click.group(
    cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100}
)
@click.version_option(__version__, prog_name="soloist")
def main() -> None:
    """Run Durable Functions apps on your own machine: one instance id, one running instance."""


main.add_command(start)
main.add_command(serve)
main.add_command(instances)
main.add_command(entities)
main.add_command(timers)
main.add_command(hosts)
main.add_command(keys)
