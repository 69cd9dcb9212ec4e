"""A worker process that dies with certain events: one just before it would write the first, one just after.

Which kinds of events is said by the environment; each dooms twice on a stage, whichever process it hits. What lies
between two appends of the engine is so left undone: the rows are there, and nobody was called.

Its rule: it kills, and changes nothing else.
"""

import os

from squidmesh.ports import Append, Appended
from squidmesh.store import SqlStore
from tests.processes.flows import die, first_time

KINDS = "STAGE_DOOMS"
"""The environment variable with the kinds of events, with commas between them."""


def beware() -> None:
    """From now on this process may die so."""
    kinds = [kind for kind in os.environ.get(KINDS, "").split(",") if kind]
    write = SqlStore.append

    def append(store: SqlStore, wanted: Append) -> Appended:
        told = [kind for kind in kinds if f'"{kind}"' in wanted.events]
        if any(first_time(f"{kind} before") for kind in told):
            die()
        wrote = write(store, wanted)
        if wrote.accepted and any(first_time(f"{kind} after") for kind in told):
            die()
        return wrote

    if kinds:
        SqlStore.append = append  # type: ignore[method-assign]
