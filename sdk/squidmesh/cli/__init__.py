"""The ``squidmesh`` command.

The rule of this folder: a file holds one command or a small family, and is imported only when it is asked for (what is
heavy, only when it runs); what goes wrong is one line that says what to type. Commands ask the mesh, ``pages`` turn
what it says into blocks, and ``screen`` shows these; ``documents`` are what programs read.
"""

from __future__ import annotations

import importlib
import sys
from typing import Any, NoReturn

import click

from squidmesh.cli.catalogue import COMMANDS, SECTIONS


class Commands(click.Group):
    """Finds a command in its file; tells one that was mistyped what may have been meant."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        command = getattr(importlib.import_module(f"{__name__}.{COMMANDS[cmd_name].file}"), cmd_name.replace("-", "_"))
        assert isinstance(command, click.Command)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if self.get_command(ctx, args[0]) is None and not ctx.resilient_parsing and not args[0].startswith("-"):
            from squidmesh.cli.suggesting import meant

            ctx.fail(f"There is no command {args[0]!r}{meant(args[0].replace('_', '-'), COMMANDS) or '.'}")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        width = max(map(len, COMMANDS))
        for section, entries in SECTIONS.items():
            with formatter.section(section):
                formatter.write_dl([(name.ljust(width), entry.told) for name, entry in entries.items()])

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except (click.ClickException, click.exceptions.Exit, click.Abort, BrokenPipeError):
            raise
        except (Exception, KeyboardInterrupt) as error:
            if ctx.params.get("traceback") and not isinstance(error, KeyboardInterrupt):
                raise
            _refuse(error)


def _refuse(error: BaseException) -> NoReturn:
    from squidmesh.cli.refusal import refusal

    raise refusal(error) from None


@click.command(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="squidmesh", message="squidmesh %(version)s")
@click.option("--traceback", is_flag=True, help="Show where an error came from, instead of one line.")
def squidmesh(traceback: bool) -> None:
    """Durable workflows inside a Python application.

    A RUN is named by its id, by the beginning or the end of it (if no other has that), or by --key. All times are UTC.

    Exit codes: 0 done; 1 refused or failed; 2 wrong usage; 3 no such run, step or schedule; 4 the database or the
    broker cannot be used; 130 interrupted.
    """


def main() -> None:
    """What the ``squidmesh`` script calls."""
    try:
        squidmesh(prog_name="squidmesh")
    except KeyboardInterrupt:  # while nothing runs yet
        sys.exit(130)
