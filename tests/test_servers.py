"""The servers the tests run against are real, private, and gone afterwards."""

import os
import select
import subprocess
import sys
import threading
from pathlib import Path

import pika
import psycopg
import pytest
import redis
from sqlalchemy import create_engine, inspect

from tests.servers import Given, Postgres, Redis, fresh_database, rabbitmq_url, shared_postgres, shared_redis
from tests.servers.folders import make_folder, remove_folder

ROOT = Path(__file__).parent.parent


def rows(url: str) -> list[int]:
    with psycopg.connect(url) as connection:
        return [number for (number,) in connection.execute("SELECT number FROM kept ORDER BY number")]


def keep(url: str, number: int) -> None:
    with psycopg.connect(url) as connection:
        connection.execute("CREATE TABLE IF NOT EXISTS kept (number int)")
        connection.execute("INSERT INTO kept VALUES (%s)", [number])


def setting(url: str, name: str) -> str:
    with psycopg.connect(url) as connection:
        row = connection.execute("SELECT current_setting(%s)", [name]).fetchone()
    assert row is not None
    return str(row[0])


@pytest.mark.parametrize("fsync", [True, False])
def test_a_commit_survives_a_kill_of_postgresql_with_and_without_fsync(fsync: bool) -> None:
    with Postgres(fsync=fsync) as server:
        assert setting(server.url, "fsync") == ("on" if fsync else "off")
        assert setting(server.url, "synchronous_commit") == "on"
        keep(server.url, 1)
        url, pid = server.url, server.pid
        server.kill()
        with pytest.raises(psycopg.OperationalError):
            rows(url)
        server.start()
        assert server.url == url
        assert server.pid != pid
        keep(url, 2)
        server.restart()
        assert rows(url) == [1, 2]


def test_a_postgresql_takes_settings() -> None:
    with Postgres(settings={"max_connections": "11"}) as server:
        assert setting(server.url, "max_connections") == "11"


def test_a_postgresql_that_cannot_start_says_why_and_leaves_nothing() -> None:
    server = Postgres(settings={"no_such_setting": "1"})
    with pytest.raises(RuntimeError, match="no_such_setting"), server:
        pass
    assert not server._folder.exists()


@pytest.mark.parametrize(("persistent", "found"), [(True, b"value"), (False, None)])
def test_a_redis_comes_back_with_its_data_only_if_it_is_persistent(persistent: bool, found: object) -> None:
    with Redis(persistent=persistent) as server:
        with redis.Redis.from_url(server.url) as client:
            client.set("key", "value")
        server.kill()
        with redis.Redis.from_url(server.url) as client, pytest.raises(redis.ConnectionError):
            client.ping()
        server.start()
        with redis.Redis.from_url(server.url) as client:
            assert client.get("key") == found


def test_a_server_outlives_the_thread_that_started_it() -> None:
    with Redis() as server:
        server.stop()
        starter = threading.Thread(target=server.start)
        starter.start()
        starter.join()
        with redis.Redis.from_url(server.url) as client:
            assert client.ping()


SERVE_UNTIL_KILLED = """
import sys
from tests.servers import Postgres, Redis
from tests.servers.folders import _held
with Postgres() as postgres, Redis() as redis:
    print(postgres.pid, redis.pid, flush=True)
    print(*_held, flush=True)
    sys.stdin.read()
"""


def test_servers_die_with_a_killed_starter_and_the_next_one_cleans_up_after_it() -> None:
    starter = subprocess.Popen(
        [sys.executable, "-c", SERVE_UNTIL_KILLED],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with starter:
        assert starter.stdout is not None
        watched = [os.pidfd_open(int(pid)) for pid in starter.stdout.readline().split()]
        folders = [Path(folder) for folder in starter.stdout.readline().split()]
        starter.kill()
    for pid_fd in watched:
        ended(pid_fd)
        os.close(pid_fd)
    for folder in folders:
        assert folder.exists()
        os.utime(folder, (0, 0))
    remove_folder(make_folder("next"))
    assert not any(folder.exists() for folder in folders)


def ended(pid_fd: int) -> None:
    """Wait until the process is gone: its descriptor becomes readable then."""
    readable, _, _ = select.select([pid_fd], [], [], 10)
    assert readable, "the server is still there"


def test_a_fresh_database_is_empty_and_goes_even_when_someone_is_connected(
    postgres_server: Postgres | Given,
) -> None:
    with fresh_database(postgres_server.url) as url, fresh_database(postgres_server.url) as other:
        assert url != other
        keep(url, 1)
        with pytest.raises(psycopg.errors.UndefinedTable):
            rows(other)
        left_open = psycopg.connect(url)
    left_open.close()
    with pytest.raises(psycopg.OperationalError, match="does not exist"):
        rows(url)


def test_a_database_made_from_a_template_has_its_rows(postgres_server: Postgres | Given) -> None:
    with fresh_database(postgres_server.url) as template:
        keep(template, 7)
        with fresh_database(postgres_server.url, template) as copy:
            keep(copy, 8)
            assert rows(copy) == [7, 8]
        assert rows(template) == [7]


def test_a_url_in_the_environment_comes_before_our_own_server(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SQUIDMESH_TEST_POSTGRES_URL", "postgresql://somebody@elsewhere/db")
    monkeypatch.setenv("SQUIDMESH_TEST_REDIS_URL", "redis://elsewhere/3")
    monkeypatch.setenv("SQUIDMESH_TEST_RABBITMQ_URL", "amqp://elsewhere")
    rabbitmq_url.cache_clear()
    with shared_postgres() as postgres, shared_redis() as redis_:
        assert postgres == Given("postgresql://somebody@elsewhere/db")
        assert redis_ == Given("redis://elsewhere/3")
    assert rabbitmq_url() == "amqp://elsewhere"
    rabbitmq_url.cache_clear()


def test_each_test_has_an_empty_redis(redis_url: str) -> None:
    with redis.Redis.from_url(redis_url) as client:
        assert client.dbsize() == 0
        client.set("left", "behind")


def test_each_test_has_a_migrated_database_of_its_own(database_url: str) -> None:
    engine = create_engine(database_url)
    assert "squidmesh_runs" in inspect(engine).get_table_names()
    engine.dispose()


def test_an_empty_database_has_no_tables(empty_database_url: str) -> None:
    engine = create_engine(empty_database_url)
    assert inspect(engine).get_table_names() == []
    engine.dispose()


def test_a_rabbitmq_answers_where_there_is_one(rabbitmq_url: str) -> None:
    connection = pika.BlockingConnection(pika.URLParameters(rabbitmq_url))
    assert connection.is_open
    connection.close()
