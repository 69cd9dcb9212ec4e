"""One command's use of a mesh: where the database is, which run is meant, how the answer is given.

The rule of this file: the options that commands share are declared here, once, and nothing is connected before a
command asks for it. A SQLite file that is not there is not made by looking for it.
"""

from __future__ import annotations

import functools
import shlex
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from squidmesh.cli.refusal import UNAVAILABLE, Refusal

if TYPE_CHECKING:
    from pydantic import BaseModel

    from squidmesh.cli.blocks import Block
    from squidmesh.handle import Handle
    from squidmesh.mesh import Mesh

F = TypeVar("F", bound=Callable[..., Any])


class Session:
    """What a command is given. ``json``: answer a program; ``makes``: a database that is not there is made."""

    def __init__(self, database: str | None, broker: str | None, json: bool, modules: Sequence[str] = ()) -> None:
        self.json = json
        self.makes = False
        self._database = database
        self._broker = broker
        self._modules = modules
        self._mesh: Mesh | None = None

    @property
    def mesh(self) -> Mesh:
        """The mesh, connected when first asked for, with the code of ``--module``."""
        if self._mesh is None:
            from squidmesh.cli.code import load
            from squidmesh.mesh import Mesh

            for name in self._modules:
                load(name)
            mesh = Mesh(self._database, broker=self._broker)
            if not self.makes:
                there(mesh)
            mesh.connect_engine()
            self._mesh = mesh
        return self._mesh

    def run(self, name: str | None, key: str | None) -> Handle[Any]:
        """The run that is meant: by id, by a part of it, or by its key."""
        from squidmesh.cli.naming import find

        return find(self.mesh, name, key)

    def close(self) -> None:
        if self._mesh is not None:
            self._mesh.close()

    # ------------------------------------------------------------------------------------------ answering

    def answer(self, document: Callable[[], BaseModel], blocks: Callable[[], Sequence[Block]]) -> None:
        """Say it to a program as JSON, to a person as blocks; only one of the two is made."""
        if self.json:
            click.echo(document().model_dump_json(indent=2))
        else:
            from squidmesh.cli.screen import show

            show(*blocks())

    def command(self, line: str) -> str:
        """A command line to type next, on the same database."""
        known = self._database is not None and "@" not in self._database and line.startswith("squidmesh ")
        return f"{line} --database {shlex.quote(self._database or '')}" if known else line


def there(mesh: Mesh) -> None:
    """Refuse a SQLite file that does not exist: to look for runs must not make one."""
    database = mesh.database
    if not isinstance(database, str) or not database.startswith("sqlite") or ":///" not in database:
        return
    name = database.partition(":///")[2].partition("?")[0]
    if name and name != ":memory:" and not name.startswith("file:") and not Path(name).exists():
        raise Refusal(
            f"there is no database {name} (in {Path.cwd()}): run this where it is, name it with --database or "
            f"SQUIDMESH_DATABASE_URL, or make it: squidmesh migrate --database {database}",
            UNAVAILABLE,
        )


# ---------------------------------------------------------------------------------------------------- declaring

_DATABASE = click.option(
    "--database", metavar="URL", help="sqlite:///FILE or postgresql://…; else SQUIDMESH_DATABASE_URL."
)
_BROKER = click.option("--broker", metavar="URL", help="Of the workers, to wake them; else SQUIDMESH_BROKER_URL.")
_JSON = click.option("--json", "as_json", is_flag=True, help="Answer with JSON, for programs.")
_MODULES = click.option(
    "--module", "modules", metavar="MODULE", multiple=True, help="Where the workflow's code is, as it is imported."
)


def reading(command: F) -> F:
    """Give a command a ``Session``, and the options of all that read."""
    return _with_session(command, _DATABASE, _JSON)


def steering(command: F) -> F:
    """Give a command a ``Session``, and the options of all that change something."""
    return _with_session(command, _DATABASE, _BROKER, _JSON)


def with_code(command: F) -> F:
    """As ``steering``, with ``--module`` for the code that it needs."""
    return _with_session(command, _MODULES, _DATABASE, _BROKER, _JSON)


def _with_session(command: F, *options: Callable[[Any], Any]) -> F:
    @functools.wraps(command)
    def called(**given: Any) -> Any:
        session = Session(
            given.pop("database"), given.pop("broker", None), given.pop("as_json"), given.pop("modules", ())
        )
        click.get_current_context().call_on_close(session.close)
        return command(session, **given)

    for option in reversed(options):
        called = option(called)
    return called  # type: ignore[return-value]


class OfRun(click.Command):
    """A command about one run: ``RUN …``, or ``--key KEY …`` in its place."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        before = args[: args.index("--")] if "--" in args else args
        ctx.meta["squidmesh.keyed"] = any(arg == "--key" or arg.startswith("--key=") for arg in before)
        return super().parse_args(ctx, args)

    def get_params(self, ctx: click.Context) -> list[click.Parameter]:
        params = super().get_params(ctx)
        return [param for param in params if param.name != "run" or not ctx.meta.get("squidmesh.keyed")]


def of_run(command: F) -> F:
    """Declare how the run is named; the command gets its handle as ``run``."""

    @functools.wraps(command)
    def called(session: Session, *, key: str | None, run: str | None = None, **given: Any) -> Any:
        return command(session, session.run(run, key), **given)

    from squidmesh.cli.naming import RUN

    named = click.argument("run", metavar="RUN", type=RUN)(called)
    return click.option("--key", metavar="KEY", help="The run that was started with this key, instead of RUN.")(named)  # type: ignore[return-value]


def by_person(*, note: bool) -> Callable[[F], F]:
    """Declare who decides, and why. ``note``: the reason is required."""

    def declare(command: F) -> F:
        options = (
            click.option("--actor", metavar="WHO", required=True, help="Who decides this; in the history."),
            click.option("--note", metavar="WHY", required=note, help="Why; in the history."),
            _COMMAND_KEY,
        )
        for option in reversed(options):
            command = option(command)
        return command

    return declare


_COMMAND_KEY = click.option(
    "--command-key", "command_key", metavar="KEY", help="Said again with the same one, nothing is recorded twice."
)
