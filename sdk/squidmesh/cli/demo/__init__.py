"""``squidmesh demo``: durable orders before one's eyes, in a folder of their own.

Two real worker processes serve a real SQLite file; a bank is too busy now and then; one worker is killed with
SIGKILL in the middle of a step; an order that fails late is undone. ``orders`` is what they run (it is copied into the
folder), ``bank`` the partner, ``processes`` the workers, ``story`` what happens when, ``news`` and ``drawing`` what is
shown.

The rule of this folder: nothing is acted. What is shown is read from the database, through the public interface.
"""

from __future__ import annotations

import signal
import sys

import click


@click.command()
def demo() -> None:
    """Watch orders survive a busy bank and a killed worker, and one being undone (10 s)."""
    from squidmesh.cli.demo.story import tell

    for signum in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(signum, _ended)
    try:
        sys.exit(tell())
    except KeyboardInterrupt:
        click.echo("stopped; the worker processes are ended")
        sys.exit(128 + signal.SIGINT)


def _ended(signum: int, frame: object) -> None:
    """Leave by way of every ``with`` block, which end the worker processes."""
    sys.exit(128 + signum)
