"""What the two databases say differently.

The rule of this file: no statement of the engine's. Statements are written once, with these marks in them, and a
dialect turns each into its driver's SQL the first time it meets it:

    :name           a parameter
    {now}           the time now, in microseconds
    {lock}          lock the rows found, passing over those that somebody else has locked
    {wait}          lock the rows found, waiting for those that somebody else has locked
    {text:column}   the column as text (JSON and ids)
    {in:name}       is one of the values of the parameter, a list made by ``listed``; {in:name:uuid} of ids, …
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any, Protocol

from sqlalchemy import Connection, RootTransaction

from squidmesh.ports import Append, Appended, NewRun, Outcome, Reported

if TYPE_CHECKING:
    from squidmesh.store.database import Database, Statements

_MARK = re.compile(r"\{(now|lock|wait|text|in)(?::(\w+))?(?::(\w+))?\}|(?<![:\w]):([a-z_]+)")


class Dialect(Protocol):
    """One of the two databases, as the store speaks to it."""

    name: str
    begin: str  # opens a transaction that writes
    direct: int  # how many threads append for themselves before they are written together
    clocked: bool  # the time is given with each statement, not taken from the database

    def sql(self, text: str) -> str:
        """The driver's form of a statement."""
        ...

    def listed(self, values: Iterable[Any]) -> Any:
        """The form of a list parameter, for ``{in:…}``."""
        ...

    def sent(self, parameters: Mapping[str, Any]) -> Mapping[str, Any]:
        """Parameters as the driver is given them."""
        ...

    def prepare(self, driver: Any) -> None:
        """Set up a new driver connection, in autocommit mode."""
        ...

    def usable(self, driver: Any) -> bool:
        """Whether a connection can be used again: nothing open on it, and the server still there as far as seen."""
        ...

    def transient(self, error: BaseException) -> bool:
        """Whether the same statement may succeed a little later."""
        ...

    def undone(self, error: BaseException) -> bool:
        """Whether this error says that certainly nothing was committed."""
        ...

    def collided(self, error: BaseException) -> bool:
        """Whether this error says that a transaction stood in the way of another one."""
        ...

    def start(self, statements: Statements, runs: Sequence[NewRun]) -> list[str]:
        """Insert runs and their first history rows; ids of those that were not there, by id or key."""
        ...

    def write(self, database: Database, appends: Sequence[Append]) -> list[Appended | None]:
        """Write each append or leave it (None: its holder or its place is taken by another); durable on return.

        What it raises has left nothing written, but for a connection lost while it committed.
        """
        ...

    def report(
        self, statements: Statements, worker: str, outcomes: Sequence[Outcome], *, leased: bool = False
    ) -> Reported:
        """Write the outcomes of tasks that this worker still has, all in the transaction at hand.

        ``leased``: it was seen that the lease lives.
        """
        ...

    # -- in a transaction that is shared with others

    def hosting(self, connection: Connection) -> AbstractContextManager[RootTransaction]:
        """Begin a transaction that may write, on a connection of the engine's pool; rolled back if the block raises."""
        ...

    def silence(self, connection: Connection, talking: Callable[[], bool]) -> None:
        """End the statement that another thread is saying (where that can be): a rollback would wait for it."""
        ...

    def fence(self, statements: Statements, patience: float) -> None:
        """From here to the commit it is the store that speaks; should the process stop now, it counts as gone.

        That is after so many seconds (where the database can tell).
        """
        ...

    def lock(self, statements: Statements, append: Append) -> bool:
        """Lock what this append will write, in everybody's order; whether the run is its holder's."""
        ...

    def append(self, statements: Statements, append: Append, *, leased: bool = False) -> Appended | None:
        """Write an append whose rows are locked (None: the place is taken). ``leased``: as in ``report``."""
        ...


def spoken(text: str, *, now: str, lock: str, wait: str, parameter: str, cast: str, among: str) -> str:
    """Turn the marks in a statement into one dialect's SQL.

    Args:
        text: the statement, as the module's docstring says.
        now: the expression for the time.
        lock: what locks rows, passing over locked ones.
        wait: what locks rows, waiting for locked ones.
        parameter: the driver's form of a parameter, with ``@`` for its name.
        cast: the expression for a column as text, with ``@`` for the column.
        among: the operator for a list, with ``@`` for the parameter and ``#`` for the type of its members.
    """

    def replace(found: re.Match[str]) -> str:
        mark, name, kind, plain = found.groups()
        if plain:
            return parameter.replace("@", plain)
        match mark:
            case "now":
                return now
            case "lock":
                return lock
            case "wait":
                return wait
            case "text":
                return cast.replace("@", name)
            case _:
                return among.replace("@", parameter.replace("@", name)).replace("#", kind or "text")

    return _MARK.sub(replace, text)
