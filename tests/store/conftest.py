"""One store per test, on each kind of database."""

from collections.abc import Callable, Iterator

import pytest
from sqlalchemy import Engine

from squidmesh.ports import Clock
from squidmesh.store import SqlStore, open_store

from .support import HandClock

Open = Callable[..., SqlStore]


@pytest.fixture(params=["file", "memory", "postgres"])
def url(request: pytest.FixtureRequest) -> str:
    if request.param == "memory":
        return "sqlite://"
    name = "sqlite_url" if request.param == "file" else "emptied_postgres_url"
    found: str = request.getfixturevalue(name)
    return found


@pytest.fixture
def opened() -> Iterator[Open]:
    """Opens stores, and closes them in the end."""
    stores: list[SqlStore] = []

    def open_one(url: str | Engine, clock: Clock | None = None, lease: float = 15.0) -> SqlStore:
        store = open_store(url, clock=clock, lease=lease)
        stores.append(store)
        return store

    yield open_one
    for store in stores:
        store.close()
        store.engine.dispose()


@pytest.fixture
def store(url: str, opened: Open) -> SqlStore:
    """A store by the database's own clock."""
    return opened(url)


@pytest.fixture
def clock() -> HandClock:
    return HandClock()


@pytest.fixture
def clocked(url: str, opened: Open, clock: HandClock) -> SqlStore:
    """A store by a clock that is set by hand."""
    return opened(url, clock)
