"""Blocks on a terminal, in colours and in its width; elsewhere as plain lines that are never cut.

The rule of this file: what comes from users (names, notes, messages) cannot steer the terminal, and the library that
draws is imported only where there is one.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from io import TextIOWrapper
from typing import TYPE_CHECKING, Any

import click

from squidmesh.cli.blocks import Block, Cell, Column, Facts, Heading, Say, Styled, Table, Verbatim

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

_STYLES = {
    "good": "green",
    "bad": "bold red",
    "warn": "yellow",
    "busy": "cyan",
    "calm": "blue",
    "quiet": "dim",
    "strong": "bold",
    "": "",
}


def on_terminal() -> bool:
    return sys.stdout.isatty()


def show(*blocks: Block) -> None:
    """Put blocks on the standard output."""
    if on_terminal():
        screen = console()
        screen.print(drawn(blocks, screen.width), crop=False)
    else:
        for line in lines(blocks):
            click.echo(line)


def console() -> Console:
    from rich.console import Console

    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # a terminal that does not know a sign shows another
    return Console(highlight=False, soft_wrap=False)


def harmless(text: str) -> str:
    """The text without anything that a terminal would obey."""
    return "".join(sign if sign.isprintable() or sign == "\n" else repr(sign)[1:-1] for sign in text)


# -------------------------------------------------------------------------------------------------------- plain


def lines(blocks: Iterable[Block]) -> list[str]:
    """The blocks as lines of plain text."""
    found: list[str] = []
    for block in blocks:
        match block:
            case Table():
                found += _columns(_kept(block))
            case Facts():
                pairs = [(name, plain(value)) for name, value in block.pairs if value is not None]
                width = max((len(name) for name, _ in pairs), default=0)
                found += [f"{name.ljust(width)}  {value}".rstrip() for name, value in pairs]
            case Heading():
                found += ["", f"{block.text}  {block.note}".rstrip()]
            case Say():
                found += [f"{' ' * block.indent}{line}" for line in harmless(block.text).split("\n")]
            case Verbatim():
                found += block.text.split("\n")
    return found[1:] if found[:1] == [""] else found


def _columns(table: Table) -> list[str]:
    rows = [[column.title for column in table.columns], *([plain(cell) for cell in row] for row in table.rows)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(
            cell.rjust(width) if column.right else cell.ljust(width)
            for cell, width, column in zip(row, widths, table.columns, strict=True)
        ).rstrip()
        for row in rows
    ]


def plain(cell: Cell) -> str:
    """A cell as text, in one line."""
    return " ".join(harmless(cell.text if isinstance(cell, Styled) else cell).split())


def _kept(table: Table, width: int | None = None) -> Table:
    """The table without columns that say nothing, or for which there is no room."""
    kept = [
        number
        for number, column in enumerate(table.columns)
        if any(plain(row[number]) for row in table.rows) and (width is None or width >= column.wide)
    ]
    return Table([table.columns[n] for n in kept], [[row[n] for n in kept] for row in table.rows])


# -------------------------------------------------------------------------------------------------- a terminal


def drawn(blocks: Iterable[Block], width: int) -> RenderableType:
    """The blocks for a terminal of so many characters a line."""
    from rich.console import Group

    shown: list[Any] = []
    for block in blocks:
        if isinstance(block, Heading) and shown:
            shown.append("")
        shown.append(_drawn(block, width))
    return Group(*shown)


def _drawn(block: Block, width: int) -> Any:
    from rich.padding import Padding
    from rich.table import Table as Grid
    from rich.text import Text

    match block:
        case Table():
            return _grid(_kept(block, width))
        case Facts():
            facts = Grid.grid(padding=(0, 2, 0, 0))
            facts.add_column(style="dim", no_wrap=True)
            facts.add_column(overflow="fold")
            for name, value in block.pairs:
                if value is not None:
                    facts.add_row(name, _text(value))
            return facts
        case Heading():
            return Text.assemble((harmless(block.text), "bold"), "  ", (harmless(block.note), "dim"))
        case Say(command=True):
            text = Text(
                " " * block.indent + harmless(block.text), _STYLES[block.style], no_wrap=True, overflow="ignore"
            )
            return _Unbroken(text)
        case Say():
            return Padding(_text(Styled(block.text, block.style)), (0, 0, 0, block.indent))
        case Verbatim():
            return _Unbroken(Text(block.text, no_wrap=True, overflow="ignore"))


class _Unbroken:
    """A line that the terminal itself breaks, so that it can be copied whole."""

    def __init__(self, text: Any) -> None:
        self._text = text

    def __rich_console__(self, console: Any, options: Any) -> Any:
        from rich.segment import Segment

        for line in self._text.split("\n", allow_blank=True):
            yield from line.render(console, end="")
            yield Segment.line()


def _grid(table: Table) -> Any:
    from rich.table import Table as Grid

    grid = Grid(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="dim")
    folded = any(column.fold for column in table.columns)
    for column in table.columns:
        _add(grid, column, folded)
    for row in table.rows:
        grid.add_row(*map(_text, row))
    return grid


def _add(grid: Any, column: Column, folded: bool) -> None:
    justify = "right" if column.right else "left"
    if column.fold:
        grid.add_column(column.title, justify=justify, overflow="fold", ratio=1 if folded else None)
    else:
        grid.add_column(column.title, justify=justify, no_wrap=True, overflow="ellipsis")


def _text(cell: Cell) -> Any:
    from rich.text import Text

    text, style = (cell.text, cell.style) if isinstance(cell, Styled) else (cell, "")
    return Text(harmless(text), _STYLES[style])


def columns(*titles: str) -> Sequence[Column]:
    """Columns without anything special; one whose title ends in ``>`` is set to the right, in ``*`` may fold."""
    return [Column(title.rstrip(">*"), right=title.endswith(">"), fold=title.endswith("*")) for title in titles]
