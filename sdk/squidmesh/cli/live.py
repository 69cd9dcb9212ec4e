"""A run's page that is drawn in place, on a terminal.

The rule of this file: what does not fit the height of the screen is left out at its top, so that the newest is seen; at
the end the whole page stays.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from rich.console import Group
from rich.live import Live

from squidmesh.cli.blocks import Block, Heading, Say
from squidmesh.cli.pages.events import events as table
from squidmesh.cli.pages.run import run as page
from squidmesh.cli.screen import console, drawn

if TYPE_CHECKING:
    from squidmesh.cli.watch import Drawing
    from squidmesh.core.events import Event
    from squidmesh.views.run import RunView

NEWEST = 8
"""Events shown below the page while the run goes on."""


@contextmanager
def live() -> Iterator[Drawing]:
    """Something that draws a run in place."""
    screen = console()
    last: list[Any] = []
    with Live(console=screen, auto_refresh=False, transient=True, vertical_overflow="crop") as shown:

        def draw(run: Any, history: list[Event], view: RunView) -> None:
            blocks = _blocks(run, history, view)
            last[:] = [drawn(page(view), screen.width)]
            shown.update(_fitting(drawn(blocks, screen.width), screen), refresh=True)

        yield draw
    for whole in last:
        screen.print(whole)


def _blocks(run: Any, history: list[Event], view: RunView) -> list[Block]:
    names = {step.position: step.name for step in view.steps}
    blocks = page(view)
    if view.ended_at is None:
        blocks += [Heading("Now"), Say(run.explain().summary)]
    return [*blocks, Heading("Newest events"), table(history[-NEWEST:], names)]


def _fitting(whole: Any, screen: Any) -> Any:
    """The last lines of it, as many as the screen has."""
    from rich.text import Text

    lines = screen.render_lines(whole, screen.options, pad=False)
    room = max(screen.height - 1, 1)
    if len(lines) <= room:
        return whole
    cut = lines[len(lines) - room + 1 :]
    texts = [Text.assemble(*((segment.text, segment.style or "") for segment in line)) for line in cut]
    return Group(Text("…", "dim"), *texts)
