"""The ``squidmesh`` command.

The rule of this folder: one file for each command, which holds a click command of the file's name and is
imported only when it is asked for; what goes wrong is one line that says what to type.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys

import click

_COMMANDS = ("demo", "migrate", "worker")


class _Commands(click.Group):
    """Finds a command in the file of its name."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return [name for name in _COMMANDS if importlib.util.find_spec(f"{__name__}.{name}") is not None]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in self.list_commands(ctx):
            return None
        command = getattr(importlib.import_module(f"{__name__}.{cmd_name}"), cmd_name)
        assert isinstance(command, click.Command)
        return command


@click.command(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="squidmesh", message="squidmesh %(version)s")
def squidmesh() -> None:
    """Durable workflows inside a Python application."""


def main() -> None:
    """What the ``squidmesh`` script calls."""
    from squidmesh.errors import MeshError

    try:
        squidmesh()
    except MeshError as error:
        print(f"squidmesh: {error}", file=sys.stderr)
        sys.exit(1)
