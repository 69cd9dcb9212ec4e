"""Steps with every kind of effect, for the tests of the saga. None of them is ever run: the tests say how they end."""

from __future__ import annotations

from typing import Any

from squidmesh.core.effects import Applied, Cleaned, StillUnknown
from squidmesh.core.failure import Failure
from squidmesh.core.registry import REGISTRY
from squidmesh.core.step import Step, step


@step(name="core_book")
def book(n: int = 0) -> int:
    return n


@book.undo
def unbook(result: int, n: int = 0) -> None: ...


@step(name="core_bare")
def bare(n: int = 0) -> int:
    return n


@step(name="core_look", pure=True)
def look(n: int = 0) -> int:
    return n


@step(name="core_mail", irreversible=True)
def mail(n: int = 0) -> int:
    return n


@step(name="core_pay", pivot=True)
def pay(n: int = 0) -> int:
    return n


@step(name="core_once", idempotent=False)
def once(n: int = 0) -> int:
    return n


@once.undo
def unonce(result: int, n: int = 0) -> None: ...


@step(name="core_asked", idempotent=False)
def asked(n: int = 0) -> int:
    return n


@asked.undo
def unasked(result: int, n: int = 0) -> None: ...


@asked.check
def ask(n: int = 0) -> Applied[int] | StillUnknown:
    return Applied(n)


@step(name="core_load", max_compensate_cycles=1)
def load(n: int = 0) -> int:
    return n


@load.undo
def unload(result: int, n: int = 0) -> None: ...


@load.compensate
def finish(failure: Failure, n: int = 0) -> int | Cleaned:
    return n


@step(name="core_attempted", undo_when="attempted")
def attempted(n: int = 0) -> int:
    return n


@attempted.undo
def unattempted(result: int | None, n: int = 0) -> None: ...


@step(name="core_row", transactional=True)
def row(n: int = 0) -> int:
    return n


@row.undo
def unrow(result: int, n: int = 0) -> None: ...


def release(n: int) -> None:
    """What ``add_undo`` registers."""


KINDS: tuple[Step[..., Any], ...] = (book, bare, look, mail, pay, once, asked, load, attempted, row)
STEPS: dict[str, Step[..., Any]] = {one.name: one for one in KINDS}

for made in KINDS:  # found by their calls alone here
    REGISTRY.steps.pop(made.name, None)
