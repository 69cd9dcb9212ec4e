"""The store: the only place that speaks SQL.

``open_store`` gives the engine its port (``squidmesh.ports.Store``) on SQLite or PostgreSQL.
"""

from __future__ import annotations

from squidmesh.store.clock import SyncedClock, SystemClock
from squidmesh.store.migrate import check, migrate
from squidmesh.store.opening import open_store
from squidmesh.store.store import SqlStore

__all__ = ["SqlStore", "SyncedClock", "SystemClock", "check", "migrate", "open_store"]
