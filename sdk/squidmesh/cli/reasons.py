"""``squidmesh reasons``: the closed set of ``explain().reason``, and what each means."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from squidmesh.cli.session import Session, reading

if TYPE_CHECKING:
    from squidmesh.core.status import Reason, RunStatus


@click.command()
@reading
def reasons(session: Session) -> None:
    """List the reasons that explain gives, each with the status it stands at and what it means."""
    session.answer(_document, _blocks)


def _document() -> Any:
    from squidmesh.cli import documents
    from squidmesh.views.reasons import MEANINGS

    return documents.Reasons(
        reasons=[
            documents.ReasonDocument(
                reason=reason, statuses=_statuses(reason), meaning=told.meaning, waits_for=told.waits, next=told.next
            )
            for reason, told in MEANINGS.items()
        ]
    )


def _blocks() -> Any:
    from squidmesh.cli.blocks import Column, Styled, Table
    from squidmesh.cli.pages import words
    from squidmesh.views.reasons import MEANINGS

    rows: list[Any] = []
    for reason, told in MEANINGS.items():
        statuses = _statuses(reason)
        at = words.status(statuses[0].value) if len(statuses) == 1 else Styled("any", "quiet")
        rows.append([at, reason.value, told.meaning if told.next is None else f"{told.meaning} {told.next}"])
    return [Table([Column("status"), Column("reason"), Column("means", fold=True)], rows)]


def _statuses(reason: Reason) -> list[RunStatus]:
    """The statuses that it can stand at."""
    from squidmesh.core.status import ENDED, REASONS, UNSERVED, RunStatus

    if reason in UNSERVED:
        return [status for status in RunStatus if status not in ENDED]
    return [status for status in RunStatus if reason in REASONS[status]]
