"""The calendar of cron expressions: which instants an expression names in a time zone.

An expression names what a clock on the wall shows, and a zone says when it shows that:

    wall time      shown             fires
    ordinary       once              then
    twice          clocks go back    at the first of the two
    never          clocks go ahead   at the next instant that is shown, where the clock has jumped to

The rule of this file: pure. Instants are microseconds since the epoch, a wall time is a naive datetime; no two ticks
have the same instant.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from croniter import croniter
from croniter.croniter import CroniterBadDateError, CroniterError

from squidmesh.core.commands import micros
from squidmesh.core.deterministic import instant
from squidmesh.errors import DefinitionError

ALIASES = ("@yearly", "@annually", "@monthly", "@weekly", "@daily", "@midnight", "@hourly")

# `R` and `H` stand for a value that croniter would choose: another one in each process.
_CHOSEN = re.compile(r"(?<![a-z])[rh](?![a-z])", re.IGNORECASE)
_SPAN = re.compile(r"\b(\w+)-(\w+)\b(/\d+)?")
_SOME_DAY = datetime(2000, 1, 1)  # noqa: DTZ001 - a wall time
_SECOND = timedelta(seconds=1)


def checked(expression: object) -> str:
    """A cron expression of five fields, or an alias, with single spaces.

    :raises DefinitionError: it is none, or can never fire.
    """
    if not isinstance(expression, str):
        raise DefinitionError(f"Cron takes an expression such as '0 9 * * 1-5', not {expression!r}")
    fields = expression.split()
    plain = " ".join(fields)
    own = f"Cron({plain!r})"
    if plain.startswith("@"):
        if plain.lower() not in ALIASES:
            raise DefinitionError(f"{own}: there is no such alias; there are {', '.join(ALIASES)}")
        return plain.lower()
    if len(fields) != 5:
        raise DefinitionError(
            f"{own} has {len(fields)} fields, and takes five: minute, hour, day of month, month, day of week"
        )
    if _CHOSEN.search(plain):
        raise DefinitionError(f"{own}: R and H stand for a value that is chosen by chance: write the value")
    try:
        _walls(plain, _SOME_DAY).get_next(datetime)
    except CroniterBadDateError:
        raise DefinitionError(f"{own} never fires: no month of it has such a day") from None
    except (CroniterError, ValueError, KeyError) as error:
        raise DefinitionError(f"{own} is no cron expression: {error}") from None
    return plain


def zone(tz: object) -> ZoneInfo:
    """The time zone of this name. :raises DefinitionError: there is none."""
    name = tz.key if isinstance(tz, ZoneInfo) else tz
    if isinstance(name, str) and name:
        try:
            return ZoneInfo(name)
        except (LookupError, ValueError, OSError):  # not found, or a name that is no path; a folder
            pass
    raise DefinitionError(f"tz is the name of a time zone, such as 'Europe/Sofia' or 'UTC', not {tz!r}")


def fires(expression: str, tz: ZoneInfo, after: int) -> Iterator[int]:
    """The instants after this one that an expression names, in order, as long as calendars go."""
    shown = instant(after).astimezone(tz).replace(tzinfo=None, second=0, microsecond=0)
    walls = _walls(expression, shown)
    while True:
        try:
            at = _when(walls.get_next(datetime), tz)
        except (CroniterBadDateError, OverflowError, ValueError):  # the calendar ends
            return
        if at > after:  # not the second time that it is shown, nor another one that was skipped with this
            after = at
            yield at


def _walls(expression: str, after: datetime) -> croniter:
    """The wall times that it names, as croniter finds them.

    Which is told what it takes for something else than crontab(5) has: a span from 5 to 5 is 5 alone, not all there
    are; and a day field that begins with a star does not make the other one an alternative.
    """
    plain = _SPAN.sub(lambda span: span[1] if _same(span[1], span[2]) else span[0], expression)
    return croniter(plain, after, implement_cron_bug=True)


def _same(one: str, other: str) -> bool:
    return int(one) == int(other) if one.isdecimal() and other.isdecimal() else one.lower() == other.lower()


def _when(wall: datetime, tz: ZoneInfo) -> int:
    """The first instant at which a clock shows this, or has passed it by."""
    early, late = (wall.replace(tzinfo=tz, fold=fold).astimezone(UTC) for fold in (1, 0))
    if early >= late:  # shown once, or twice: then the earlier of the two is that of fold 0
        return micros("", late)
    before = early.astimezone(tz).utcoffset()
    while late - early > _SECOND:  # the jump lies between them
        middle = early + (late - early) // 2
        if middle.astimezone(tz).utcoffset() == before:
            early = middle
        else:
            late = middle
    return micros("", late.replace(microsecond=0))
