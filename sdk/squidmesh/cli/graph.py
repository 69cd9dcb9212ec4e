"""``squidmesh graph``: a run as it happened, drawn."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from squidmesh.cli.session import OfRun, Session, of_run, reading


@click.command(cls=OfRun)
@reading
@of_run
@click.option(
    "--svg", metavar="FILE", type=click.Path(dir_okay=False), help="Write it as SVG; - is the standard output."
)
@click.option("--mermaid", is_flag=True, help="Print it as a Mermaid flowchart.")
def graph(session: Session, run: Any, *, svg: str | None, mermaid: bool) -> None:
    """Draw a run as it happened: steps, branches, children, scopes, and what was undone."""
    if sum((svg is not None, mermaid, session.json)) > 1:
        raise click.UsageError("Ask for one of --svg, --mermaid and --json.")
    drawn = run.graph()
    if svg is not None:
        _write(svg, drawn)
    elif mermaid:
        from squidmesh.views.drawing_mermaid import render_mermaid

        click.echo(render_mermaid(drawn), nl=False)
    else:
        session.answer(lambda: _document(drawn), lambda: _blocks(drawn))


def _write(file: str, drawn: Any) -> None:
    from squidmesh.views.drawing_svg import render_svg

    text = render_svg(drawn)
    if file == "-":
        click.echo(text)
    else:
        Path(file).write_text(text, "utf-8")
        click.echo(f"written: {file}")


def _document(drawn: Any) -> Any:
    from squidmesh.cli import documents

    return documents.GraphDocument(graph=drawn)


def _blocks(drawn: Any) -> Any:
    from squidmesh.cli.blocks import Verbatim
    from squidmesh.cli.screen import harmless
    from squidmesh.views.drawing_text import render_text

    return [Verbatim(harmless(render_text(drawn).rstrip("\n")))]
