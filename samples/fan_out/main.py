"""Counts the lines of every Python file below a folder: thousands of steps, at most fifty at a time.

    python samples/fan_out/main.py [FOLDER]

Without a folder it reads Python's own library. A file that cannot be read fails its step, not the run.
"""

from __future__ import annotations

import argparse
import logging
import sys
import sysconfig
import time
from contextlib import suppress
from pathlib import Path

from pydantic import BaseModel

from squidmesh import Flow, Handle, Mesh, MeshError, fan_out, publish, step, workflow

BATCH = 250  # files between two reports of the progress
LIMIT = 50  # files in flight at once


class Progress(BaseModel):
    done: int
    files: int
    lines: int


class Counted(BaseModel):
    files: int
    lines: int
    unreadable: dict[str, str]  # and why


@workflow
def count_folder(folder: str) -> Flow[Counted]:
    files = yield from find_files(folder)
    lines, unreadable = 0, dict[str, str]()
    for start in range(0, len(files), BATCH):
        batch = files[start : start + BATCH]
        # A function that builds a call from an item; as many may fail as there are.
        counted = yield from fan_out(lambda file: count_lines(folder, file), batch, limit=LIMIT, tolerate=len(batch))
        lines += sum(counted.values())
        unreadable |= {batch[index]: failure.type for index, failure in counted.failures.items()}
        yield from publish("progress", Progress(done=start + len(batch), files=len(files), lines=lines))
    return Counted(files=len(files), lines=lines, unreadable=unreadable)


@step
def find_files(folder: str) -> list[str]:
    """The Python files below the folder, without what is installed beside them."""
    if not Path(folder).is_dir():
        raise NotADirectoryError(f"{folder} is not a folder")
    found = (path.relative_to(folder) for path in Path(folder).rglob("*.py"))
    return sorted(str(path) for path in found if "site-packages" not in path.parts)


@step
def count_lines(folder: str, file: str) -> int:
    return len(Path(folder, file).read_text("utf-8").splitlines())


def watch(run: Handle[Counted]) -> Counted:
    """Print how far the run is until it has ended."""
    counted: Counted | None = None
    shown: Progress | None = None
    while counted is None:
        with suppress(TimeoutError):
            counted = run.result(timeout=0.2)
        progress = run.published("progress", Progress)
        if progress is not None and progress != shown:
            print(f"{progress.done:>6} of {progress.files} files, {progress.lines:>8} lines", flush=True)
            shown = progress
    return counted


def main() -> int:
    options = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    options.add_argument("folder", nargs="?", default=sysconfig.get_path("stdlib"), help="what to read")
    options.add_argument("--key", help="runs with the same key are one run: an interrupted one goes on")
    given = options.parse_args()
    logging.getLogger("squidmesh").setLevel(logging.ERROR)  # unreadable files are told at the end
    began = time.monotonic()
    with Mesh() as mesh, mesh.worker():
        try:
            counted = watch(mesh.start(count_folder(str(Path(given.folder).resolve())), key=given.key))
        except MeshError as error:
            print(error, file=sys.stderr)
            return 1
        except KeyboardInterrupt:
            print("interrupted; started again with the same --key it goes on", file=sys.stderr)
            return 130
    took = time.monotonic() - began
    print(f"{counted.files} files have {counted.lines} lines, counted in {took:.1f} s")
    for file, why in counted.unreadable.items():
        print(f"  not counted: {file} ({why.removeprefix('builtins.')})")
    return 0


if __name__ == "__main__":
    sys.exit(main())
