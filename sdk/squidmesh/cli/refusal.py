"""What goes wrong, as one line on stderr and an exit code.

The rule of this file: every exit code is here, and every error gets one. No password is shown.
"""

from __future__ import annotations

import re

import click

from squidmesh.errors import (
    ConfigurationError,
    MeshError,
    NoSuchEntry,
    NotMigrated,
    RunNotFound,
    ScheduleNotFound,
    StoreUnavailable,
)

REFUSED = 1
"""What was asked is refused, or has failed."""
USAGE = 2
"""It was asked in a way that cannot work."""
NOT_FOUND = 3
"""No run, step or schedule has that name, or several have."""
UNAVAILABLE = 4
"""The database or the broker cannot be used: not reached, not migrated, a wrong URL."""
INTERRUPTED = 130

_DRIVERS = ("sqlalchemy", "psycopg", "sqlite3")
_PASSWORD = re.compile(r"(://[^/\s:@]*):[^@\s]+@")


class Refusal(click.ClickException):
    """One line that says what is wrong and what to do."""

    def __init__(self, message: str, exit_code: int = REFUSED) -> None:
        super().__init__(one_line(message))
        self.exit_code = exit_code  # type: ignore[misc]  # a class variable in click, and one of its own here

    def show(self, file: object = None) -> None:
        click.echo(f"squidmesh: {self.message}", err=True)


def not_found(message: str) -> Refusal:
    return Refusal(message, NOT_FOUND)


def refusal(error: BaseException) -> Refusal:
    """How an error is told."""
    if isinstance(error, KeyboardInterrupt):
        return Refusal("interrupted", INTERRUPTED)
    told = str(error) or type(error).__name__
    match error:
        case RunNotFound() | ScheduleNotFound() | NoSuchEntry():
            return Refusal(told, NOT_FOUND)
        case StoreUnavailable() | NotMigrated() | ConfigurationError():
            return Refusal(told, UNAVAILABLE)
        case MeshError() | TimeoutError():
            return Refusal(told)
        case ValueError() | OverflowError():
            return Refusal(told, USAGE)
        case OSError():
            return Refusal(f"{error.filename}: {error.strerror}" if error.filename else told)
        case _ if _of_a_driver(error):
            return Refusal(f"the database does not take it: {told.partition('[SQL')[0]}", UNAVAILABLE)
        case _:
            more = "squidmesh --traceback … shows where it came from"
            return Refusal(f"this should not happen: {type(error).__name__}: {told}; {more}")


def one_line(text: str) -> str:
    """The text without breaks and passwords; what is listed below its first line follows it."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    joined = "; ".join(lines).replace(":;", ":")
    return _PASSWORD.sub(r"\1:***@", joined)


def _of_a_driver(error: BaseException) -> bool:
    return any(cls.__module__.partition(".")[0] in _DRIVERS for cls in type(error).__mro__)
