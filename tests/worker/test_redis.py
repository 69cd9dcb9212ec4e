"""The Redis broker wakes at once, costs nothing while idle, and comes back from whatever happens to Redis."""

import threading
import time
from pathlib import Path
from statistics import median
from typing import Any

import pytest
import redis

from squidmesh_worker import doorbell_for
from squidmesh_worker.redis import RedisBroker
from tests.servers import Redis
from tests.worker.standin import StandInWorker, advance, serving

KEY = "squidmesh.default"


def _wait_until(condition: Any, within: float = 30.0) -> None:
    until = time.monotonic() + within
    while not condition():
        assert time.monotonic() < until, "it did not happen in time"
        threading.Event().wait(0.01)


def _blocked(client: redis.Redis) -> int:
    return int(client.info("clients")["blocked_clients"])


def _calls(client: redis.Redis) -> dict[str, int]:
    return {name: int(stats["calls"]) for name, stats in client.info("commandstats").items()}


def test_a_worker_that_idled_hears_within_milliseconds(redis_url: str) -> None:
    doorbell = doorbell_for(redis_url, name="test")
    worker = StandInWorker()
    client = redis.Redis.from_url(redis_url)
    taken = []
    with serving(worker, doorbell), client:
        doorbell.ring([advance()])
        worker.wait_for(1)
        for number in range(2, 23):
            _wait_until(lambda: _blocked(client) == 1)
            rung_at = time.perf_counter()
            doorbell.ring([advance()])
            worker.wait_for(number)
            taken.append(worker.heard_at[-1] - rung_at)
    doorbell.close()
    assert median(taken) < 0.05  # a consumer that polls takes longer, however idle the machine


def test_an_idle_worker_asks_redis_next_to_nothing() -> None:
    with Redis() as server:
        doorbell = doorbell_for(server.url, name="test")
        worker = StandInWorker()
        with serving(worker, doorbell), redis.Redis.from_url(server.url) as client:
            _wait_until(lambda: _blocked(client) == 1)
            client.config_resetstat()
            begun = time.monotonic()
            while _calls(client).get("cmdstat_blpop", 0) < 2:
                threading.Event().wait(0.1)
            seconds = time.monotonic() - begun
            calls = _calls(client)
        doorbell.close()
    ours = {"cmdstat_info", "cmdstat_config|resetstat"}
    by_worker = sum(count for name, count in calls.items() if name not in ours)
    assert by_worker / seconds < 5


def test_one_bell_wakes_one_of_the_processes_that_wait(redis_url: str) -> None:
    doorbell = doorbell_for(redis_url, name="test")
    first, second = StandInWorker(), StandInWorker()
    with serving(first, doorbell), serving(second, doorbell), redis.Redis.from_url(redis_url) as client:
        _wait_until(lambda: _blocked(client) == 2)
        before = _calls(client)["cmdstat_blpop"]
        doorbell.ring([advance()])
        _wait_until(lambda: len(first.heard) + len(second.heard) == 1)
        _wait_until(lambda: _blocked(client) == 2)
        assert _calls(client)["cmdstat_blpop"] - before <= 2
    doorbell.close()


def test_a_worker_takes_no_more_bells_than_it_has_threads(redis_url: str) -> None:
    doorbell = doorbell_for(redis_url, name="test")
    go_on = threading.Event()
    worker = StandInWorker(on_hear=lambda bell: go_on.wait(30))
    with redis.Redis.from_url(redis_url) as client:
        doorbell.ring([advance(f"r-{number}") for number in range(10)])
        with serving(worker, doorbell, threads=2):
            assert worker.begun.wait(30)
            _wait_until(lambda: client.llen(KEY) == 8)
            go_on.set()
            worker.wait_for(10)
    doorbell.close()


def test_what_was_taken_and_not_begun_goes_back_in_order(redis_url: str) -> None:
    doorbell = doorbell_for(redis_url, name="test")
    go_on = threading.Event()
    worker = StandInWorker(on_hear=lambda bell: go_on.wait(30))
    with redis.Redis.from_url(redis_url) as client, serving(worker, doorbell, threads=1):
        doorbell.ring([advance("begun")])
        assert worker.begun.wait(30)
        broker = RedisBroker(redis_url)
        doorbell.ring([advance("1"), advance("2"), advance("3")])
        consumer = broker.consume(KEY, prefetch=3)
        taken = [message for _ in range(3) if (message := next(consumer)) is not None]
        assert client.llen(KEY) == 0
        consumer.requeue(taken)
        broker.close()
        assert client.llen(KEY) == 3
        go_on.set()
        worker.wait_for(4)
    doorbell.close()
    assert [bell.run_id for bell in worker.heard] == ["begun", "1", "2", "3"]


def test_a_server_without_lpop_of_several_is_read_one_by_one(redis_url: str) -> None:
    broker = RedisBroker(redis_url)
    doorbell = doorbell_for(redis_url, name="test")
    doorbell.ring([advance("1"), advance("2")])
    consumer: Any = broker.consume(KEY, prefetch=4)
    consumer._lpop_counts = False
    assert [next(consumer).args[1] for _ in range(2)] == ["1", "2"]
    broker.close()
    doorbell.close()


def test_a_unix_socket_that_is_not_there_is_an_outage_like_any_other(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    doorbell = doorbell_for(f"unix://{tmp_path / 'redis.sock'}?db=3", name="test")
    doorbell.ring([advance()])
    doorbell.close()
    assert "nothing is lost" in caplog.text


def test_an_emptied_redis_changes_nothing_for_those_who_wait(redis_url: str) -> None:
    doorbell = doorbell_for(redis_url, name="test")
    worker = StandInWorker()
    with serving(worker, doorbell), redis.Redis.from_url(redis_url) as client:
        doorbell.ring([advance("1")])
        worker.wait_for(1)
        client.flushdb()
        client.script_flush()
        doorbell.ring([advance("2")])
        worker.wait_for(2)
    doorbell.close()


@pytest.mark.parametrize("end", ["kill", "stop"])
def test_workers_and_clients_come_back_when_redis_does(end: str) -> None:
    with Redis() as server:
        doorbell = doorbell_for(server.url, name="test")
        worker = StandInWorker()
        with serving(worker, doorbell):
            doorbell.ring([advance("1")])
            worker.wait_for(1)
            getattr(server, end)()
            doorbell.ring([advance("lost")])
            server.start()

            def heard_again() -> bool:
                doorbell.ring([advance("2")])
                return len(worker.heard) > 1

            _wait_until(heard_again)
        doorbell.close()
    assert {bell.run_id for bell in worker.heard} == {"1", "2"}


def test_stopping_calls_the_waiting_connection_back(redis_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("squidmesh_worker.redis._BLOCK", 60)
    doorbell = doorbell_for(redis_url, name="test")
    worker = StandInWorker()
    with redis.Redis.from_url(redis_url) as client:
        with serving(worker, doorbell) as running:
            _wait_until(lambda: _blocked(client) == 1)
            begun = time.monotonic()
            assert running.stop()
            assert time.monotonic() - begun < 20
        _wait_until(lambda: _blocked(client) == 0)
    doorbell.close()


def test_bells_that_nobody_reads_do_not_fill_redis(redis_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("squidmesh_worker.redis._LONGEST", 50)
    doorbell = doorbell_for(redis_url, name="test")
    for number in range(30):
        doorbell.ring([advance(f"r-{number}"), advance(f"s-{number}")])
    with redis.Redis.from_url(redis_url) as client:
        assert client.llen(KEY) == 50
    doorbell.close()


def test_what_is_not_ours_in_a_list_is_dropped(redis_url: str) -> None:
    doorbell = doorbell_for(redis_url, name="test")
    worker = StandInWorker()
    with redis.Redis.from_url(redis_url) as client, serving(worker, doorbell, threads=1):
        client.rpush(KEY, b"nonsense", b"\xff\x00")
        doorbell.ring([advance("ours")])
        worker.wait_for(1)
    doorbell.close()
