"""Packs each day's log files into one archive, the night after; nights that were missed are caught up.

    python samples/nightly/main.py FOLDER

A second schedule looks every five minutes whether the folder has become too large, and says so twice a day at most.
Files are named by their day: 2026-03-28-web.log. The program serves its schedule until Ctrl-C.
"""

from __future__ import annotations

import argparse
import logging
import sys
import time
import zipfile
from datetime import date, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

from pydantic import BaseModel

from squidmesh import Cron, Every, Flow, Mesh, MeshError, Schedule, now, run_info, sleep, step, workflow

KEEP = 30  # days
MOST = 1_000_000_000  # bytes that the folder should have
NIGHTLY = "0 2 * * *"
HOME = "Europe/Sofia"


class Packed(BaseModel):
    day: date
    files: int


@workflow
def pack_the_day(folder: str, tz: str) -> Flow[Packed]:
    due = run_info().tick or now()  # a run that was triggered by hand belongs to no tick
    day = due.astimezone(ZoneInfo(tz)).date() - timedelta(days=1)
    packed = yield from pack(folder, day)
    yield from drop(folder, day - timedelta(days=KEEP))
    return packed


@step
def pack(folder: str, day: date) -> Packed:
    """All of the day's files in one archive, then they go. Done again, it changes nothing."""
    files = sorted(Path(folder).glob(f"{day}-*.log"))
    archive = Path(folder, f"{day}.zip")
    if files:
        unfinished = archive.with_suffix(".part")
        with zipfile.ZipFile(unfinished, "w", zipfile.ZIP_DEFLATED) as packing:
            for file in files:
                packing.write(file, file.name)
        unfinished.replace(archive)
        for file in files:
            file.unlink()
    packed = len(zipfile.ZipFile(archive).namelist()) if archive.exists() else 0
    return Packed(day=day, files=packed)


@step
def drop(folder: str, day: date) -> None:
    """Archives up to this day."""
    for archive in Path(folder).glob("????-??-??.zip"):
        if archive.stem <= str(day):
            archive.unlink()


@workflow
def watch_size(folder: str, most: int) -> Flow[int]:
    size = yield from measure(folder)
    if size > most:
        yield from warn(folder, size)
        yield from sleep(timedelta(hours=12))  # as long as this run is open, ticks are skipped
    return size


@step(pure=True)
def measure(folder: str) -> int:
    return sum(file.stat().st_size for file in Path(folder).iterdir())


@step
def warn(folder: str, size: int) -> None:
    with Path(folder, "warnings.txt").open("a") as warnings:
        warnings.write(f"this folder has {size} bytes\n")


def nightly(mesh: Mesh, folder: str, expression: str = NIGHTLY, tz: str = HOME) -> Schedule[Packed]:
    """Each night has its own day to pack: all that were missed are caught up, and a slow one delays no other."""
    return mesh.schedule(
        f"pack {folder}", Cron(expression, tz=tz), pack_the_day(folder, tz), catch_up="all", overlap="allow", jitter=60
    )


def watchful(mesh: Mesh, folder: str, most: int = MOST) -> Schedule[int]:
    """Only how it is now matters: missed ticks are not caught up, and a run that is still open stands for the next."""
    return mesh.schedule(f"watch {folder}", Every(300), watch_size(folder, most), catch_up="none", overlap="skip")


def main() -> int:
    options = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    options.add_argument("folder", help="where the log files are")
    options.add_argument("--when", default=NIGHTLY, help="five fields, as cron has them")
    options.add_argument("--tz", default=HOME, help="whose nights")
    options.add_argument(
        "--since", type=date.fromisoformat, help="first run the nights since this day that have no run"
    )
    given = options.parse_args()
    logging.getLogger("squidmesh").setLevel(logging.ERROR)
    try:
        with Mesh() as mesh, mesh.worker():
            schedule = nightly(mesh, str(Path(given.folder).resolve()), given.when, given.tz)
            watchful(mesh, str(Path(given.folder).resolve()))
            if given.since:
                zone = ZoneInfo(given.tz)
                begin = datetime(given.since.year, given.since.month, given.since.day, tzinfo=zone)
                for handle in schedule.backfill(begin, datetime.now(zone), actor="main.py"):
                    packed = handle.result()
                    print(f"{packed.day}: {packed.files} files", flush=True)
            print("next:", ", ".join(f"{at.astimezone(ZoneInfo(given.tz)):%a %d %b %H:%M}" for at in schedule.next(3)))
            while True:
                time.sleep(1)
    except MeshError as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 0


if __name__ == "__main__":
    sys.exit(main())
