"""What a command has to say, as data: tables, facts, sentences.

The rule of this file: blocks know neither a terminal nor a colour code; ``screen`` shows them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, TypeAlias


class Styled(NamedTuple):
    """Text in a style: ``good bad warn busy calm quiet strong``, or none."""

    text: str
    style: str = ""


Cell: TypeAlias = str | Styled


@dataclass(frozen=True, slots=True)
class Column:
    """A column. ``fold``: its text may take several lines; ``wide``: shown only where there is room (in characters)."""

    title: str
    right: bool = False
    fold: bool = False
    wide: int = 0


@dataclass(frozen=True, slots=True)
class Table:
    """Rows under headings. A column that is empty in all rows is left out."""

    columns: Sequence[Column]
    rows: Sequence[Sequence[Cell]]


@dataclass(frozen=True, slots=True)
class Facts:
    """Names and values, one line each; those without a value are left out."""

    pairs: Sequence[tuple[str, Cell | None]]


@dataclass(frozen=True, slots=True)
class Heading:
    text: str
    note: str = ""


@dataclass(frozen=True, slots=True)
class Say:
    """A paragraph. ``command``: it is to be copied, and never broken into lines."""

    text: str
    style: str = ""
    indent: int = 0
    command: bool = False


@dataclass(frozen=True, slots=True)
class Verbatim:
    """Lines as they are."""

    text: str = field(repr=False)


Block: TypeAlias = Table | Facts | Heading | Say | Verbatim
