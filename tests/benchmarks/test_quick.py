"""The harness itself: it runs, and what it writes has its shape. No figure is judged here."""

import json
from pathlib import Path

import pytest

from tests.benchmarks.__main__ import main

pytestmark = pytest.mark.benchmark


def test_a_quick_run_of_starts_writes_an_object_for_each_measurement(tmp_path: Path) -> None:
    file = tmp_path / "results.json"
    assert main(["--quick", "--only", "starts", "--systems", "squidmesh", "--json", str(file)]) == 0
    results = json.loads(file.read_text())
    assert [(r["measure"], r["system"], r["mode"]) for r in results] == [
        ("starts", "squidmesh", "redis, one by one"),
        ("starts", "squidmesh", "redis, many"),
    ]
    for result in results:
        assert result["starts_per_s"] > 0
        assert result["write_commits_per_start"] > 0
        assert result["wal_bytes_per_start"] > 0
        assert result["round_trips_per_start"] > 0
        assert result["rows_per_start"] == 2


def test_a_quick_run_of_what_waits_writes_its_figures(tmp_path: Path) -> None:
    file = tmp_path / "results.json"
    only = ["--only", "signals,ticks,waiting,timers", "--systems", "squidmesh"]
    assert main(["--quick", *only, "--json", str(file)]) == 0
    results = {(r["measure"], r["case"]): r for r in json.loads(file.read_text())}
    assert set(results) == {("signals", "idle"), ("signals", "busy"), ("ticks", ""), ("waiting", ""), ("timers", "")}
    for result in results.values():
        assert 0 < result["p50_ms"] <= result["max_ms"]
    assert results["timers", ""]["n"] == 500
    assert results["timers", ""]["timers_per_s"] > 0
    assert results["timers", ""]["disorder_ms"] >= 0
    assert results["waiting", ""]["cpu_percent"] >= 0


def test_an_unknown_measure_is_refused_with_what_there_is(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--only", "speed"])
    assert (
        "unknown: speed; there is children, fan_out, latency, lists, prune, sequential, signals, starts, "
        "starts_beside, telemetry, ticks, timers, undo, views, w10, waiting" in capsys.readouterr().err
    )
