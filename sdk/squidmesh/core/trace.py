"""Ids of traces and spans, made from what a run's history has anyway: equal in every process, after any crash.

A *place* names what a span is of, within its run: ``run`` the run itself, ``3`` the command at that position, ``3#2``
the second attempt of the step there, ``3:compensate:1``, ``undo:3#1``, ``rollback:1``. A *trace* is a W3C
``traceparent``: what the run hangs under, as it was stored when the run was started.

The rule of this file: pure hashing. Nothing here knows OpenTelemetry, or whether anybody listens.
"""

from __future__ import annotations

from hashlib import blake2b
from typing import NamedTuple

RUN = "run"
"""The place of the run itself."""

SAMPLED = 1
UNDECIDED = 0x80
"""Said of what hangs under a run that hangs under nothing: whether it is recorded follows from its id. A flag of ours,
which is stored and never sent."""


class Trace(NamedTuple):
    """A ``traceparent``, read."""

    trace_id: int
    span_id: int
    flags: int

    def __str__(self) -> str:
        return f"00-{self.trace_id:032x}-{self.span_id:016x}-{self.flags:02x}"


def read(trace: str | None) -> Trace | None:
    """The parts of a ``traceparent``; None when there is none, or it cannot be read."""
    try:
        version, trace_id, span_id, flags = (trace or "").split("-")[:4]
        found = Trace(int(trace_id, 16), int(span_id, 16), int(flags, 16))
    except ValueError:
        return None
    fits = version != "ff" and len(trace_id) == 32 and len(span_id) == 16
    return found if fits and found.trace_id and found.span_id else None


def trace_id(run_id: str, trace: str | None) -> int:
    """The trace that a run belongs to: that of its caller or its parent, or one of its own."""
    above = read(trace)
    return _hashed(run_id, 16) if above is None else above.trace_id


def span_id(run_id: str, place: str) -> int:
    return _hashed(f"{run_id}/{place}", 8)


def at_place(run_id: str, trace: str | None, place: str) -> str:
    """The ``traceparent`` of a place in a run.

    What is started from there is given it: the ``RunStarted`` of a child has that of the place which is its position in
    the parent, and so the child is in its parent's trace.
    """
    above = read(trace)
    flags = UNDECIDED if above is None else above.flags
    return str(Trace(trace_id(run_id, trace), span_id(run_id, place), flags))


def _hashed(text: str, size: int) -> int:
    return int.from_bytes(blake2b(text.encode(), digest_size=size).digest(), "big") or 1  # 0 would not be valid
