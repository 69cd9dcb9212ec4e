"""Signals: messages kept in order, waits that take one or time out, and what becomes of what does not fit."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import BaseModel

from squidmesh.core import events as ev
from squidmesh.core.commands import gather, race, sleep
from squidmesh.core.deterministic import now
from squidmesh.core.interpreter import Interpreter
from squidmesh.core.nodes import SendNode
from squidmesh.core.signals import Mailbox, Signal
from squidmesh.core.standing import Standing, standing
from squidmesh.core.status import Reason, RunStatus
from squidmesh.core.workflow import Flow, workflow
from squidmesh.engine.arriving import taken_up
from squidmesh.errors import DefinitionError, InvalidPayload
from tests.core.play import Play, kinds


class Paid(BaseModel):
    cents: int


class Refused(BaseModel):
    why: str


PAID = Signal("paid", Paid)
GO = Signal("go")
NUMBER = Signal("number", int)
ANSWER = Signal[Paid | Refused]("answer", Paid | Refused)


def sends(play: Play, name: str, payload: Any = True, key: str | None = None) -> None:
    """A message arrives, as the holder of the run takes it up."""
    arrived = taken_up(play.live, ev.SignalReceived(name=name, payload=payload, key=key))
    play.feed(*([] if arrived is None else [arrived]))


def replays(play: Play) -> None:
    """Every prefix of the history replays, and the whole of it decides nothing more."""
    for length in range(1, len(play.history) + 1):
        fresh = Interpreter(play.workflow, "run-1")
        fresh.replay(play.history[:length], play.time)
        decision = fresh.take()
        assert decision.blocked is None, (length, decision.blocked)
        assert decision.events == () or length < len(play.history)
        fresh.close()


@workflow(name="signals.takes_numbers")
def takes_numbers(count: int) -> Flow[list[int]]:
    got: list[int] = []
    while len(got) < count:
        got += [(yield from NUMBER.wait())]
    return got


def test_messages_sent_before_they_are_awaited_are_kept_in_order() -> None:
    play = Play(takes_numbers, 4)
    play.feed(*(ev.SignalReceived(name="number", payload=n) for n in (1, 2)))
    sends(play, "other", 9)
    sends(play, "number", 3)
    play.restart()
    sends(play, "number", 4)
    assert play.result == [1, 2, 3, 4]
    taken = [event.number for event in play.history if isinstance(event, ev.SignalTaken)]
    assert taken == [1, 2, 4, 5]
    replays(play)


def test_a_run_that_waits_for_a_signal_is_waiting_until_its_timeout() -> None:
    @workflow
    def waits() -> Flow[None]:
        yield from GO.wait(timeout=60)

    play = Play(waits)
    assert standing(play.live) == Standing(RunStatus.WAITING, Reason.WAITING_FOR_SIGNAL, play.time + 60_000_000)


@workflow(name="signals.waits_twice")
def waits_twice() -> Flow[list[Any]]:
    first = yield from NUMBER.wait(timeout=60)
    second = yield from NUMBER.wait()
    return [first, second]


def test_a_timeout_gives_none_and_the_next_wait_really_waits() -> None:
    play = Play(waits_twice)
    play.fire("1")
    play.restart()
    assert play.open == ["2"]
    sends(play, "number", 7)
    assert play.result == [None, 7]
    replays(play)


def test_a_message_that_came_is_taken_and_the_timer_of_its_wait_is_over() -> None:
    play = Play(waits_twice)
    sends(play, "number", 1)
    assert play.open == ["2"]
    assert play.fire("1").events == ()
    sends(play, "number", 2)
    assert play.result == [1, 2]


def test_a_wait_that_loses_its_race_takes_nothing() -> None:
    @workflow
    def races() -> Flow[list[Any]]:
        lost = yield from race(sleep(5), NUMBER.wait())
        return [lost[0], (yield from NUMBER.wait())]

    play = Play(races)
    play.fire("1.1")
    assert "TimerCancelled 1.2" in kinds(play.last)
    sends(play, "number", 7)
    assert play.result == [0, 7]
    replays(play)


def test_two_waits_at_once_take_one_message_each_the_first_first() -> None:
    @workflow
    def both() -> Flow[list[int]]:
        return list((yield from gather(NUMBER.wait(), NUMBER.wait())))

    play = Play(both)
    sends(play, "number", 1)
    assert play.open == ["1.2"]
    sends(play, "number", 2)
    assert play.result == [1, 2]


def test_what_does_not_decode_is_recorded_as_rejected_and_the_wait_goes_on() -> None:
    play = Play(takes_numbers, 1)
    sends(play, "number", "many")
    (rejected,) = [event for event in play.history if isinstance(event, ev.SignalRejected)]
    assert (rejected.name, rejected.number, rejected.position) == ("number", 1, "1")
    assert "valid integer" in rejected.message
    assert play.open == ["1"]
    play.restart()
    sends(play, "number", 5)
    assert play.result == [5]
    replays(play)


def test_of_several_messages_in_one_look_the_first_that_fits_is_taken() -> None:
    play = Play(takes_numbers, 1)
    play.feed(*(ev.SignalReceived(name="number", payload=payload) for payload in ("x", None, 3, 4)))
    assert play.result == [3]
    assert play.live.mail.untaken() == [("number", 4)]


def test_a_signal_has_a_model_a_union_or_is_just_true() -> None:
    @workflow
    def three() -> Flow[list[Any]]:
        paid = yield from PAID.wait()
        answer = yield from ANSWER.wait()
        return [paid.cents, answer.why if isinstance(answer, Refused) else None, (yield from GO.wait())]

    play = Play(three)
    for name, payload in (("paid", {"cents": 3}), ("answer", {"why": "no"}), ("go", True)):
        sends(play, name, payload)
    assert play.result == [3, "no", True]


def test_the_same_key_counts_once_however_often_it_comes() -> None:
    play = Play(takes_numbers, 2)
    for _ in range(2):
        sends(play, "number", 1, key="k")
        play.restart()
    sends(play, "number", 2, key="l")
    assert play.result == [1, 2]


def test_now_is_when_the_message_was_taken() -> None:
    @workflow
    def tells() -> Flow[str]:
        yield from GO.wait()
        return now().isoformat()

    play = Play(tells)
    play.time += 3_600_000_000
    sends(play, "go")
    assert play.result == "2023-11-14T23:13:20.002000+00:00"
    replays(play)


def test_a_cancelled_run_takes_nothing_more() -> None:
    play = Play(takes_numbers, 1)
    play.cancel()
    assert play.last.ended
    assert taken_up(play.live, ev.SignalReceived(name="number", payload=1)) is None


def test_a_message_of_a_run_that_broken_code_stopped_keeps_its_number() -> None:
    @workflow(name="signals.breaks")
    def breaks() -> Flow[int]:
        yield from GO.wait()
        raise TypeError("broken")

    @workflow(name="signals.mended")
    def mended() -> Flow[int]:
        yield from GO.wait()
        return (yield from NUMBER.wait())

    play = Play(breaks)
    sends(play, "go")
    assert play.blocked.reason == "code_error"
    sends(play, "number", 1, key="k")
    assert taken_up(play.live, ev.SignalReceived(name="number", payload=1, key="k")) is None
    (*_, taken, ended) = play.restart(mended).events
    assert (taken.kind, ended) == ("SignalTaken", ev.RunCompleted(result=1, at=ended.at))


# ------------------------------------------------------------------------------------------------- sending


@workflow(name="signals.sends")
def sends_on() -> Flow[int]:
    yield from PAID.send("run-2", Paid(cents=3))
    return 1


def test_a_message_is_sent_once_however_often_the_run_is_replayed() -> None:
    play = Play(sends_on)
    (node,) = play.live.here()
    assert isinstance(node, SendNode)
    assert (node.run_id, node.name, node.payload) == ("run-2", "paid", {"cents": 3})
    play.restart()
    assert [type(leaf) for leaf in play.live.here()] == [SendNode]
    play.feed(ev.SignalSent(position="1", run_id="run-2", name="paid", payload={"cents": 3}))
    assert play.result == 1
    play.restart()
    assert list(play.live.here()) == []
    replays(play)


def test_what_does_not_fit_its_signal_is_refused_when_it_is_sent() -> None:
    with pytest.raises(InvalidPayload, match=r"payload of signal 'paid'[\s\S]*cents"):
        PAID.send("run-2", {"dollars": 1})  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]

    @workflow
    def sends_too_much() -> Flow[None]:
        yield from Signal("text", str).send("run-2", "x" * 2_000_000)

    blocked = Play(sends_too_much).blocked
    assert (blocked.reason, "the payload of signal 'text' is too large" in blocked.message) == ("code_error", True)


# ---------------------------------------------------------------------------------------------- definitions


@pytest.mark.parametrize("name", ["", "  ", 3, None, "a\0b"])
def test_a_signal_has_a_name(name: Any) -> None:
    with pytest.raises(DefinitionError, match="name of a signal"):
        Signal(name)


def test_a_timeout_is_a_duration() -> None:
    with pytest.raises(TypeError, match="timeout"):
        GO.wait(timeout="soon")  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType, reportCallIssue]


def test_code_that_waits_for_another_signal_is_a_change() -> None:
    @workflow
    def waits_for_go() -> Flow[None]:
        yield from GO.wait()

    play = Play(takes_numbers, 1)
    play.restart(waits_for_go)
    told = "history has the wait for signal 'number' at position 1"
    assert (play.blocked.reason, told in play.blocked.message) == ("code_changed", True)


def test_a_mailbox_takes_odd_events_without_harm() -> None:
    mail = Mailbox()
    mail.apply(ev.SignalTaken(position="1", name="x", number=3))
    mail.apply(ev.SignalRejected(name="y", number=0, message="no"))
    assert (mail.first("x"), mail.untaken()) == (None, [])
