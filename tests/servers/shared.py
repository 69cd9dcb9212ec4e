"""The servers that many tests share: the ones that were given by URL, else our own."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from tests.servers.postgres import Postgres
from tests.servers.redis import Redis


@dataclass(frozen=True, slots=True)
class Given:
    """A server somebody else runs. What is in it may be somebody's: use fresh databases only."""

    url: str


@contextmanager
def shared_postgres(*, fsync: bool = True) -> Iterator[Postgres | Given]:
    """A running PostgreSQL: `SQUIDMESH_TEST_POSTGRES_URL`, else our own (see `Postgres` for `fsync`)."""
    if url := os.environ.get("SQUIDMESH_TEST_POSTGRES_URL"):
        yield Given(url)
    else:
        with Postgres(fsync=fsync) as server:
            yield server


@contextmanager
def shared_redis() -> Iterator[Redis | Given]:
    """A running Redis: `SQUIDMESH_TEST_REDIS_URL`, else our own."""
    if url := os.environ.get("SQUIDMESH_TEST_REDIS_URL"):
        yield Given(url)
    else:
        with Redis() as server:
            yield server
