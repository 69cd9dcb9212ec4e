"""``squidmesh worker``: real processes say when they are ready, serve, and stop without losing anything."""

import os
import signal
import threading
import time
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from squidmesh import Mesh
from tests.servers import Redis
from tests.worker.processes import gone, worker


def _wait_until(condition: Any, within: float = 30.0) -> None:
    until = time.monotonic() + within
    while not condition():
        assert time.monotonic() < until, "it did not happen in time"
        threading.Event().wait(0.01)


def test_a_worker_says_when_it_is_ready_and_what_it_serves(shop_folder: Path, sqlite_url: str) -> None:
    with worker("shop", "--database", sqlite_url, "--threads", "3", folder=shop_folder) as running:
        (line,) = running.wait_for("squidmesh worker ready")
        assert line == f"squidmesh worker ready: pid {running.pid}, queues default, 3 threads, 2 workflows"
        assert running.stop() == 0


def test_a_run_that_another_process_started_is_served(shop_folder: Path, shop: ModuleType, database_url: str) -> None:
    with (
        Mesh(database_url) as mesh,
        worker("shop", "--database", database_url, folder=shop_folder) as running,
    ):
        running.ready_pids()
        assert mesh.start(shop.total(1, 2)).result(timeout=60) == 6


@pytest.mark.parametrize("broker", ["redis", "rabbitmq"])
def test_a_run_is_served_through_a_broker(
    shop_folder: Path, shop: ModuleType, postgres_url: str, broker: str, request: pytest.FixtureRequest
) -> None:
    url = request.getfixturevalue(f"{broker}_url")
    options = ("--database", postgres_url, "--broker", url)
    with Mesh(postgres_url, broker=url) as mesh, worker("shop", *options, folder=shop_folder) as running:
        running.ready_pids()
        assert mesh.start(shop.total(1, 2)).result(timeout=60) == 6


def test_database_and_broker_may_come_from_the_environment(
    shop_folder: Path, shop: ModuleType, postgres_url: str, redis_url: str
) -> None:
    environ = {"SQUIDMESH_DATABASE_URL": postgres_url, "SQUIDMESH_BROKER_URL": redis_url}
    with (
        Mesh(postgres_url, broker=redis_url) as mesh,
        worker("shop", folder=shop_folder, **environ) as running,
    ):
        running.ready_pids()
        assert mesh.start(shop.total(1, 2)).result(timeout=60) == 6


def test_the_mesh_of_the_modules_is_served_when_nothing_else_is_said(
    shop_folder: Path, shop: ModuleType, sqlite_url: str
) -> None:
    (shop_folder / "app.py").write_text(
        f"from shop import *\nfrom squidmesh import Mesh\nmesh = Mesh({sqlite_url!r})\n"
    )
    with Mesh(sqlite_url) as mesh, worker("app", folder=shop_folder) as running:
        running.ready_pids()
        assert mesh.start(shop.total(1, 2)).result(timeout=60) == 6


def test_several_meshes_in_the_modules_are_a_question(shop_folder: Path) -> None:
    (shop_folder / "app.py").write_text(
        "from shop import *\nfrom squidmesh import Mesh\none = Mesh()\nother = Mesh()\nsame = one\n"
    )
    with worker("app", folder=shop_folder) as running:
        assert running.ended() == 2
    (line,) = running.lines
    assert "app.other, app.same" in line
    assert "--database" in line


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT])
def test_told_to_stop_it_finishes_the_attempt_in_flight(
    shop_folder: Path, shop: ModuleType, sqlite_url: str, signum: signal.Signals
) -> None:
    with Mesh(sqlite_url) as mesh, worker("shop", "--database", sqlite_url, folder=shop_folder) as running:
        running.ready_pids()
        handle = mesh.start(shop.waiting("go"))
        _wait_until((shop_folder / "go.begun").exists)
        running.send(signum)
        running.wait_for("squidmesh worker stopping")
        (shop_folder / "go").touch()
        assert running.ended() == 0
        with worker("shop", "--database", sqlite_url, folder=shop_folder):
            assert handle.result(timeout=60) == running.pid


def test_what_does_not_finish_within_the_grace_goes_on_elsewhere_at_once(
    shop_folder: Path, shop: ModuleType, sqlite_url: str
) -> None:
    options = ("shop", "--database", sqlite_url, "--grace", "0.2")
    with Mesh(sqlite_url) as mesh, worker(*options, folder=shop_folder, SQUIDMESH_LEASE="600") as running:
        running.ready_pids()
        handle = mesh.start(shop.waiting("go"))
        _wait_until((shop_folder / "go.begun").exists)
        assert running.stop() == 0
        assert any("handed back" in line for line in running.lines)
        with worker(*options, folder=shop_folder) as other:
            other.ready_pids()
            _wait_until(lambda: len((shop_folder / "go.begun").read_text().split()) == 2)
            (shop_folder / "go").touch()
            assert handle.result(timeout=60) == other.pid


def test_told_twice_it_ends_at_once(shop_folder: Path, shop: ModuleType, sqlite_url: str) -> None:
    with Mesh(sqlite_url) as mesh, worker("shop", "--database", sqlite_url, folder=shop_folder) as running:
        running.ready_pids()
        mesh.start(shop.waiting("never"))
        _wait_until((shop_folder / "never.begun").exists)
        running.send(signal.SIGTERM)
        running.wait_for("squidmesh worker stopping")
        assert running.stop() == 1


def test_told_twice_through_whichever_thread_it_ends_at_once(
    shop_folder: Path, shop: ModuleType, sqlite_url: str
) -> None:
    with Mesh(sqlite_url) as mesh, worker("shop", "--database", sqlite_url, folder=shop_folder) as running:
        running.ready_pids()
        mesh.start(shop.waiting("never"))
        _wait_until((shop_folder / "never.begun").exists)
        for said in ("squidmesh worker stopping", None):
            running.send_to_another_thread(signal.SIGTERM)
            if said is not None:
                running.wait_for(said)
        assert running.ended(within=20) == 1


def test_several_processes_serve_together_and_stop_together(
    shop_folder: Path, shop: ModuleType, postgres_url: str, redis_url: str
) -> None:
    options = ("--database", postgres_url, "--broker", redis_url, "--processes", "2", "--threads", "2")
    with (
        Mesh(postgres_url, broker=redis_url) as mesh,
        worker("shop", *options, folder=shop_folder) as running,
    ):
        pids = running.ready_pids(2)
        handles = mesh.start_many([shop.waiting("go") for _ in range(4)])
        _wait_until((shop_folder / "go.begun").exists)
        _wait_until(lambda: len((shop_folder / "go.begun").read_text().split()) == 4)
        (shop_folder / "go").touch()
        assert {handle.result(timeout=60) for handle in handles} == set(pids)
        assert running.stop() == 0
    assert all(gone(pid) for pid in pids)


def test_a_process_that_died_is_replaced(shop_folder: Path, sqlite_url: str) -> None:
    options = ("--database", sqlite_url, "--processes", "2", "--threads", "1")
    with worker("shop", *options, folder=shop_folder) as running:
        first, second = running.ready_pids(2)
        os.kill(first, signal.SIGKILL)
        running.wait_for(f"process {first} was killed by SIGKILL; another one is started")
        third = running.ready_pids(3)[2]
        assert third not in {first, second}
        assert running.stop() == 0
    assert gone(second)
    assert gone(third)


def test_processes_end_when_their_master_was_killed(shop_folder: Path, sqlite_url: str) -> None:
    options = ("--database", sqlite_url, "--processes", "2", "--threads", "1")
    with worker("shop", *options, folder=shop_folder) as running:
        pids = running.ready_pids(2)
        running.send(signal.SIGKILL)
        _wait_until(lambda: all(gone(pid) for pid in pids))


def test_ctrl_c_for_the_whole_group_stops_gracefully(shop_folder: Path, sqlite_url: str) -> None:
    options = ("--database", sqlite_url, "--processes", "2", "--threads", "1")
    with worker("shop", *options, folder=shop_folder) as running:
        pids = running.ready_pids(2)
        for pid in (*pids, running.pid):
            os.kill(pid, signal.SIGINT)
        assert running.ended() == 0
        assert len(running.wait_for("squidmesh worker stopped", 2)) == 2


@pytest.mark.parametrize("processes", ["1", "2"])
@pytest.mark.parametrize(
    ("source", "said"),
    [
        (None, "there is no module 'broken'"),
        (
            "import nowhere.to_be_found",
            "module 'broken' does not import: ModuleNotFoundError: No module named 'nowhere'",
        ),
        ("1 / 0", "module 'broken' does not import: ZeroDivisionError: division by zero"),
        ("def f(:", "module 'broken' does not import: SyntaxError"),
        ("raise SystemExit(0)", "module 'broken' does not import: SystemExit"),
        ("x = 1", "no workflow and no step is declared there"),
    ],
)
def test_a_module_that_cannot_be_served_is_said_in_one_line(
    tmp_path: Path, sqlite_url: str, processes: str, source: str | None, said: str
) -> None:
    if source is not None:
        (tmp_path / "broken.py").write_text(source)
    options = ("broken", "--database", sqlite_url, "--processes", processes)
    with worker(*options, folder=tmp_path) as running:
        assert running.ended() == 2
        about = [line for line in running.lines if "before it was ready" not in line]
    assert all(said in line for line in about)
    assert len(about) == 1 if processes == "1" else 1 <= len(about) <= 2


@pytest.mark.parametrize("name", ["shop.py", "./shop.py", "shop:order", "shop/"])
def test_a_file_is_told_the_name_of_its_module(shop_folder: Path, sqlite_url: str, name: str) -> None:
    with worker(name, "--database", sqlite_url, folder=shop_folder) as running:
        assert running.ended() == 2
        (said,) = running.lines
    assert said.endswith("name it as your code imports it, squidmesh worker shop")


@pytest.mark.parametrize(
    ("database", "broker", "said"),
    [
        ("nonsense", None, "nonsense"),
        ("mysql://root:secret@localhost/x", None, "mysql"),
        ("postgresql://nobody:secret@127.0.0.1:1/x", None, "127.0.0.1"),
        (None, "kafka://me:secret@host", "--broker"),
    ],
)
def test_a_url_that_cannot_work_is_said_in_one_line(
    shop_folder: Path, sqlite_url: str, database: str | None, broker: str | None, said: str
) -> None:
    options = ["--database", database or sqlite_url, *(["--broker", broker] if broker else [])]
    with worker("shop", *options, folder=shop_folder) as running:
        assert running.ended() == 2
    assert len(running.lines) == 1
    assert said in running.lines[0]
    assert "secret" not in running.lines[0]


def test_a_missing_migration_is_said_with_the_command_to_type(shop_folder: Path, empty_postgres_url: str) -> None:
    with worker("shop", "--database", empty_postgres_url, folder=shop_folder) as running:
        assert running.ended() == 2
    assert len(running.lines) == 1
    assert "squidmesh migrate" in running.lines[0]


def test_a_broker_that_is_away_keeps_no_worker_from_serving(
    shop_folder: Path, shop: ModuleType, sqlite_url: str
) -> None:
    options = ("--database", sqlite_url, "--broker", "redis://127.0.0.1:1/0")
    with Mesh(sqlite_url) as mesh, worker("shop", *options, folder=shop_folder) as running:
        running.ready_pids()
        assert mesh.start(shop.total(1, 2)).result(timeout=60) == 6
        assert len(running.wait_for("is away")) <= 2  # who rings and who reads, once each


def test_runs_are_served_while_redis_is_away_and_when_it_came_back_empty(
    shop_folder: Path, shop: ModuleType, postgres_url: str
) -> None:
    with Redis() as server:
        options = ("--database", postgres_url, "--broker", server.url, "--threads", "2")
        with Mesh(postgres_url, broker=server.url) as mesh, worker("shop", *options, folder=shop_folder) as running:
            running.ready_pids()
            assert mesh.start(shop.total(1, 2)).result(timeout=60) == 6
            server.kill()
            for number in range(3):
                assert mesh.start(shop.total(number, 1)).result(timeout=60) == 2 * (number + 1)
            server.start()
            assert mesh.start(shop.total(2, 2)).result(timeout=60) == 8
            assert running.stop() == 0


def test_what_a_killed_worker_held_goes_on_elsewhere_after_its_lease(
    shop_folder: Path, shop: ModuleType, postgres_url: str, redis_url: str
) -> None:
    options = ("shop", "--database", postgres_url, "--broker", redis_url)
    short = {"SQUIDMESH_LEASE": "1", "SQUIDMESH_SWEEP": "0.2"}
    with Mesh(postgres_url, broker=redis_url) as mesh, worker(*options, folder=shop_folder, **short) as running:
        running.ready_pids()
        handle = mesh.start(shop.waiting("go"))
        _wait_until((shop_folder / "go.begun").exists)
        with worker(*options, folder=shop_folder, **short) as other:
            other.ready_pids()
            running.send(signal.SIGKILL)
            _wait_until(lambda: len((shop_folder / "go.begun").read_text().split()) == 2)
            (shop_folder / "go").touch()
            assert handle.result(timeout=60) == other.pid
