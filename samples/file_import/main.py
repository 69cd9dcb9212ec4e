"""A file is imported in large bites; where it sticks, compensate finishes the job line by line.

    python samples/file_import/main.py                     # two of its lines are bad: they are set aside
    python samples/file_import/main.py --tolerate 1        # that is one too many: nothing of the file stays

The step is quick and knows no mercy. Its compensate is called when it has failed for good, before the workflow sees
it: it goes on from the last checkpoint and gives the result that the step could not; or it cleans up, and lets it fail.
"""

from __future__ import annotations

import argparse
import logging
import sqlite3
import sys
from contextlib import closing
from pathlib import Path

from pydantic import BaseModel

from squidmesh import Cleaned, Failure, Flow, Mesh, Retry, RunFailed, context, step, workflow

BITE = 10  # lines that are stored together

Reading = tuple[int, str, float]  # line, station, degrees


class Imported(BaseModel):
    readings: int
    set_aside: dict[int, str] = {}  # by the number of the line, and why


@workflow
def import_file(file: str, database: str, tolerate: int) -> Flow[Imported]:
    return (yield from import_readings(file, database, tolerate))


@step(retry=Retry(max_attempts=3, give_up_on=(ValueError,)))
def import_readings(file: str, database: str, tolerate: int) -> Imported:
    """A bite at a time. A busy database is worth another attempt, a bad line never is."""
    lines = numbered(file)
    for start in range(context().progress or 0, len(lines), BITE):
        store(database, file, [reading(*line) for line in lines[start : start + BITE]])
        context().checkpoint(min(start + BITE, len(lines)))
    return Imported(readings=len(lines))


@import_readings.compensate
def import_the_rest(failure: Failure, file: str, database: str, tolerate: int) -> Imported | Cleaned:
    """From where the step got stuck, a line at a time; what cannot be read is set aside."""
    lines = numbered(file)
    set_aside: dict[int, str] = {}
    for number, line in lines[context().progress or 0 :]:
        try:
            store(database, file, [reading(number, line)])
        except ValueError as bad:
            set_aside[number] = str(bad)
    if len(set_aside) > tolerate:
        forget(database, file)
        return Cleaned(f"({len(set_aside)} bad lines)")  # it fails, as it had failed, and nothing of it is left
    return Imported(readings=len(lines) - len(set_aside), set_aside=set_aside)  # it has completed after all


@import_readings.undo
def remove_readings(imported: Imported, file: str, database: str, tolerate: int) -> None:
    """Not called here: the undo is for when it completed, and a later step of its workflow fails."""
    forget(database, file)


def numbered(file: str) -> list[tuple[int, str]]:
    return list(enumerate(Path(file).read_text("utf-8").splitlines(), start=1))


def reading(number: int, line: str) -> Reading:
    station, _, degrees = line.partition(",")
    return number, station, float(degrees)


def store(database: str, file: str, readings: list[Reading]) -> None:
    """All of them or none. A line that is there already is replaced: a bite may come again after a crash."""
    with closing(sqlite3.connect(database, timeout=30)) as db, db:
        columns = "file TEXT, line INTEGER, station TEXT, degrees REAL, PRIMARY KEY (file, line)"
        db.execute(f"CREATE TABLE IF NOT EXISTS readings ({columns})")
        db.executemany("INSERT OR REPLACE INTO readings VALUES (?, ?, ?, ?)", [(file, *each) for each in readings])


def forget(database: str, file: str) -> None:
    with closing(sqlite3.connect(database, timeout=30)) as db, db:
        db.execute("DELETE FROM readings WHERE file = ?", (file,))


def count(database: str) -> int:
    with closing(sqlite3.connect(database, timeout=30)) as db:
        found: int = db.execute("SELECT count(*) FROM readings").fetchone()[0]
        return found


def main() -> int:
    options = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    options.add_argument("file", nargs="?", default=str(Path(__file__).with_name("readings.csv")))
    options.add_argument("--tolerate", type=int, default=5, help="so many bad lines are set aside")
    options.add_argument("--database", default="readings.db", help="SQLite file that the readings go to")
    given = options.parse_args()
    file, database = (str(Path(path).resolve()) for path in (given.file, given.database))
    logging.getLogger("squidmesh").setLevel(logging.CRITICAL)  # what fails is told below
    with Mesh() as mesh, mesh.worker():
        run = mesh.start(import_file(file, database, given.tolerate))
        try:
            imported = run.result()
            print(f"{imported.readings} readings are imported")
            for number, why in imported.set_aside.items():
                print(f"  set aside: line {number}, {why}")
        except RunFailed as failed:
            print(f"the import failed: {failed.failure.message}")
        (seen,) = run.inspect().steps
    print(f"attempts: {', '.join(str(attempt.outcome) for attempt in seen.attempts)}, after line {seen.progress or 0}")
    for call in seen.compensations:
        print(f"compensate: {call.outcome} {call.note or ''}".rstrip())
    print(f"readings in {given.database}: {count(database)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
