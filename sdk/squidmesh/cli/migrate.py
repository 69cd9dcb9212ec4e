"""``squidmesh migrate``: bring a database to the revision that this release needs."""

from __future__ import annotations

import click


@click.command()
@click.option(
    "--database",
    metavar="URL",
    help="sqlite:///FILE or postgresql://…; without it SQUIDMESH_DATABASE_URL, else sqlite:///squidmesh.db",
)
def migrate(database: str | None) -> None:
    """Create or upgrade the tables of Squid Mesh.

    Can be repeated, and run by several at a time: one of them does it.
    """
    from squidmesh.mesh import Mesh

    with Mesh(database) as mesh:
        mesh.migrate()
        where = mesh.engine.url.render_as_string(hide_password=True)
    click.echo(f"the database is up to date: {where}")
