"""Ids of our own making: of runs, and of workers."""

from __future__ import annotations

import secrets
import threading
import uuid

_lock = threading.Lock()
_last = 0
_STEP = 1 << 40
"""Between two ids of one microsecond: room for what is random in them."""


def run_id(micros: int) -> str:
    """A UUID version 7 for a run that is created at ``micros``.

    Ids sort by that time, to the microsecond; those that this process makes of one microsecond, by the order in which
    they were made.
    """
    global _last  # noqa: PLW0603 - one sequence a process
    low = _timed(micros)
    with _lock:
        same = low >> 62 == _last >> 62
        _last = (_last & ~(_STEP - 1)) + _STEP if same else low | secrets.randbits(21) << 40
        made = _last | secrets.randbits(40)
    return _formed(made)


def first_id(micros: int) -> str:
    """What no id of a run that is created at ``micros`` or later is below."""
    return _formed(_timed(max(0, micros)))


def _timed(micros: int) -> int:
    """The 122 bits that are free in such a UUID: first the time, then 62 that are nothing yet."""
    milliseconds, rest = divmod(micros, 1_000)
    return (milliseconds & 0xFFFF_FFFF_FFFF) << 74 | rest << 62


def _formed(made: int) -> str:
    high, low = made >> 62, made & (1 << 62) - 1
    return str(uuid.UUID(int=(high >> 12) << 80 | 0x7 << 76 | (high & 0xFFF) << 64 | 0b10 << 62 | low))


def known_form(wanted: str) -> str | None:
    """The id in its usual form, or None when it cannot be one."""
    try:
        return str(uuid.UUID(wanted))
    except (ValueError, AttributeError, TypeError):
        return None


def worker_id() -> str:
    return secrets.token_hex(5)
