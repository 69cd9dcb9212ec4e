"""Telemetry that is broken, absent or asked to tell secrets: the runs do not notice."""

from __future__ import annotations

import logging
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, Sampler
from pydantic import SecretStr

from squidmesh import RunFailed
from squidmesh.errors import ConfigurationError
from squidmesh.telemetry import instrument
from squidmesh.testing import VirtualMesh
from tests.telemetry.conftest import Traced
from tests.telemetry.receiver import attributes
from tests.telemetry.shop import simple, with_secret

SECRET = "correct-horse-battery"


class _Broken(SpanProcessor):
    def on_end(self, span: Any) -> None:
        raise RuntimeError("no disk, no network, no luck")


class _BrokenSampler(Sampler):
    def should_sample(self, *args: Any, **kwargs: Any) -> Any:
        raise RuntimeError("undecided")

    def get_description(self) -> str:
        return "broken"


@pytest.mark.parametrize("broken", ["processor", "sampler"])
def test_a_broken_provider_harms_no_run_and_is_said_once(broken: str, caplog: pytest.LogCaptureFixture) -> None:
    tracers = TracerProvider(sampler=_BrokenSampler()) if broken == "sampler" else TracerProvider()
    tracers.add_span_processor(_Broken())
    with VirtualMesh() as mesh:
        telemetry = instrument(mesh, tracers, logs=False)
        assert [mesh.run(simple(item)) for item in range(3)] == [0, 1, 2]
        assert telemetry.flush(30)
        telemetry.remove()
    said = [record for record in caplog.records if record.name == "squidmesh.telemetry"]
    assert [record.levelno for record in said] == [logging.ERROR]


def test_what_does_not_fit_the_queue_is_dropped_and_counted(traced: Traced, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("squidmesh.telemetry.pipeline.MOST", 0)
    assert traced.mesh.run(simple(1)) == 1
    assert traced.telemetry.dropped > 0
    monkeypatch.undo()
    assert traced.mesh.run(simple(2)) == 2
    assert [attributes(span)["squidmesh.outcome"] for span in traced.all() if "Workflow" in span.name] == ["completed"]


def test_a_run_that_is_not_sampled_makes_no_spans() -> None:
    tracers, ended = TracerProvider(sampler=ALWAYS_OFF), []

    class Listening(SpanProcessor):
        def on_end(self, span: Any) -> None:
            ended.append(span)

    tracers.add_span_processor(Listening())
    with VirtualMesh() as mesh:
        telemetry = instrument(mesh, tracers, logs=False)
        mesh.run(simple(1))
        telemetry.remove()
    assert ended == []


def test_a_secret_is_in_no_span_event_attribute_or_status(traced: Traced) -> None:
    with pytest.raises(RunFailed):
        traced.mesh.run(with_secret("eva", SecretStr(SECRET)))
    traced.all()
    (error,) = traced.received.one("RunStep:login").events
    assert attributes(error)["exception.message"] == "********** is not the password of eva"
    assert SECRET.encode() not in traced.received.raw


def test_without_a_provider_instrument_says_what_to_do() -> None:
    with pytest.raises(ConfigurationError, match=r"configure\(\)"):
        instrument()


ABSENT = """
import sys

class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.startswith(("opentelemetry.sdk", "opentelemetry.exporter", "opentelemetry.proto")):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Absent())
from squidmesh import Mesh, telemetry
from squidmesh.errors import ConfigurationError
from absent_flow import simple
with Mesh("sqlite://") as mesh:
    assert mesh.run(simple(5)) == 5
assert "squidmesh.telemetry.spans" not in sys.modules, "nothing was to be imported"
for call in (telemetry.configure, lambda: telemetry.instrument(tracer_provider=object())):
    try:
        call()
    except ConfigurationError as error:
        assert "squidmesh[otel]" in str(error), error
    else:
        raise AssertionError("it is not there")
print("fine")
"""

FLOW = """
from squidmesh import Flow, step, workflow

@step
def double(item: int) -> int:
    return item

@workflow
def simple(item: int) -> Flow[int]:
    return (yield from double(item))
"""


def test_without_the_sdk_runs_go_on_and_nothing_of_it_is_imported(tmp_path: Path) -> None:
    (tmp_path / "absent_flow.py").write_text(FLOW)
    done = subprocess.run([sys.executable, "-c", ABSENT], cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert done.stdout.strip() == "fine", done.stderr


def test_a_batch_processor_that_nobody_reads_keeps_no_run_waiting() -> None:
    class Nowhere:
        def export(self, spans: Any) -> Any:
            raise OSError("there is nobody")

        def shutdown(self) -> None: ...

        def force_flush(self, timeout_millis: int = 30_000) -> bool:
            return True

    tracers = TracerProvider()
    tracers.add_span_processor(BatchSpanProcessor(Nowhere()))  # type: ignore[arg-type]
    with VirtualMesh() as mesh:
        telemetry = instrument(mesh, tracers, logs=False)
        assert mesh.run(simple(1)) == 1
        telemetry.remove()
    tracers.shutdown()
