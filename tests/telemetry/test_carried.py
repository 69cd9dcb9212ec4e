"""Where the trace goes along: into messages, into HTTP requests, into the log records of steps."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any

import pytest

from squidmesh import Flow, step, workflow
from squidmesh.core import trace as ids
from squidmesh.ports import Bell, BellKind
from squidmesh.telemetry import label_logs
from squidmesh.testing import VirtualMesh
from squidmesh.tools import http
from squidmesh_worker.actors import message
from tests.telemetry.conftest import Traced
from tests.telemetry.shop import simple
from tests.tools.web import Answer, Web

logger = logging.getLogger("theirs")


def test_a_message_has_ids_only_and_the_trace_among_its_options() -> None:
    plain = message(Bell(BellKind.ADVANCE, "default", "r-1"))
    traced = message(Bell(BellKind.ADVANCE, "default", "r-1", "00-" + "a" * 32 + "-" + "b" * 16 + "-01"))
    assert plain.options == {}
    assert traced.options == {"traceparent": "00-" + "a" * 32 + "-" + "b" * 16 + "-01"}
    assert (traced.args, traced.kwargs) == (("default", "r-1"), {})


def test_the_bell_of_a_run_that_is_started_has_its_trace(traced: Traced, monkeypatch: pytest.MonkeyPatch) -> None:
    rung: list[Bell] = []
    monkeypatch.setattr(traced.mesh.connect_engine().doorbell, "ring", rung.extend)
    handle = traced.mesh.start(simple(1))
    assert [bell.trace for bell in rung] == [
        f"00-{ids.trace_id(handle.run_id, None):032x}-{ids.span_id(handle.run_id, ids.RUN):016x}-01"
    ]


@step
def get_page(url: str) -> str:
    return http.get(url).text


@workflow
def fetching(url: str) -> Flow[str]:
    return (yield from get_page(url))


@pytest.fixture
def web() -> Iterator[Web]:
    with Web() as server:
        yield server


def test_a_request_of_a_step_has_the_context_of_its_attempt(traced: Traced, web: Web) -> None:
    web.on("/", Answer(body=b"fine"))
    traced.mesh.run(fetching(web.url()))
    traced.all()
    span = traced.received.one("RunStep:get_page")
    assert web.asked[-1].headers["traceparent"] == f"00-{span.trace_id.hex()}-{span.span_id.hex()}-01"


@step
def talking() -> None:
    logger.warning("halfway", extra={"step": "my own"})
    logger.warning("there")


@workflow
def talk() -> Flow[None]:
    yield from talking()


def test_log_records_of_a_step_say_where_they_are_from(caplog: pytest.LogCaptureFixture) -> None:
    label_logs(caplog.handler)
    with VirtualMesh() as mesh:
        handle = mesh.start(talk())
        handle.result()
    logger.warning("elsewhere")
    halfway, there, elsewhere = (vars(record) for record in caplog.records if record.name == "theirs")
    known: dict[str, Any] = {"run_id": handle.run_id, "step": "talking", "position": "1", "attempt": 1}
    assert {name: there[name] for name in known} == known
    assert halfway["step"] == "my own"
    assert "run_id" not in elsewhere


def test_labels_are_put_on_a_handler_once() -> None:
    handler = logging.NullHandler()
    label_logs(handler)
    label_logs(handler)
    assert len(handler.filters) == 1
