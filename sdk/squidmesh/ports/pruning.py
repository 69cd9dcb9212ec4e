"""What retention reads and takes away, as values.

The rule of this file: a tree is a run that has no parent here, with all that ``parent`` links lead to from it, and all
links of the chains of any of them. It stays or goes as a whole.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from squidmesh.ports.rows import HistoryRow, RunRow


@dataclass(frozen=True, slots=True)
class Prunable:
    """Which trees are looked at, by their roots: of one status, ended before a time.

    ``created_before`` is an id: roots that are made later than it are not even looked at.
    """

    status: str
    ended_before: int
    created_before: str
    workflow: Sequence[str] | None = None


@dataclass(frozen=True, slots=True)
class Member:
    """A run as it was seen. It is another one when it has been opened since: then its length is, too."""

    run_id: str
    ended_at: int | None
    length: int


@dataclass(frozen=True, slots=True)
class Tree:
    members: tuple[Member, ...]  # the root first

    @property
    def root(self) -> str:
        return self.members[0].run_id

    def ended_before(self, at: int) -> bool:
        """Whether all of it has ended, and before this time."""
        return all(member.ended_at is not None and member.ended_at < at for member in self.members)


@dataclass(frozen=True, slots=True)
class Record:
    """All that is kept of a run."""

    run: RunRow
    history: Sequence[HistoryRow]
