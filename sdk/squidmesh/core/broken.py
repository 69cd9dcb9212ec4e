"""Code that breaks: not a failure of the business, but a reason to wait for other code."""

from __future__ import annotations

from squidmesh.core.turn import Place


class Broken(Exception):
    """The code, not the business, has failed: the run is blocked and loses nothing."""

    def __init__(self, reason: str, message: str, place: Place, position: str | None = None) -> None:
        self.reason, self.message, self.place, self.position = reason, message, place, position
        super().__init__(message)
