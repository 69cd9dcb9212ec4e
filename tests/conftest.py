"""The servers and databases that tests ask for by name.

`…_url` is a database with the tables in it, `empty_…_url` one without; each belongs to one test. Servers are
shared by the session: a test that stops or empties one starts its own (`tests.servers`).

The suite runs in two processes (pytest-xdist), each a session with servers of its own.
"""

import os
import shutil
import signal
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any

import psycopg
import pytest
import redis
from psycopg import sql
from sqlalchemy.engine import make_url

from tests.servers import (
    Given,
    Postgres,
    Redis,
    fresh_database,
    shared_postgres,
    shared_redis,
)
from tests.servers import (
    rabbitmq_url as find_rabbitmq,
)

REDIS_DATABASES = 16
ONE_AT_A_TIME: tuple[tuple[str, ...], ...] = (
    ("tests/processes/", "tests/worker/"),
    ("tests/benchmarks/", "tests/cli/", "tests/samples/"),
)
_turn = count()


def pytest_configure() -> None:
    """Programs that tests start hear Ctrl-C, even where the suite itself was started in the background."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Give each process test by test, but keep in one those that start workers, and in one those that start programs.

    They wait more than they work, and are half of the time that all tests take. Not by pytest-xdist's marks for groups:
    they are of no effect in pytest 9.2. A given Redis has one database, which each test empties: it has one at a time.
    """
    from xdist.scheduler import LoadScopeScheduling

    groups = ONE_AT_A_TIME
    if os.environ.get("SQUIDMESH_TEST_REDIS_URL"):
        groups = (("tests/test_servers.py", *(folder for folders in ONE_AT_A_TIME for folder in folders)),)

    class OneBesideTheRest(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return next((str(folders) for folders in groups if nodeid.startswith(folders)), nodeid)

    return OneBesideTheRest(config, log)


def _migrate(url: str) -> None:
    from squidmesh.store.migrate import migrate

    migrate(url)


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[Postgres | Given]:
    """A running PostgreSQL (`.url`). Ours does not wait for the disk: no test crashes the machine."""
    with shared_postgres(fsync=False) as server:
        yield server


@pytest.fixture(scope="session")
def redis_server() -> Iterator[Redis | Given]:
    """A running Redis (`.url`)."""
    with shared_redis() as server:
        yield server


@pytest.fixture(scope="session")
def _postgres_template(postgres_server: Postgres | Given) -> Iterator[str]:
    with fresh_database(postgres_server.url) as url:
        _migrate(url)
        yield url


@pytest.fixture(scope="session")
def _sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("template") / "squidmesh.db"
    _migrate(f"sqlite:///{file}")
    return file


@pytest.fixture
def empty_postgres_url(postgres_server: Postgres | Given) -> Iterator[str]:
    """A fresh PostgreSQL database without tables."""
    with fresh_database(postgres_server.url) as url:
        yield url


@pytest.fixture
def postgres_url(postgres_server: Postgres | Given, _postgres_template: str) -> Iterator[str]:
    """A fresh PostgreSQL database with the tables of the newest revision."""
    with fresh_database(postgres_server.url, _postgres_template) as url:
        yield url


@pytest.fixture(scope="session")
def _one_postgres(postgres_server: Postgres | Given, _postgres_template: str) -> Iterator[str]:
    with fresh_database(postgres_server.url, _postgres_template) as url:
        yield url


@pytest.fixture
def emptied_postgres_url(_one_postgres: str) -> str:
    """One migrated database for all, emptied before each: to make one takes longer than most tests do."""
    from squidmesh.store.tables import metadata

    known = [table.name for table in reversed(metadata.sorted_tables)]
    with psycopg.connect(make_url(_one_postgres).set(drivername="postgresql").render_as_string(False)) as server:
        server.execute("SET lock_timeout = '10s'")
        there = server.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'").fetchall()
        for name in (name for (name,) in there if not name.startswith("squidmesh_")):  # of an earlier test
            server.execute(sql.SQL("DROP TABLE {} CASCADE").format(sql.Identifier(name)))
        for name in known:
            server.execute(sql.SQL("DELETE FROM {}").format(sql.Identifier(name)))
    return _one_postgres


@pytest.fixture
def empty_sqlite_url(tmp_path: Path) -> str:
    """A SQLite file that does not exist yet."""
    return f"sqlite:///{tmp_path / 'empty.db'}"


@pytest.fixture
def sqlite_url(tmp_path: Path, _sqlite_template: Path) -> str:
    """A fresh SQLite file with the tables of the newest revision."""
    return f"sqlite:///{shutil.copy(_sqlite_template, tmp_path / 'squidmesh.db')}"


@pytest.fixture(params=["sqlite", "postgres"])
def database_url(request: pytest.FixtureRequest) -> str:
    """`sqlite_url` and `postgres_url`, one after the other."""
    url: str = request.getfixturevalue(f"{request.param}_url")
    return url


@pytest.fixture(params=["sqlite", "postgres"])
def empty_database_url(request: pytest.FixtureRequest) -> str:
    """`empty_sqlite_url` and `empty_postgres_url`, one after the other."""
    url: str = request.getfixturevalue(f"empty_{request.param}_url")
    return url


@pytest.fixture
def redis_url(redis_server: Redis | Given) -> str:
    """An empty database of the Redis.

    Ours gives each test another of its databases, so that what an earlier test left running is not heard.
    A given Redis is emptied only in the database that its URL names (or 15, if it names none).
    """
    url = make_url(redis_server.url)
    if isinstance(redis_server, Redis):
        url = url.set(database=str(next(_turn) % REDIS_DATABASES))
    elif not url.database:
        url = url.set(database=str(REDIS_DATABASES - 1))
    address = url.render_as_string(hide_password=False)
    with redis.Redis.from_url(address) as client:
        client.flushdb()
    return address


@pytest.fixture
def rabbitmq_url() -> str:
    """A RabbitMQ, which other tests use too: give your queues names of their own."""
    url = find_rabbitmq()
    if url is None:
        pytest.skip("no RabbitMQ: SQUIDMESH_TEST_RABBITMQ_URL is not set and none answers on 127.0.0.1:5672")
    return url
