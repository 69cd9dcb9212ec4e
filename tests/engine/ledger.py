"""An application's table beside the mesh's: what transactional steps write, and what is there in the end.

The rule of this file: a database on each kind that the engine knows; `seen` and the table are fresh for every test.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
import pytest
from pydantic import BaseModel
from sqlalchemy import text

from squidmesh import (
    Flow,
    NotNeeded,
    Retry,
    WorkflowError,
    context,
    step,
    workflow,
)
from squidmesh.testing import VirtualMesh

seen: list[Any] = []
TWICE = Retry(max_attempts=2, initial=10, jitter=0)


DATABASES = ("memory", "file", "postgres")


@contextmanager
def mesh_on(request: pytest.FixtureRequest) -> Iterator[VirtualMesh]:
    """A mesh with the table, on the database that the fixture's parameter names."""
    seen.clear()
    names = {"file": "sqlite_url", "postgres": "postgres_url"}
    url = request.getfixturevalue(names[request.param]) if request.param in names else "sqlite://"
    with VirtualMesh(url) as made:
        with_table(made)
        yield made


def with_table(mesh: VirtualMesh) -> None:
    mesh.connect_engine().store.make_ready()
    with mesh.engine.begin() as connection:
        connection.execute(text("CREATE TABLE ledger (account TEXT PRIMARY KEY, cents INTEGER NOT NULL)"))
        connection.execute(text("INSERT INTO ledger VALUES ('shop', 0)"))


def ledger(mesh: VirtualMesh) -> dict[str, int]:
    with mesh.engine.begin() as connection:
        rows = connection.execute(text("SELECT account, cents FROM ledger WHERE cents <> 0 ORDER BY account"))
        return {row.account: row.cents for row in rows}


def book(account: str, cents: int) -> None:
    context().connection.execute(
        text(
            "INSERT INTO ledger VALUES (:account, :cents) "
            "ON CONFLICT (account) DO UPDATE SET cents = ledger.cents + excluded.cents"
        ),
        {"account": account, "cents": cents},
    )


class Booked(BaseModel):
    account: str
    cents: int


@step(transactional=True, retry=TWICE)
def tx_book(account: str, cents: int, how: str = "") -> Booked:
    book(account, cents)
    seen.append((account, context().attempt))
    match how:
        case "fail":
            raise ValueError("no")
        case "once" if context().attempt == 1:
            raise TimeoutError("not this time")
        case "huge":
            return "x" * 2_000_000  # type: ignore[return-value]
        case "commit":
            context().connection.commit()
        case "rollback":
            context().connection.rollback()
        case "remembers":
            context().checkpoint({"cents": cents})
            context().add_undo(tx_give_back, account)
            context().mark_irreversible("paid out")
        case "forgets":
            context().checkpoint({"cents": cents})
            context().add_undo(tx_give_back, account)
            raise ValueError("no")
        case _:
            pass
    return Booked(account=account, cents=cents)


@tx_book.undo
def tx_unbook(booked: Booked, account: str, cents: int, how: str = "") -> NotNeeded | None:
    assert booked == Booked(account=account, cents=cents)
    book(account, -cents)
    seen.append(("undo", account, context().attempt))
    if how == "hard to undo" and context().attempt == 1:
        raise ConnectionError("not this time")
    return NotNeeded("as good as undone") if how == "not needed" else None


def tx_give_back(account: str) -> None:
    seen.append(("given back", account))


class Rejected(WorkflowError): ...


@step
def tx_elsewhere() -> None: ...


@workflow
def tx_outside() -> Flow[None]:
    yield from tx_elsewhere()


def collision(mesh: VirtualMesh) -> Exception:
    if mesh.engine.dialect.name == "postgresql":
        return psycopg.errors.SerializationFailure("could not serialize access")
    busy = sqlite3.OperationalError("database is locked")
    busy.sqlite_errorcode = sqlite3.SQLITE_BUSY
    return busy


release = threading.Event()
over = threading.Event()


@step(transactional=True, timeout=0.2)
def tx_slow() -> None:
    book("slow", 1)
    try:
        release.wait(30)
        book("slow", 1)
    except BaseException as error:
        seen.append(type(error).__name__)
        raise
    finally:
        over.set()
