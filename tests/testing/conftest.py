"""A virtual mesh on each database."""

from __future__ import annotations

from tests.engine.conftest import mesh

__all__ = ["mesh"]
