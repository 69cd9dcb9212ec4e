"""``squidmesh worker``: a Dramatiq worker process for the workflows of some modules."""

from __future__ import annotations

import importlib
import sys

import click


@click.command()
@click.argument("modules", metavar="MODULE…", nargs=-1, required=True)
@click.option("--processes", default=1, show_default=True, type=click.IntRange(1), help="Worker processes.")
@click.option("--threads", default=8, show_default=True, type=click.IntRange(1), help="Threads in each.")
@click.option("--queues", metavar="A,B", help="Serve only these; without it, all that the code names.")
@click.option("--database", metavar="URL", help="Without it the modules' mesh's, else SQUIDMESH_DATABASE_URL.")
@click.option("--broker", metavar="URL", help="Without it the modules' mesh's, else SQUIDMESH_BROKER_URL.")
@click.option(
    "--grace",
    default=30.0,
    show_default=True,
    type=click.FloatRange(0),
    help="Seconds that attempts in flight have to finish after SIGTERM.",
)
@click.option("--verbose", is_flag=True, help="Log more, and show tracebacks.")
def worker(
    modules: tuple[str, ...],
    processes: int,
    threads: int,
    queues: str | None,
    database: str | None,
    broker: str | None,
    grace: float,
    verbose: bool,
) -> None:
    """Serve the workflows and steps of MODULE… until SIGTERM or SIGINT.

    Says "squidmesh worker ready: …" on stderr once for each process that takes work.
    """
    wanted = None if queues is None else tuple(name.strip() for name in queues.split(",") if name.strip())
    if wanted == ():
        raise click.BadParameter("name at least one queue, or leave --queues out to serve all.", param_hint="--queues")
    options = importlib.import_module("squidmesh_worker.options").Options(
        modules=modules,
        database=database,
        broker=broker,
        processes=processes,
        threads=threads,
        queues=wanted,
        grace=grace,
        verbose=verbose,
    )
    sys.exit(importlib.import_module("squidmesh_worker.process").run(options))
