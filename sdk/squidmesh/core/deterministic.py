"""Plain calls for workflow code that give the same at every replay.

The rule of this file: all is derived from the history of the run; outside a workflow each is an error.
"""

from __future__ import annotations

import hashlib
import random
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from squidmesh.core.calls import Command, current_script
from squidmesh.errors import DefinitionError


@dataclass(frozen=True, slots=True)
class RunInfo:
    """What ``run_info()`` gives inside a workflow."""

    run_id: str
    workflow: str
    version: int
    key: str | None
    parent: str | None
    attributes: Mapping[str, Any]
    tick: datetime | None
    started_at: datetime


def now() -> datetime:
    """The time (aware, UTC) of the event that brought the workflow here."""
    return instant(_script("now").moment)


def new_uuid() -> uuid.UUID:
    """A new UUID, the same at every replay."""
    script = _script("new_uuid")
    script.uuids += 1
    made = hashlib.blake2b(f"{script.seed}:{script.uuids}".encode(), digest_size=16).digest()
    return uuid.UUID(bytes=made, version=4)


def rng() -> random.Random:
    """The run's own random generator, seeded from its id; it goes on from call to call."""
    generator: random.Random = _script("rng").random
    return generator


def run_info() -> RunInfo:
    """Who this run is."""
    info: RunInfo = _script("run_info").info
    return info


def patched(id: str) -> bool:
    """True where the new branch of a changed workflow is to be taken.

    A run that had passed this place before the change goes on taking the old branch (False); recorded otherwise, so
    that a replay takes the same one. The idea is that of Temporal's ``patched``.
    """
    taken: bool = _script("patched").patch(id)
    return taken


def discard(call: Command[Any]) -> None:
    """Say that a call was built on purpose and will not be yielded."""
    if not isinstance(call, Command):
        raise DefinitionError(f"discard() takes a call that is not going to be yielded, not {call!r}")
    call.taken = True


_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def instant(micros: int) -> datetime:
    """Microseconds since the epoch as an aware datetime."""
    return _EPOCH + timedelta(0, 0, micros)


def _script(name: str) -> Any:
    script = current_script.get()
    if script is None:
        raise DefinitionError(
            f"{name}() is for the inside of a workflow, where it gives the same at every replay; "
            "in a step or elsewhere use Python's own"
        )
    return script
