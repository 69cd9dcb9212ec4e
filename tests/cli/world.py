"""A database with a run in every state, as an operator finds it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from pydantic import SecretStr

from squidmesh import Cron, Handle
from squidmesh.testing import VirtualMesh
from tests.cli import shop

SECRET = "4111-1111-1111-1234"


def fill(mesh: VirtualMesh) -> dict[str, Handle[Any]]:
    """A run of each kind, by what it is."""
    calls: dict[str, Any] = {
        "completed": shop.checkout("o-1"),
        "failed": shop.checkout("o-2", town="Atlantis"),
        "retrying": shop.checkout("o-3", cents=10_000),
        "approval": shop.reviewed("o-4"),
        "pause": shop.counted("o-5"),
        "signal": shop.paid("o-6"),
        "sleeping": shop.napping(),
        "blocked": shop.broken("o-7"),
        "in_doubt": shop.doubtful("o-8"),
        "past_pivot": shop.committed("o-9"),
        "undo_failed": shop.halted("o-10"),
        "secret": shop.carded(shop.Card(number=SecretStr(SECRET), holder="Ada")),
    }
    runs: dict[str, Handle[Any]] = {}
    for name, call in calls.items():
        runs[name] = mesh.start(call, key=name)
        mesh.advance(1)
    runs["held"] = mesh.start(shop.napping(), key="held")
    mesh.advance(1)
    runs["held"].hold(actor="ada", note="the bank is down")
    mesh.schedule("nightly", Cron("0 2 * * *"), shop.tidy())
    mesh.advance(1)
    return runs


def virtual(url: str, ago: timedelta = timedelta(minutes=30)) -> VirtualMesh:
    """A mesh on a database that real processes may look at, too: its clock is a little behind theirs."""
    return VirtualMesh(url, now=datetime.now(UTC) - ago)
