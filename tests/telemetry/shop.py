"""What is traced here: an order with everything that a trace may show."""

from __future__ import annotations

from datetime import timedelta

from opentelemetry import trace
from pydantic import SecretStr

from squidmesh import Flow, Retry, Signal, WorkflowError, approval, context, gather, sleep, step, workflow

PAID = Signal("paid")


class Rejected(WorkflowError): ...


@step(retry=Retry(max_attempts=3, jitter=0))
def bill(order: str) -> str:
    if context().attempt < 3:
        raise ConnectionError("the bank does not answer")
    return "charged"


@bill.undo
def refund(result: str | None, order: str) -> None: ...


@step
def set_aside(item: int) -> int:
    return item


@set_aside.undo
def give_back(result: int | None, item: int) -> None: ...


@step
def send_off(order: str) -> None:
    raise ValueError("there is no such address")


@workflow
def order(name: str) -> Flow[None]:
    yield from gather(set_aside(1), set_aside(2))
    yield from bill(name)
    yield from sleep(timedelta(days=1))
    yield from PAID.wait()
    decision = yield from approval("desk")
    if not decision.approved:
        raise Rejected("no")
    yield from send_off(name)


@workflow
def simple(item: int) -> Flow[int]:
    return (yield from set_aside(item))


@step
def login(user: str, password: SecretStr) -> str:
    raise PermissionError(f"{password.get_secret_value()} is not the password of {user}")


@workflow
def with_secret(user: str, password: SecretStr) -> Flow[None]:
    yield from login(user, password)


@step
def traceparent() -> str:
    """The context that a step of the user's sees."""
    span = trace.get_current_span().get_span_context()
    return f"{span.trace_id:032x}-{span.span_id:016x}"


@workflow
def looking() -> Flow[str]:
    return (yield from traceparent())


@step
def tick(n: int) -> int:
    return n


@tick.undo
def tock(result: int | None, n: int) -> None: ...


@workflow
def week() -> Flow[int]:
    for day in range(7):
        yield from tick(day)
        yield from tick(day)
        yield from sleep(timedelta(days=1))
    return 7
