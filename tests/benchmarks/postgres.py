"""Counts what PostgreSQL did: statements, commits, log, rows and bytes. And gives databases.

Commits and bytes are read from the write-ahead log itself with `pg_waldump`: a COMMIT record is a transaction
that wrote something. Statements are those that the server logged (BEGIN and COMMIT too); clients here use no
pipelines, so a statement is a round trip. Our own connections (by their application name) are left out.
"""

from __future__ import annotations

import json
import re
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import psycopg
from psycopg import sql
from sqlalchemy.engine import make_url

from tests.benchmarks.machine import Servers
from tests.servers import fresh_database
from tests.servers.binaries import postgres_folder

APPLICATION = "squidmesh-benchmark"

_STATEMENT = re.compile(r"duration: ([\d.]+) ms  (?:statement|execute [^:]*): (.*)", re.DOTALL)
_TEMPLATES: dict[tuple[str, str], str] = {}
_OPEN = ExitStack()


# ---------------------------------------------------------------------------------------------------- databases


@contextmanager
def copy_of(system: str, servers: Servers, make: Callable[[str], None]) -> Iterator[str]:
    """A database of one's own with the tables of the system, which ``make`` makes once, given a URL."""
    key = system, servers.postgres_url
    if key not in _TEMPLATES:
        template = _OPEN.enter_context(fresh_database(servers.postgres_url))
        make(template)
        _TEMPLATES[key] = template
    with fresh_database(servers.postgres_url, _TEMPLATES[key]) as url:
        yield url


def drop_templates() -> None:
    """Drop what ``copy_of`` keeps; before the server ends."""
    _TEMPLATES.clear()
    _OPEN.close()


# ---------------------------------------------------------------------------------------------------- commits


class Written:
    """What the server wrote between entering and leaving it: a context manager, on a quiet server.

    ``figures``: commits, bytes of the log, those of them that are images of whole pages (which only the first
    change of a page after a checkpoint costs), rows and bytes that the database has more than before.
    """

    def __init__(self, servers: Servers, database: str) -> None:
        self.figures: dict[str, float] = {}
        self._server = psycopg.connect(servers.postgres_url, autocommit=True, application_name=APPLICATION)
        self._database = psycopg.connect(database, autocommit=True, application_name=APPLICATION)

    def __enter__(self) -> Self:
        self._size = _size(self._database)
        self._from = _position(self._server)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            upto = _position(self._server)
            size = _size(self._database)
            commits, pages, size_of_log = _read_log(self._server, self._from, upto)
            self.figures = {
                "write_commits": commits,
                "wal_bytes": size_of_log,
                "wal_page_image_bytes": pages,
                "rows": size["rows"] - self._size["rows"],
                "table_bytes": size["table"] - self._size["table"],
                "index_bytes": size["index"] - self._size["index"],
            }
        self._server.close()
        self._database.close()


def checkpoint(servers: Servers) -> None:
    """So that none is due in what follows; the pages touched next are written to the log in full once."""
    with psycopg.connect(servers.postgres_url, autocommit=True, application_name=APPLICATION) as server:
        server.execute("CHECKPOINT")


def _position(server: psycopg.Connection[Any]) -> str:
    (position,) = server.execute("SELECT pg_current_wal_flush_lsn()::text").fetchone() or ("0/0",)
    return str(position)


def _read_log(server: psycopg.Connection[Any], begin: str, end: str) -> tuple[int, int, int]:
    """Commit records, bytes of page images and all bytes between two positions of the log."""
    query = "SELECT %s::pg_lsn - %s::pg_lsn, current_setting('data_directory')"
    length, folder = server.execute(query, (end, begin)).fetchone() or (0, "")
    if not length:
        return 0, 0, 0
    command = [str(postgres_folder() / "pg_waldump"), "--path", f"{folder}/pg_wal", "--stats=record"]
    told = subprocess.run([*command, "--start", begin, "--end", end], capture_output=True, text=True, check=True).stdout
    commits = pages = 0
    for line in told.splitlines():
        parts = re.sub(r"\(\s*[-\d.na]+\)|\[[^]]*\]", " ", line).split()
        if parts and parts[0] == "Transaction/COMMIT":
            commits = int(parts[1])
        elif parts and parts[0] == "Total":
            pages = int(parts[3])
    return commits, pages, int(length)


def _size(database: psycopg.Connection[Any]) -> Counter[str]:
    size: Counter[str] = Counter()
    tables = database.execute(
        "SELECT schemaname, relname, pg_table_size(relid), pg_indexes_size(relid) FROM pg_stat_user_tables"
    ).fetchall()
    for schema, table, table_bytes, index_bytes in tables:
        query = sql.SQL("SELECT count(*) FROM {}.{}").format(sql.Identifier(schema), sql.Identifier(table))
        (rows,) = database.execute(query).fetchone() or (0,)
        size.update(rows=rows, table=table_bytes, index=index_bytes)
    return size


# -------------------------------------------------------------------------------------------------- statements


@dataclass(slots=True)
class Statements:
    """The statements of a while: how often each was sent, and the microseconds the server took for it."""

    sent: Counter[str] = field(default_factory=Counter)
    microseconds: Counter[str] = field(default_factory=Counter)


@contextmanager
def statements(servers: Servers, database: str) -> Iterator[Statements]:
    """Have the server log every statement meanwhile; what came for the database is there at the end."""
    found = Statements()
    with psycopg.connect(servers.postgres_url, autocommit=True, application_name=APPLICATION) as server:
        _log_all(server, on=True)
        query = "SELECT current_setting('data_directory') || '/' || pg_current_logfile('jsonlog')"
        (file,) = server.execute(query).fetchone() or ("",)
        begin = Path(file).stat().st_size
        try:
            yield found
        finally:
            _log_all(server, on=False)
    with Path(file).open("rb") as log:
        log.seek(begin)
        for line in log:
            _take(line, make_url(database).database or "", found)


def _log_all(server: psycopg.Connection[Any], *, on: bool) -> None:
    server.execute(sql.SQL("ALTER SYSTEM SET log_min_duration_statement = {}").format(sql.Literal(0 if on else -1)))
    server.execute("SELECT pg_reload_conf()")
    time.sleep(0.2)  # each connection takes it over before its next statement


def _take(line: bytes, database: str, found: Statements) -> None:
    entry = json.loads(line)
    if entry.get("dbname") != database or entry.get("application_name") == APPLICATION:
        return
    if (match := _STATEMENT.match(entry["message"])) is not None:
        text = " ".join(match[2].split())
        found.sent[text] += 1
        found.microseconds[text] += round(float(match[1]) * 1000)
