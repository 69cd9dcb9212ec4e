"""Opening a database: what is wrong is said in one line, and the embedded default sets itself up."""

import subprocess
import sys
import time
from pathlib import Path

import pytest
from sqlalchemy import create_engine, text
from sqlalchemy.pool import StaticPool

from squidmesh.errors import ConfigurationError, MeshError, NotMigrated, StoreUnavailable
from squidmesh.store import check, migrate, open_store
from squidmesh.store.database import away
from squidmesh.store.opening import engine_for

from .conftest import Open
from .support import new_run, started


@pytest.mark.parametrize(
    "url",
    [
        "nonsense",
        "",
        "mysql://root:secret@127.0.0.1/x",
        "postgresql+psycopg2://me:secret@127.0.0.1/x",
        "postgresql+asyncpg://me:secret@127.0.0.1/x",
        "postgresql://me:secret@host:port/x",
        "sqlite+aiosqlite:///x.db",
    ],
)
def test_a_url_that_cannot_work_is_told_in_one_line_with_one_that_does(url: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        open_store(url)
    said = str(caught.value)
    assert "\n" not in said
    assert "secret" not in said
    assert "postgresql://user@host/name" in said


@pytest.mark.parametrize("scheme", ["postgresql", "postgres", "postgresql+psycopg"])
def test_postgres_is_spoken_to_through_psycopg_3_however_the_url_says_it(scheme: str) -> None:
    assert engine_for(f"{scheme}://me@127.0.0.1/x").driver == "psycopg"


def test_a_missing_driver_is_told_with_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(ConfigurationError, match="pip install 'psycopg"):
        open_store("postgresql://me:secret@127.0.0.1/x")


def unreachable(url: str) -> str:
    store = open_store(url)
    begun = time.monotonic()
    with pytest.raises(StoreUnavailable) as caught:
        started(store)
    assert time.monotonic() - begun < 20
    store.close()
    store.engine.dispose()
    said = str(caught.value)
    assert "\n" not in said
    assert "s3cret" not in said
    return said


def test_a_server_that_is_not_there_is_told_in_one_line() -> None:
    assert "127.0.0.1" in unreachable("postgresql://me:s3cret@127.0.0.1:1/x")


def test_a_database_that_is_not_there_is_told_in_one_line(postgres_url: str) -> None:
    assert "does not exist" in unreachable(postgres_url.rpartition("/")[0] + "/nowhere")


def test_a_folder_that_is_not_there_is_told_in_one_line(tmp_path: Path) -> None:
    said = unreachable(f"sqlite:///{tmp_path / 'missing' / 'file.db'}")
    assert "unable to open" in said
    assert "check that its folder is there" in said
    (tmp_path / "letter.txt").write_text("Dear database, " * 100)
    assert "that it is a database" in unreachable(f"sqlite:///{tmp_path / 'letter.txt'}")


def test_a_locked_file_is_told_as_that() -> None:
    assert "who keeps a transaction open" in str(away("sqlite:///x.db", RuntimeError("database is locked")))
    assert "that it is running" in str(away("postgresql://host/x", RuntimeError("refused")))


# ------------------------------------------------------------------------------------------------- the revision


def test_postgres_without_a_schema_is_refused_with_the_command(empty_postgres_url: str, opened: Open) -> None:
    store = opened(empty_postgres_url.replace("postgresql://", "postgresql+psycopg://"))
    for _ in range(2):
        with pytest.raises(NotMigrated, match="squidmesh migrate --database postgresql"):
            started(store)
    migrate(store.engine)
    check(store.engine)
    assert started(store)


def test_the_password_is_not_in_the_command(empty_postgres_url: str) -> None:
    engine = create_engine(empty_postgres_url).execution_options()
    shown = create_engine(engine.url.set(password="s3cret"))
    with pytest.raises(NotMigrated) as caught:
        check(shown)
    assert "s3cret" not in str(caught.value)
    shown.dispose()
    engine.dispose()


def test_migrating_again_changes_nothing(database_url: str, opened: Open) -> None:
    store = opened(database_url)
    run_id = started(store)
    migrate(database_url)
    migrate(store.engine)
    assert store.run(run_id) is not None


def test_a_newer_revision_is_refused_by_everything(database_url: str) -> None:
    engine = engine_for(database_url)
    with engine.begin() as connection:
        connection.execute(text("UPDATE squidmesh_version SET version_num = '9999'"))
    for action in (lambda: migrate(engine), lambda: check(engine), lambda: started(open_store(engine))):
        with pytest.raises(NotMigrated, match=r"9999.*install the newer squidmesh"):
            action()
    engine.dispose()


def test_an_empty_sqlite_file_is_set_up_without_alembic(tmp_path: Path) -> None:
    code = (
        "import sys; from squidmesh.store import open_store; "
        f"store = open_store('sqlite:///{tmp_path / 'new.db'}'); store.workers(); "
        "assert 'alembic' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_several_processes_may_open_an_empty_file_at_once(tmp_path: Path) -> None:
    code = (
        "from squidmesh.store import open_store; "
        f"store = open_store('sqlite:///{tmp_path / 'new.db'}'); print(len(store.workers())); store.close()"
    )
    processes = [
        subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE) for _ in range(5)
    ]
    told = [process.communicate(timeout=60) for process in processes]
    assert told == [(b"0\n", b"")] * 5


def test_several_processes_may_migrate_postgres_at_once(empty_postgres_url: str) -> None:
    code = f"from squidmesh.store import migrate; migrate({empty_postgres_url!r})"
    processes = [subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.PIPE) for _ in range(3)]
    assert [process.communicate(timeout=60)[1] for process in processes] == [b""] * 3
    engine = engine_for(empty_postgres_url)
    check(engine)
    engine.dispose()


# --------------------------------------------------------------------------------------------- the host's engine


def test_a_given_engine_stays_open_and_its_pool_free(database_url: str) -> None:
    engine = create_engine(database_url, pool_size=1, max_overflow=0, pool_timeout=1)
    store = open_store(engine)
    run_id = started(store)
    with engine.connect() as connection:
        assert store.run(run_id) is not None
        connection.execute(text("SELECT 1"))
    store.close()
    with engine.connect() as connection:
        connection.execute(text("SELECT 1"))
    engine.dispose()


def test_a_given_engine_on_sqlite_in_memory_needs_one_connection_for_all_threads() -> None:
    with pytest.raises(ConfigurationError, match="StaticPool"):
        open_store(create_engine("sqlite://"))
    engine = create_engine("sqlite://", poolclass=StaticPool, connect_args={"check_same_thread": False})
    store = open_store(engine)
    run = new_run(store)
    with engine.begin() as connection:
        store.start([run], connection)
    assert store.run(run.run_id) is not None
    store.close()
    engine.dispose()


def test_every_error_of_opening_is_a_mesh_error() -> None:
    assert issubclass(ConfigurationError, MeshError)
    assert issubclass(StoreUnavailable, MeshError)


def test_a_sqlite_file_is_durable_and_shared(sqlite_url: str, opened: Open) -> None:
    store = opened(sqlite_url)
    run_id = started(store)
    with store.engine.connect() as connection:
        assert connection.execute(text("PRAGMA journal_mode")).scalar() == "wal"
        assert connection.execute(text("PRAGMA synchronous")).scalar() == 2
        assert connection.execute(text("PRAGMA foreign_keys")).scalar() == 1
        assert connection.execute(text("PRAGMA busy_timeout")).scalar() == 5_000
    assert opened(sqlite_url).run(run_id) == store.run(run_id)
