"""samples/fastapi_app as it is deployed: a web process and a worker process on one database."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from squidmesh import Mesh
from tests.worker.processes import process, worker

ROOT = Path(__file__).parents[2]
SAMPLE = ROOT / "samples/fastapi_app/main.py"


@pytest.fixture(params=["sqlite", "postgres and redis"])
def environ(request: pytest.FixtureRequest) -> dict[str, str]:
    shared = {"PYTHONPATH": str(ROOT), "SQUIDMESH_SWEEP": "0.2"}
    if request.param == "sqlite":
        return shared | {"SQUIDMESH_DATABASE_URL": request.getfixturevalue("empty_sqlite_url")}
    return shared | {
        "SQUIDMESH_DATABASE_URL": request.getfixturevalue("empty_postgres_url"),
        "SQUIDMESH_BROKER_URL": request.getfixturevalue("redis_url"),
    }


@pytest.fixture
def shop(environ: dict[str, str], tmp_path: Path) -> Iterator[httpx.Client]:
    """A client of the running web process."""
    with process(sys.executable, str(SAMPLE), "--port", "0", folder=tmp_path, **environ) as web:
        (line,) = web.wait_for("Uvicorn running on ")
        with httpx.Client(base_url=line.split(" on ")[1].split()[0], timeout=30) as client:
            yield client
        web.stop()  # uvicorn ends by the signal itself, when it has shut down
        assert any("Application shutdown complete" in line for line in web.lines), "\n".join(web.lines)
        assert not [line for line in web.lines if "Traceback" in line], "\n".join(web.lines)


def place(shop: httpx.Client, order: str, item: str = "lantern") -> dict[str, Any]:
    answer = shop.post("/orders", json={"id": order, "item": item})
    assert answer.status_code == 202, answer.text
    placed: dict[str, Any] = answer.json()
    return placed


def test_orders_are_answered_at_once_and_fulfilled_by_the_worker_beside(
    shop: httpx.Client, environ: dict[str, str], tmp_path: Path
) -> None:
    placed = place(shop, "o-1")
    waits = shop.get("/orders/o-1").json()
    assert (waits["status"], waits["stage"], waits["tracking"]) == ("pending", None, None)
    assert "worker" in waits["why"]

    with worker("samples.fastapi_app.main", folder=tmp_path, **environ) as beside:
        beside.ready_pids()
        other = place(shop, "o-2", "rope")
        with Mesh(environ["SQUIDMESH_DATABASE_URL"]) as mesh:
            for run in (placed["run"], other["run"]):
                mesh.handle(run).result(timeout=60)
        assert beside.stop() == 0

    key = f"{placed['run']}:4"
    shown = shop.get("/orders/o-1").json()
    assert shown["tracking"] == f"tracking o-1/lantern, booked under {key}"
    assert (shown["status"], shown["stage"]) == ("completed", "shipping")
    assert shop.get("/orders/o-2").json()["tracking"].startswith("tracking o-2/rope")


def test_an_order_that_is_refused_starts_no_run(shop: httpx.Client) -> None:
    placed = place(shop, "o-1")
    refused = shop.post("/orders", json={"id": "o-1", "item": "another"})
    assert refused.status_code == 409
    assert [run["run_id"] for run in shop.get("/runs").json()] == [placed["run"]]
    assert shop.get("/orders/o-1").json()["item"] == "lantern"


def test_what_is_no_order_is_told_so(shop: httpx.Client) -> None:
    assert shop.post("/orders", json={"id": "", "item": "rope"}).status_code == 422
    assert shop.get("/orders/o-9").status_code == 404
    assert shop.get("/runs").json() == []
