"""How JSON, durations and points in time are written on a command line.

The rule of this file: what cannot be read is a usage error that shows how to write it.
"""

from __future__ import annotations

import json
import re
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import click

_UNITS = {"s": 1, "m": 60, "h": 3_600, "d": 86_400, "w": 604_800}
_DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*([smhdw]?)")


class Json(click.ParamType):  # type: ignore[type-arg]  # older releases of click have no argument here
    """JSON as it stands, of a file (``@FILE``) or of the standard input (``-``)."""

    name = "JSON"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if not isinstance(value, str):
            return value
        try:
            return Given(json.loads(self._text(value), parse_constant=_no_number))
        except OSError as error:
            self.fail(f"{value[1:]}: {error.strerror}", param, ctx)
        except UnicodeDecodeError:
            self.fail(f"{value} is no text in UTF-8.", param, ctx)
        except (ValueError, RecursionError) as error:
            text = f" Text stands in double quotes: {json.dumps(value)!r}." if re.fullmatch(r"[\w .-]+", value) else ""
            self.fail(f"{_short(value)} is no JSON ({error}).{text}", param, ctx)

    def _text(self, value: str) -> str:
        if value == "-":
            return sys.stdin.read()
        return Path(value[1:]).read_text("utf-8") if value.startswith("@") else value


class Given:
    """A JSON value that was given: ``null`` is one, too."""

    __slots__ = ("value",)

    def __init__(self, value: Any) -> None:
        self.value = value


class Duration(click.ParamType):  # type: ignore[type-arg]  # older releases of click have no argument here
    """A number of seconds, or one with its unit: ``90``, ``15m``, ``2h``, ``7d``."""

    name = "DURATION"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> timedelta:
        if isinstance(value, timedelta):
            return value
        found = _DURATION.fullmatch(str(value).strip())
        try:
            if found is not None:
                return timedelta(seconds=float(found[1]) * _UNITS[found[2] or "s"])
        except OverflowError:
            pass
        return self.fail(f"{value!r} is no duration: write 90 (seconds), 15m, 2h, 7d or 1w.", param, ctx)


class Moment(click.ParamType):  # type: ignore[type-arg]  # older releases of click have no argument here
    """A point in time, or how long ago it was (with ``ahead``: how far ahead it is)."""

    name = "TIME"

    def __init__(self, *, ahead: bool = False) -> None:
        self._ahead = ahead

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> datetime:
        if isinstance(value, datetime):
            return value
        text = str(value).strip()
        if _DURATION.fullmatch(text):
            span = Duration().convert(text, param, ctx)
            try:
                return datetime.now(UTC) + (span if self._ahead else -span)
            except OverflowError:
                self.fail(f"{value!r} is too long.", param, ctx)
        try:
            told = datetime.fromisoformat(text)
        except ValueError:
            this = "2h (from now)" if self._ahead else "2h (ago)"
            self.fail(
                f"{value!r} is no time: write 2026-11-30T09:00 (UTC), 2026-11-30 09:00+02:00 or {this}.", param, ctx
            )
        return told if told.tzinfo is not None else told.replace(tzinfo=UTC)


def _short(value: str) -> str:
    return repr(value if len(value) <= 40 else f"{value[:39]}…")


def _no_number(name: str) -> Any:
    raise ValueError(f"{name} is no JSON number")


JSON, DURATION, PAST, AHEAD = Json(), Duration(), Moment(), Moment(ahead=True)
