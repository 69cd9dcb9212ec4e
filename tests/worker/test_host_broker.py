"""A host's own broker under plain ``dramatiq`` serves workflows, beside the host's own actors."""

import importlib
import sys
import threading
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
from dramatiq import Worker
from dramatiq.brokers.stub import StubBroker

from squidmesh import Mesh
from squidmesh_worker.rabbitmq import BellRabbitmqBroker
from tests.worker.processes import process

APP = """
import dramatiq
from dramatiq.brokers.{kind} import {broker}
from shop import *
from squidmesh import Mesh

broker = {broker}(url={url!r})
dramatiq.set_broker(broker)

@dramatiq.actor
def own(name):
    (HERE / name).touch()

mesh = Mesh({database!r}, broker=broker)
"""


def _app(folder: Path, kind: str, url: str, database: str) -> None:
    broker = {"redis": "RedisBroker", "rabbitmq": "RabbitmqBroker"}[kind]
    (folder / "app.py").write_text(APP.format(kind=kind, broker=broker, url=url, database=database))


@pytest.fixture
def _own_queues(request: pytest.FixtureRequest) -> Iterator[None]:
    url = request.getfixturevalue("rabbitmq_url") if "rabbitmq" in request.node.name else None
    yield
    if url is not None:
        broker = BellRabbitmqBroker(url)
        for queue in ("default", "squidmesh.default"):
            for suffix in ("", ".DQ", ".XQ"):
                broker.channel.queue_delete(queue + suffix)
        broker.close()


@pytest.mark.usefixtures("_own_queues")
@pytest.mark.parametrize("kind", ["redis", "rabbitmq"])
def test_plain_dramatiq_serves_the_mesh_and_the_hosts_own_actors(
    shop_folder: Path, shop: ModuleType, postgres_url: str, kind: str, request: pytest.FixtureRequest
) -> None:
    _app(shop_folder, kind, request.getfixturevalue(f"{kind}_url"), postgres_url)
    command = (sys.executable, "-m", "dramatiq", "app", "--processes", "1", "--threads", "2")
    with process(*command, folder=shop_folder) as running:
        running.wait_for("serving workflows: queues default, 2 threads")
        app = importlib.import_module("app")
        try:
            assert app.mesh.start(shop.total(1, 2)).result(timeout=60) == 6
            done = f"own-{uuid.uuid4().hex}"
            app.own.send(done)
            until = time.monotonic() + 30
            while not (shop_folder / done).exists():
                assert time.monotonic() < until, "\n".join(running.lines)
                threading.Event().wait(0.01)
            handle = app.mesh.start(shop.waiting("go"))
            while not (shop_folder / "go.begun").exists():
                assert time.monotonic() < until + 20, "\n".join(running.lines)
                threading.Event().wait(0.01)
            (shop_folder / "go").touch()
            handle.result(timeout=60)
            assert running.stop() == 0
            with Mesh(postgres_url) as mesh:
                assert not mesh.connect_engine().store.workers()
        finally:
            app.mesh.close()
            app.broker.close()
            sys.modules.pop("app", None)


def test_a_hosts_worker_in_process_begins_and_ends_with_the_broker(shop: ModuleType, sqlite_url: str) -> None:
    broker = StubBroker()
    with Mesh(sqlite_url, broker=broker) as mesh:
        worker = Worker(broker, worker_threads=2, worker_timeout=100)
        worker.start()
        try:
            assert mesh.start(shop.total(1, 2)).result(timeout=60) == 6
            assert len(mesh.connect_engine().store.workers()) == 1
        finally:
            worker.stop()
        assert not mesh.connect_engine().store.workers()


def test_a_hosts_worker_that_reads_other_queues_serves_no_workflows(shop: ModuleType, sqlite_url: str) -> None:
    broker = StubBroker()
    with Mesh(sqlite_url, broker=broker) as mesh:
        worker = Worker(broker, queues={"other"}, worker_threads=2, worker_timeout=100)
        worker.start()
        try:
            assert not mesh.connect_engine().store.workers()
        finally:
            worker.stop()


def test_a_mesh_serves_in_process_on_a_hosts_broker(shop: ModuleType, sqlite_url: str) -> None:
    broker = StubBroker()
    with Mesh(sqlite_url, broker=broker) as mesh:
        for _ in range(2):
            with mesh.worker(threads=2):
                assert mesh.start(shop.total(1, 2)).result(timeout=60) == 6
                assert len(mesh.connect_engine().store.workers()) == 1
    broker.close()


def test_two_meshes_share_a_hosts_broker(shop: ModuleType, tmp_path: Path) -> None:
    broker = StubBroker()
    first_url, second_url = f"sqlite:///{tmp_path / 'one.db'}", f"sqlite:///{tmp_path / 'two.db'}"
    with Mesh(first_url, broker=broker) as first, Mesh(second_url, broker=broker) as second:
        worker = Worker(broker, worker_threads=2, worker_timeout=100)
        worker.start()
        try:
            assert first.start(shop.total(1, 2)).result(timeout=60) == 6
            assert second.start(shop.total(2, 3)).result(timeout=60) == 10
        finally:
            worker.stop()


def test_a_closed_mesh_leaves_the_hosts_broker_as_it_was(sqlite_url: str) -> None:
    broker = StubBroker(middleware=[])
    Mesh(sqlite_url, broker=broker).close()
    assert broker.middleware == []
