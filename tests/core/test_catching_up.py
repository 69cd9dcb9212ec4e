"""A kept interpreter takes in what another worker has recorded of commands that it had asked for itself."""

import pytest

from squidmesh import Flow, transaction, workflow
from squidmesh.core import events as ev
from squidmesh.core.events import Event
from squidmesh.core.interpreter import Interpreter
from tests.core.sagashop import row


def rows(count: int) -> Flow[int]:
    total = 0
    for n in range(count):
        total += yield from row(n)
    return total


@workflow(name="core_rows_together")
def rows_together(count: int) -> Flow[int]:
    return (yield from transaction(rows, count))


@pytest.mark.parametrize("count", [1, 2])
def test_what_another_worker_did_inside_of_a_transaction_is_no_command_of_the_run(count: int) -> None:
    started = ev.RunStarted(
        seq=1, workflow="core_rows_together", version=1, input={"count": count}, interpreter_version=1
    )
    kept = Interpreter(rows_together, "run-1")
    kept.replay([started])
    (asked,) = kept.take().events
    assert isinstance(asked, ev.StepScheduled)
    news: list[Event] = [ev.AttemptStarted(seq=3, position="1", worker="another")]
    for n in range(count):
        inside: list[Event] = [
            ev.StepScheduled(seq=4 + 3 * n, position=f"1.{n + 1}", step="core_row", input={"n": n}),
            ev.UndoRegistered(seq=5 + 3 * n, position=f"1.{n + 1}", number=1, function="tests.core.sagashop:release"),
            ev.StepCompleted(seq=6 + 3 * n, position=f"1.{n + 1}", result=n),
        ]
        news += inside
    news.append(ev.TransactionCommitted(seq=4 + 3 * count, position="1", result=7))
    kept.replay(news)
    decision = kept.take()
    assert decision.blocked is None
    assert [event.kind for event in decision.events] == ["RunCompleted"]
