"""A run whose workers are really killed, with what they had not exported yet."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

from squidmesh import Mesh
from tests.telemetry.killed_flow import survivor
from tests.telemetry.receiver import Received, attributes, well_formed

ROOT = Path(__file__).parents[2]
WITHIN = 60.0  # seconds


def _worker(database: str, received: Received, log: Path) -> subprocess.Popen[bytes]:
    program = str(Path(sys.executable).with_name("squidmesh"))
    settings = {"SQUIDMESH_LEASE": "2", "SQUIDMESH_SWEEP": "0.2", "OTEL_EXPORTER_OTLP_ENDPOINT": received.address}
    with log.open("ab") as out:
        return subprocess.Popen(
            [program, "worker", "tests.telemetry.killed_flow", "--database", database, "--threads", "2"],
            cwd=ROOT, env=os.environ | settings, stdout=out, stderr=out,
        )  # fmt: skip


def test_a_run_that_is_killed_twice_is_one_well_formed_trace(
    sqlite_url: str, received: Received, tmp_path: Path
) -> None:
    log = tmp_path / "worker.log"
    with Mesh(sqlite_url) as mesh:
        handle = mesh.start(survivor(str(tmp_path)))
        for attempt in (1, 2):
            worker = _worker(sqlite_url, received, log)
            try:
                _appears(tmp_path / f"attempt-{attempt}", log)
            finally:
                worker.kill()
                worker.wait()
        worker = _worker(sqlite_url, received, log)
        try:
            assert handle.result(timeout=WITHIN) == 3
        finally:
            worker.terminate()
            worker.wait()
    received.wait(lambda found: bool(found.named("RunWorkflow:survivor")))
    well_formed(received.spans, root="RunWorkflow:survivor")
    assert len(received.named("RunStep:quick")) == 4  # those that the killed had not exported, too
    attempts = [attributes(span) for span in received.named("Attempt:stops_here")]
    assert [known.get("squidmesh.outcome") for known in attempts] == ["lost", "lost", None]
    assert received.one("RunStep:stops_here").parent_span_id == received.one("RunWorkflow:survivor").span_id


def _appears(file: Path, log: Path) -> None:
    until = time.monotonic() + WITHIN
    while not file.exists():
        assert time.monotonic() < until, log.read_text()
        time.sleep(0.02)
