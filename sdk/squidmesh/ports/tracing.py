"""What the engine tells, and asks, whoever traces runs.

The rule of this file: nothing that is done here may fail, wait, or change what the engine does.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from squidmesh.ports.rows import HistoryRow


class Traced(Protocol):
    """A call that is about to be made: ``trace`` is its run's, ``place`` where it is in that run (core/trace.py)."""

    @property
    def run_id(self) -> str: ...
    @property
    def trace(self) -> str | None: ...
    @property
    def place(self) -> str: ...


class Tracing(Protocol):
    def caller(self) -> str | None:
        """What a run that is started here hangs under, as a ``traceparent``."""
        ...

    def enter(self, call: Traced) -> Any:
        """From here on, on this thread (or in this task), the span of this call is the current one; a token."""
        ...

    def leave(self, token: Any) -> None: ...

    def taken_up(self, run_id: str, workflow: str, rows: Sequence[HistoryRow]) -> None:
        """A run was taken up, with this part of its history, which others have committed."""
        ...

    def bell(self, run_id: str, trace: str | None) -> str | None:
        """What a message about a run says of its trace."""
        ...

    def close(self) -> None:
        """The mesh is being closed."""
        ...


class NoTracing:
    def caller(self) -> str | None:
        return None

    def enter(self, call: Traced) -> Any:
        return None

    def leave(self, token: Any) -> None: ...

    def taken_up(self, run_id: str, workflow: str, rows: Sequence[HistoryRow]) -> None: ...

    def bell(self, run_id: str, trace: str | None) -> str | None:
        return None

    def close(self) -> None: ...


NO_TRACING = NoTracing()
