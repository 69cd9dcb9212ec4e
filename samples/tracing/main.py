"""The trace of an order that fails late: attempts, a wait, a gate, and the rollback, in one picture.

    python samples/tracing/main.py              # a waterfall in the terminal, and trace.html beside it
    python samples/tracing/main.py Lisbon       # the same of an order that gets through

The spans go by OTLP over HTTP, as they would to any backend; what receives them here is viewer.py.
"""

from __future__ import annotations

import logging
import os
import sys
import time
from pathlib import Path

from opentelemetry import trace
from viewer import as_page, as_text, listening

from squidmesh import Flow, Mesh, Retry, RunFailed, approval, context, gather, sleep, step, telemetry, workflow

PAGE = Path("trace.html")
COURIER_GOES_TO = {"Lisbon", "Venice"}


@workflow
def send_order(order: str, town: str) -> Flow[str]:
    yield from gather(reserve("lantern"), reserve("oil"))
    yield from charge(order, 4200)
    yield from sleep(0.3)
    yield from approval("packing")
    return (yield from book_courier(order, town))


@step
def reserve(item: str) -> str:
    return item


@reserve.undo
def release(reserved: str, item: str) -> None: ...


@step(retry=Retry(max_attempts=5, initial=0.1, jitter=0), undo_retry=Retry(max_attempts=5, initial=0.1, jitter=0))
def charge(order: str, cents: int) -> str:
    with trace.get_tracer("shop").start_as_current_span("ask the bank"):  # a span of the step's own
        if context().attempt < 3:
            raise ConnectionError("the bank does not answer")
    return f"charge-{order}"


@charge.undo
def refund(charged: str | None, order: str, cents: int) -> None:
    if context().attempt < 2:
        raise ConnectionError("the bank does not answer")


@step
def book_courier(order: str, town: str) -> str:
    if town not in COURIER_GOES_TO:
        raise ValueError(f"no courier goes to {town}")
    return f"{order} to {town}"


def place_order(mesh: Mesh, town: str) -> None:
    """What a web application would do in a request, and a person at the packing table."""
    mesh.engine.connect().close()  # not a part of the first request
    with trace.get_tracer("shop").start_as_current_span("POST /orders"):
        handle = mesh.start(send_order("o-1", town))
    with mesh.worker():
        while handle.status() != "paused":
            time.sleep(0.02)
        handle.approve(actor="eva")
        try:
            print(handle.result(timeout=60))
        except RunFailed as failed:
            outcome = failed.rollback.outcome if failed.rollback else "not needed"
            print(f"{failed.failure}; the rollback is {outcome}")


def main(town: str = "Atlantis") -> None:
    with listening() as (address, spans):
        os.environ.setdefault("OTEL_EXPORTER_OTLP_ENDPOINT", address)
        os.environ.setdefault("OTEL_METRICS_EXPORTER", "none")
        telemetry.configure("shop")  # all there is to it
        with Mesh("sqlite://") as mesh:
            place_order(mesh, town)
        trace.get_tracer_provider().shutdown()  # type: ignore[attr-defined]  # sends what is left
    print(as_text(spans))
    PAGE.write_text(as_page(spans))
    print(f"the same as a picture: {PAGE.resolve().as_uri()}")


if __name__ == "__main__":
    logging.basicConfig(level=logging.CRITICAL)
    main(*sys.argv[1:])
