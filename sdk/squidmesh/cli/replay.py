"""``squidmesh replay``: recorded histories against today's code."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from squidmesh.cli.refusal import REFUSED, one_line

if TYPE_CHECKING:
    from squidmesh.cli.documents import ReplayedFile


@click.command()
@click.argument("path", metavar="FILE", type=click.Path(exists=True, allow_dash=True))
@click.argument("modules", metavar="MODULE…", nargs=-1, required=True)
@click.option("--json", "as_json", is_flag=True, help="Answer with JSON, for programs.")
def replay(path: str, modules: Sequence[str], as_json: bool) -> None:
    """Replay a recorded history, or each in a folder, against the code of MODULE…; no step is called.

    Histories are written by squidmesh export --run. The exit code is 1 where history and code part.
    """
    from squidmesh.cli.code import load

    loaded = [load(name) for name in modules]
    files = sorted(Path(path).glob("*.json")) if path != "-" and Path(path).is_dir() else [Path(path)]
    replayed = [_one(file, loaded) for file in files]
    if as_json:
        from squidmesh.cli import documents

        click.echo(documents.ReplayedDocument(files=replayed).model_dump_json(indent=2))
    else:
        from squidmesh.cli.blocks import Say, Styled, Table
        from squidmesh.cli.screen import columns, show

        rows = [
            [_sign(file), file.file, file.workflow or "", Styled(file.told, "quiet" if file.ok else "")]
            for file in replayed
        ]
        show(Table(columns("", "file", "workflow", "came to*"), rows) if rows else Say("No histories (*.json) there."))
    if not all(file.ok for file in replayed):
        raise click.exceptions.Exit(REFUSED)


def _sign(file: ReplayedFile) -> Any:
    from squidmesh.cli.blocks import Styled

    return Styled("agrees", "good") if file.ok else Styled("differs", "bad")


def _one(file: Path, modules: Sequence[Any]) -> ReplayedFile:
    from squidmesh.cli.documents import ReplayedFile
    from squidmesh.errors import MeshError, NonDeterminism
    from squidmesh.testing import replay as replayed

    with click.open_file(str(file), encoding="utf-8") as opened:
        text = opened.read()
    try:
        seen = replayed(text, *modules)
    except NonDeterminism as parted:
        return ReplayedFile(
            file=str(file), ok=False, position=parted.position, code=f"{parted.file}:{parted.line}",
            told=one_line(str(parted)),
        )  # fmt: skip
    except MeshError as error:
        return ReplayedFile(file=str(file), ok=False, told=one_line(str(error)))
    told = f"{seen.events} events, {'ended' if seen.ended else 'open'}"
    return ReplayedFile(file=str(file), ok=True, workflow=seen.workflow, run_id=seen.run_id, told=told)
