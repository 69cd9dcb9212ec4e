"""A run whose worker is killed: its steps leave marks in a folder, and the fourth waits for its end, twice."""

from __future__ import annotations

import os
import time
from pathlib import Path

from squidmesh import Flow, context, step, workflow


@step
def quick(n: int) -> int:
    return n


@step
def stops_here(folder: str) -> int:
    attempt = context().attempt
    if attempt <= 2:
        mark = Path(folder) / f"attempt-{attempt}.new"
        mark.write_text(str(os.getpid()))
        mark.rename(mark.with_suffix(""))
        time.sleep(60)
    return attempt


@workflow
def survivor(folder: str) -> Flow[int]:
    for n in range(3):
        yield from quick(n)
    attempts = yield from stops_here(folder)
    yield from quick(3)
    return attempts
