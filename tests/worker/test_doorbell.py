"""Every doorbell rings the workers that serve the queue, and no trouble of a broker reaches who rings."""

import logging
import socket
import threading
import time
import uuid
from collections.abc import Iterator
from typing import Any

import dramatiq
import pytest
from dramatiq.brokers.rabbitmq import RabbitmqBroker
from dramatiq.brokers.redis import RedisBroker as DramatiqRedisBroker
from dramatiq.brokers.stub import StubBroker

from squidmesh.errors import ConfigurationError
from squidmesh.ports import Bell, BellKind
from squidmesh_worker import doorbell_for
from squidmesh_worker.rabbitmq import BellRabbitmqBroker
from tests.servers.process import free_port
from tests.worker.standin import StandInWorker, advance, serving


class Place:
    """A broker to test with: what a mesh is given, and a queue that nobody else has."""

    def __init__(self, broker: Any) -> None:
        self.broker = broker
        self.queue = f"q{uuid.uuid4().hex[:8]}"


@pytest.fixture(params=["in process", "redis", "rabbitmq", "host stub", "host redis", "host rabbitmq"])
def place(request: pytest.FixtureRequest) -> Iterator[Place]:
    kind = request.param
    url = request.getfixturevalue(f"{kind.split()[-1]}_url") if kind.split()[-1] in {"redis", "rabbitmq"} else None
    brokers = {"host stub": StubBroker, "host redis": DramatiqRedisBroker, "host rabbitmq": RabbitmqBroker}
    if kind not in brokers:
        place = Place(url)
    else:
        place = Place(brokers[kind](url=url, middleware=[]) if url else StubBroker(middleware=[]))
    yield place
    if isinstance(place.broker, dramatiq.Broker):
        place.broker.close()
    if "rabbitmq" in kind and url:
        _delete_queues(url, place.queue, "default")


def _delete_queues(url: str, *queues: str) -> None:
    broker = BellRabbitmqBroker(url)
    for queue in queues:
        for suffix in ("", ".DQ", ".XQ"):
            broker.channel.queue_delete(f"squidmesh.{queue}{suffix}")
    broker.close()


def test_a_bell_is_heard_with_what_was_rung(place: Place) -> None:
    doorbell = doorbell_for(place.broker, name="test")
    worker = StandInWorker(place.queue)
    bells = [Bell(kind, place.queue, "r-1") for kind in BellKind] + [Bell(BellKind.DRAIN, place.queue)]
    with serving(worker, doorbell):
        doorbell.ring(bells)
        worker.wait_for(4)
    doorbell.close()
    assert sorted(worker.heard, key=str) == sorted(bells, key=str)


def test_many_bells_are_all_heard_once(place: Place) -> None:
    doorbell = doorbell_for(place.broker, name="test")
    worker = StandInWorker(place.queue)
    bells = [advance(f"r-{number}", place.queue) for number in range(1_500)]
    with serving(worker, doorbell):
        doorbell.ring(bells)
        worker.wait_for(1_500, within=30)
    doorbell.close()
    assert sorted(bell.run_id or "" for bell in worker.heard) == sorted(bell.run_id or "" for bell in bells)


def test_a_worker_hears_only_its_queues(place: Place) -> None:
    doorbell = doorbell_for(place.broker, name="test")
    worker = StandInWorker(place.queue)
    with serving(worker, doorbell):
        doorbell.ring([advance("other", "default"), advance("mine", place.queue)])
        worker.wait_for(1)
    doorbell.close()
    assert [bell.run_id for bell in worker.heard] == ["mine"]


def test_serving_can_end_and_begin_again(place: Place) -> None:
    doorbell = doorbell_for(place.broker, name="test")
    for number in range(2):
        worker = StandInWorker(place.queue)
        with serving(worker, doorbell):
            doorbell.ring([advance(f"r-{number}", place.queue)])
            worker.wait_for(1)
        assert [bell.run_id for bell in worker.heard] == [f"r-{number}"]
        assert worker.calls == ["enter", "stop", "leave"]
    doorbell.close()


def test_a_client_that_never_rings_connects_nowhere() -> None:
    for url in (f"redis://127.0.0.1:{free_port()}/0", f"amqp://127.0.0.1:{free_port()}"):
        doorbell_for(url, name="test").close()


@pytest.mark.parametrize("scheme", ["redis", "amqp"])
def test_ringing_a_broker_that_is_away_is_quick_and_warns_once(scheme: str, caplog: pytest.LogCaptureFixture) -> None:
    doorbell = doorbell_for(f"{scheme}://user:secret@127.0.0.1:{free_port()}", name="test")
    warned = threading.Event()
    handler = logging.Handler()
    handler.emit = lambda record: warned.set()  # type: ignore[method-assign]
    logging.getLogger("squidmesh.worker").addHandler(handler)
    begun = time.monotonic()
    for _ in range(200):
        doorbell.ring([advance()])
    taken = time.monotonic() - begun
    assert warned.wait(30)
    doorbell.close()
    logging.getLogger("squidmesh.worker").removeHandler(handler)
    messages = [record.getMessage() for record in caplog.records if record.name == "squidmesh.worker"]
    assert taken < 10
    assert len(messages) == 1
    assert "nothing is lost" in messages[0]
    assert "secret" not in messages[0]


def test_ringing_a_redis_that_accepts_and_never_answers_takes_little_over_a_second() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        doorbell = doorbell_for(f"redis://127.0.0.1:{silent.getsockname()[1]}/0", name="test")
        begun = time.monotonic()
        for _ in range(200):
            doorbell.ring([advance()])
        assert time.monotonic() - begun < 10
        doorbell.close()


def test_ringing_a_hosts_broker_that_hangs_does_not_hold_up_who_rings() -> None:
    go_on = threading.Event()

    class Hanging(StubBroker):
        def enqueue(self, message: Any, *, delay: int | None = None) -> Any:
            go_on.wait(30)
            return super().enqueue(message, delay=delay)

    doorbell = doorbell_for(Hanging(middleware=[]), name="test")
    begun = time.monotonic()
    for _ in range(20_000):
        doorbell.ring([advance()])
    assert time.monotonic() - begun < 20
    go_on.set()
    doorbell.close()


class Away(StubBroker):
    """A host's broker that cannot be reached."""

    def enqueue(self, message: Any, *, delay: int | None = None) -> Any:
        raise ConnectionError("refused")


@pytest.mark.parametrize("kind", ["redis", "amqp", "host"])
def test_while_the_broker_is_away_a_worker_answers_what_its_own_sweep_finds(kind: str) -> None:
    broker = Away(middleware=[]) if kind == "host" else f"{kind}://127.0.0.1:{free_port()}"
    doorbell = doorbell_for(broker, name="test")
    go_on = threading.Event()
    worker = StandInWorker(on_hear=lambda bell: go_on.wait(30))
    with serving(worker, doorbell, threads=2) as running:
        for _ in range(3):
            doorbell.ring([Bell(BellKind.DRAIN, "default"), Bell(BellKind.DRAIN, "of others")])
        worker.wait_until(lambda: worker.hearing == 2)
        stopped: list[bool] = []
        stopping = threading.Thread(target=lambda: stopped.append(running.stop(20)))
        stopping.start()
        worker.wait_until(lambda: "stop" in worker.calls)
        go_on.set()
        stopping.join(30)
    doorbell.close()
    assert stopped == [True]
    assert set(worker.heard) == {Bell(BellKind.DRAIN, "default")}
    assert len(worker.heard) == 2
    assert worker.calls == ["enter", "stop", "leave"]


def test_in_process_bells_are_not_kept_when_nobody_serves() -> None:
    doorbell = doorbell_for(None, name="test")
    doorbell.ring([advance("before")])
    worker = StandInWorker("default")
    with serving(worker, doorbell):
        doorbell.ring([advance("during")])
        worker.wait_for(1)
    doorbell.ring([advance("after")])
    again = StandInWorker("default")
    with serving(again, doorbell):
        doorbell.ring([advance("again")])
        again.wait_for(1)
    assert [bell.run_id for bell in worker.heard] == ["during"]
    assert [bell.run_id for bell in again.heard] == ["again"]


def test_meshes_in_one_process_do_not_hear_each_other() -> None:
    first, second = StandInWorker(), StandInWorker()
    one, other = doorbell_for(None, name="one"), doorbell_for(None, name="other")
    with serving(first, one), serving(second, other):
        one.ring([advance("to one")])
        other.ring([advance("to other")])
        first.wait_for(1)
        second.wait_for(1)
    assert [bell.run_id for bell in first.heard] == ["to one"]
    assert [bell.run_id for bell in second.heard] == ["to other"]


def test_two_workers_of_one_mesh_share_its_doorbell() -> None:
    doorbell = doorbell_for(None, name="test")
    first, second = StandInWorker("a"), StandInWorker("b")
    with serving(first, doorbell):
        with serving(second, doorbell):
            doorbell.ring([advance("1", "a"), advance("2", "b")])
            first.wait_for(1)
            second.wait_for(1)
        doorbell.ring([advance("3", "a"), advance("4", "b")])
        first.wait_for(2)
    assert [bell.run_id for bell in first.heard] == ["1", "3"]
    assert [bell.run_id for bell in second.heard] == ["2"]


def test_dramatiqs_global_broker_is_never_touched(monkeypatch: pytest.MonkeyPatch) -> None:
    untouched = StubBroker(middleware=[])
    dramatiq.set_broker(untouched)
    doorbell = doorbell_for(None, name="test")
    with serving(StandInWorker(), doorbell):
        assert dramatiq.get_broker() is untouched
    monkeypatch.setattr("dramatiq.broker.global_broker", None)
    assert not untouched.actors


@pytest.mark.parametrize(
    "url",
    ["kafka://host", "localhost:6379", "", "redis://:pa/ss-word@host:x", "amqp://me:pa-ss-word@host:port"],
)
def test_a_url_that_is_no_brokers_is_refused_in_one_line_without_its_password(url: str) -> None:
    with pytest.raises(ConfigurationError) as refused:
        doorbell_for(url, name="test")
    assert "\n" not in str(refused.value)
    assert "--broker" in str(refused.value)
    assert "ss-word" not in str(refused.value)
