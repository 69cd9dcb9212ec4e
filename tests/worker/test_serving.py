"""Serving in this process: begun in one order, ended in the other, nothing left behind."""

import threading
import time

import pytest

from squidmesh.ports import Bell, BellKind
from squidmesh_worker import doorbell_for
from tests.worker.standin import StandInWorker, advance, serving, stand_in_engine


def test_stopping_waits_for_the_attempt_in_flight_and_then_leaves() -> None:
    doorbell = doorbell_for(None, name="test")
    go_on = threading.Event()
    worker = StandInWorker(on_hear=lambda bell: go_on.wait(30))
    with serving(worker, doorbell, lease=0.06) as running:
        doorbell.ring([advance()])
        assert worker.begun.wait(30)
        ended: list[bool] = []
        stopping = threading.Thread(target=lambda: ended.append(running.stop(20)))
        stopping.start()
        worker.wait_until(lambda: "stop" in worker.calls)
        seen = worker.heartbeats
        worker.wait_until(lambda: worker.heartbeats > seen + 2)
        assert "leave" not in worker.calls
        go_on.set()
        stopping.join(30)
    assert ended == [True]
    assert len(worker.heard) == 1
    assert worker.calls == ["enter", "stop", "leave"]


def test_an_attempt_that_does_not_finish_in_time_is_left_and_said() -> None:
    doorbell = doorbell_for(None, name="test")
    go_on = threading.Event()
    worker = StandInWorker(on_hear=lambda bell: go_on.wait(30))
    with serving(worker, doorbell) as running:
        doorbell.ring([advance()])
        assert worker.begun.wait(30)
        assert not running.stop(0.05)
        assert worker.calls == ["enter", "stop", "leave"]
        go_on.set()
        worker.wait_for(1)


def test_nothing_new_is_begun_while_stopping() -> None:
    doorbell = doorbell_for(None, name="test")
    go_on = threading.Event()
    worker = StandInWorker(on_hear=lambda bell: go_on.wait(30))
    with serving(worker, doorbell, threads=1) as running:
        doorbell.ring([advance("begun"), advance("not begun")])
        assert worker.begun.wait(30)
        stopping = threading.Thread(target=lambda: running.stop(20))
        stopping.start()
        worker.wait_until(lambda: "stop" in worker.calls)
        doorbell.ring([advance("too late")])
        go_on.set()
        stopping.join(30)
    assert [bell.run_id for bell in worker.heard] == ["begun"]


def test_an_idle_worker_stops_at_once_and_only_once() -> None:
    worker = StandInWorker("a", "b", "c")
    with serving(worker, doorbell_for(None, name="test"), threads=8) as running:
        begun = time.monotonic()
        assert running.stop()
        assert running.stop()
        assert time.monotonic() - begun < 10
    assert worker.calls == ["enter", "stop", "leave"]


def test_a_worker_that_cannot_leave_does_not_keep_the_process_from_stopping() -> None:
    worker = StandInWorker()

    def fail() -> None:
        raise RuntimeError("the database is away")

    worker.leave = fail  # type: ignore[method-assign]
    with serving(worker, doorbell_for(None, name="test")) as running:
        assert running.stop()


def test_a_worker_that_cannot_enter_starts_nothing() -> None:
    from squidmesh_worker import serve

    worker = StandInWorker()

    def fail() -> None:
        raise RuntimeError("the database is away")

    worker.enter = fail  # type: ignore[method-assign]
    before = threading.active_count()
    with pytest.raises(RuntimeError, match="away"):
        serve(stand_in_engine(), worker, doorbell_for(None, name="test"), 4)  # type: ignore[arg-type]
    assert threading.active_count() == before


def test_a_bell_whose_answer_fails_is_done_and_the_next_is_heard(caplog: pytest.LogCaptureFixture) -> None:
    doorbell = doorbell_for(None, name="test")

    def away(bell: object) -> None:
        if len(failed) < 3:
            failed.append(bell)
            raise RuntimeError("the database is away")

    failed: list[object] = []
    worker = StandInWorker(on_hear=away)
    with serving(worker, doorbell, threads=1):
        doorbell.ring([advance(f"r-{number}") for number in range(4)])
        worker.wait_for(1)
    assert [bell.run_id for bell in worker.heard] == ["r-3"]
    assert "the sweep will find what is due" in caplog.text


@pytest.mark.parametrize("broker", [None, "redis"])
def test_a_bell_for_some_run_does_not_stand_in_line_behind_many_that_say_that_work_is_due(
    request: pytest.FixtureRequest, broker: str | None
) -> None:
    url = broker and request.getfixturevalue("redis_url")
    here = doorbell_for(url, name="test")
    client = here if url is None else doorbell_for(url, name="client")
    go_on = threading.Event()
    worker = StandInWorker(on_hear=lambda bell: go_on.wait(30))
    with serving(worker, here, threads=1):
        client.ring([Bell(BellKind.DRAIN, "default")] * 50)
        assert worker.begun.wait(30)
        assert not worker.called()
        client.ring([advance("named")])
        until = time.monotonic() + 30
        while not worker.called() and time.monotonic() < until:
            threading.Event().wait(0.005)
        assert worker.called()
        go_on.set()
        worker.wait_until(lambda: advance("named") in worker.heard, within=30)
        assert worker.heard.index(advance("named")) <= 2
        assert not worker.called()
    if client is not here:
        client.close()
    here.close()
