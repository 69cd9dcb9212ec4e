"""Fresh databases on a PostgreSQL server, each for one test."""

from collections.abc import Iterator
from contextlib import contextmanager
from uuid import uuid4

import psycopg
from psycopg import sql
from sqlalchemy.engine import make_url


@contextmanager
def fresh_database(server_url: str, template: str | None = None) -> Iterator[str]:
    """A database that nobody has used, dropped afterwards even when somebody is still connected.

    Parameters:
        server_url: any database of the server; its user must be allowed to create others.
        template: the URL of a database to copy; nobody may be connected to it.
    """
    name = f"squidmesh_test_{uuid4().hex[:16]}"
    origin = make_url(template).database if template is not None else "template0"
    with psycopg.connect(server_url, autocommit=True) as server:
        # Written through the log: no checkpoint before and after, as a copy of files would need.
        create = sql.SQL("CREATE DATABASE {} TEMPLATE {} STRATEGY wal_log")
        server.execute(create.format(sql.Identifier(name), sql.Identifier(str(origin))))
    try:
        yield make_url(server_url).set(database=name).render_as_string(hide_password=False)
    finally:
        with psycopg.connect(server_url, autocommit=True) as server:
            server.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))
