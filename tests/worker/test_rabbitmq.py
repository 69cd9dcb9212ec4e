"""RabbitMQ: connections that are lost are made anew, and none are spent on what bells do not use."""

import threading
import time
import uuid
from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest

from squidmesh_worker import doorbell_for
from squidmesh_worker.doorbell import RabbitmqDoorbell
from squidmesh_worker.inprocess import is_here
from squidmesh_worker.rabbitmq import BellRabbitmqBroker, keep_alive
from tests.worker.proxy import proxy_to
from tests.worker.standin import StandInWorker, advance, serving


@pytest.fixture
def queue(rabbitmq_url: str) -> Iterator[str]:
    name = f"q{uuid.uuid4().hex[:8]}"
    yield name
    broker = BellRabbitmqBroker(rabbitmq_url)
    for suffix in ("", ".DQ", ".XQ"):
        broker.channel.queue_delete(f"squidmesh.{name}{suffix}")
    broker.close()


def test_workers_and_clients_come_back_when_the_connection_does(rabbitmq_url: str, queue: str) -> None:
    url = urlsplit(rabbitmq_url)
    with proxy_to(url.hostname or "127.0.0.1", url.port or 5672) as proxy:
        through = url._replace(netloc=f"{url.netloc.rpartition('@')[0]}@127.0.0.1:{proxy.port}").geturl()
        doorbell = doorbell_for(through, name="test")
        worker = StandInWorker(queue)
        with serving(worker, doorbell):
            doorbell.ring([advance("1", queue)])
            worker.wait_for(1)
            proxy.cut()
            begun = time.monotonic()
            doorbell.ring([advance("lost", queue)])
            assert time.monotonic() - begun < 5
            proxy.mend()
            until = time.monotonic() + 30
            while not any(bell.run_id == "2" for bell in worker.heard):
                assert time.monotonic() < until
                doorbell.ring([advance("2", queue)])
                threading.Event().wait(0.1)
        doorbell.close()


def test_a_publishing_connection_that_died_while_idle_is_made_anew(rabbitmq_url: str, queue: str) -> None:
    url = urlsplit(rabbitmq_url)
    with proxy_to(url.hostname or "127.0.0.1", url.port or 5672) as proxy:
        through = url._replace(netloc=f"{url.netloc.rpartition('@')[0]}@127.0.0.1:{proxy.port}").geturl()
        broker = BellRabbitmqBroker(through)
        first = broker.connection
        keep_alive(broker)
        assert broker.connection is first
        proxy.cut()
        until = time.monotonic() + 30
        while getattr(broker.state, "connection", None) is first:
            assert time.monotonic() < until
            keep_alive(broker)
        proxy.mend()
        assert broker.connection is not first
        broker.close()


def test_a_worker_reads_each_queue_on_one_connection_and_none_for_delays(rabbitmq_url: str, queue: str) -> None:
    doorbell = doorbell_for(rabbitmq_url, name="test")
    worker = StandInWorker(queue)
    with serving(worker, doorbell) as running:
        doorbell.ring([advance("1", queue)])
        worker.wait_for(1)
        consumers = running._dramatiq.consumers
        assert [name for name in consumers if not is_here(name)] == [f"squidmesh.{queue}"]
    doorbell.close()


def test_what_was_rung_is_sent_before_the_doorbell_closes(rabbitmq_url: str, queue: str) -> None:
    doorbell = doorbell_for(rabbitmq_url, name="test")
    doorbell.ring([advance(f"r-{number}", queue) for number in range(100)])
    doorbell.close()
    worker = StandInWorker(queue)
    again = doorbell_for(rabbitmq_url, name="test")
    assert isinstance(again, RabbitmqDoorbell)
    with serving(worker, again):
        worker.wait_for(100)
    again.close()
