"""Workers in a list, one line each."""

from __future__ import annotations

from collections.abc import Sequence

from squidmesh.cli.blocks import Column, Styled, Table
from squidmesh.cli.pages import words
from squidmesh.views.workers import WorkerView

SHOWN = 6
"""Workflows that are named."""


def table(workers: Sequence[WorkerView]) -> Table:
    columns = [
        Column("worker"), Column("host", wide=90), Column("pid", right=True), Column("lease"), Column("up for"),
        Column("holds"), Column("queues"), Column("serves", fold=True),
    ]  # fmt: skip
    return Table(columns, [
        [
            worker.id,
            worker.host,
            str(worker.pid),
            _lease(worker),
            words.ago(worker.started_at).removesuffix(" ago"),
            _holds(worker),
            ", ".join(worker.queues),
            Styled(_serves(worker), "quiet"),
        ]
        for worker in workers
    ])  # fmt: skip


def _lease(worker: WorkerView) -> Styled:
    if worker.lease == "held":
        return Styled("held", "good")
    return Styled(f"over {words.ago(worker.lease_until)}", "bad")


def _holds(worker: WorkerView) -> str:
    held = [f"{worker.runs} runs"] if worker.runs else []
    return ", ".join([*held, *([f"{worker.tasks} steps"] if worker.tasks else [])])


def _serves(worker: WorkerView) -> str:
    names = [name if version == 1 else f"{name} v{version}" for name, version in worker.workflows]
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more
