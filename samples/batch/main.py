"""Pays out what a large file says: a workflow for each line, twenty at a time, a hundred in a history.

    python samples/batch/main.py                        # a file of a thousand payouts, a few of them wrong
    python samples/batch/main.py FILE --key march       # lines of `name,cents`; run again it goes on where it was

Each line is a child: a run with steps, undos and a failure of its own. After each page of the file the run continues as
a new one, so no history grows with the file.
"""

from __future__ import annotations

import argparse
import logging
import sys
import time
from contextlib import suppress
from itertools import islice
from pathlib import Path

from pydantic import BaseModel

from squidmesh import Flow, Handle, Mesh, MeshError, continue_as_new, fan_out, publish, step, workflow

WINDOW = 20  # children in flight at once
PAGE = 100  # lines of one link of the chain
WRONG = 0.1  # a page of which more is wrong belongs to the wrong file

BOOKS = Path("batch_books")  # a file for each payout that was made


class Line(BaseModel):
    number: int
    text: str


class Progress(BaseModel):
    lines: int = 0
    cents: int = 0
    wrong: list[int] = []  # numbers of lines


@workflow
def pay_file(path: str, done: Progress) -> Flow[Progress]:
    page = yield from read_page(path, done.lines)
    if not page:
        return done
    paid = yield from fan_out(pay_line, page, limit=WINDOW, tolerate=WRONG)
    done = Progress(
        lines=done.lines + len(page),
        cents=done.cents + sum(paid.values()),
        wrong=done.wrong + [page[index].number for index in paid.failures],
    )
    yield from publish("progress", done)
    return (yield from continue_as_new(pay_file(path, done)))


@workflow
def pay_line(line: Line) -> Flow[int]:
    name, cents = yield from parse(line)
    yield from book(f"{line.number} {name}", cents)
    return cents


@step(pure=True)
def read_page(path: str, skip: int) -> list[Line]:
    with Path(path).open() as lines:
        texts = list(islice(lines, skip, skip + PAGE))
    return [Line(number=skip + index, text=text.rstrip("\n")) for index, text in enumerate(texts, start=1)]


@step(pure=True)
def parse(line: Line) -> tuple[str, int]:
    name, _, cents = line.text.partition(",")
    return name, int(cents)


@step
def book(who: str, cents: int) -> None:
    BOOKS.mkdir(exist_ok=True)
    (BOOKS / who).write_text(f"{cents}\n")


@book.undo
def strike_out(result: None, who: str, cents: int) -> None:
    (BOOKS / who).unlink(missing_ok=True)


def watch(run: Handle[Progress]) -> Progress:
    """Print how far the run is until it has ended, whichever link of its chain is at work."""
    shown = 0
    while True:
        done: Progress | None = None
        with suppress(TimeoutError):
            done = run.result(timeout=0.2)
        progress = run.published("progress", Progress)
        if progress is not None and progress.lines != shown:
            shown = progress.lines
            print(f"{shown:>6} lines, {len(progress.wrong)} of them wrong", flush=True)
        if done is not None:
            return done


def example() -> Path:
    """A file of a thousand payouts; every fiftieth is wrong."""
    path = Path("batch.csv")
    path.write_text("".join(f"customer {n},{'nothing' if n % 50 == 0 else n}\n" for n in range(1, 1001)))
    return path


def main() -> int:
    options = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    options.add_argument("file", nargs="?", type=Path, help="what to pay out")
    options.add_argument("--key", help="runs with the same key are one run: an interrupted one goes on")
    given = options.parse_args()
    logging.getLogger("squidmesh").setLevel(logging.CRITICAL)  # lines that are wrong are told at the end
    path = (given.file or example()).resolve()
    began = time.monotonic()
    with Mesh() as mesh, mesh.worker():
        try:
            done = watch(mesh.start(pay_file(str(path), Progress()), key=given.key))
        except MeshError as error:
            print(error, file=sys.stderr)
            return 1
        except KeyboardInterrupt:
            print("interrupted; started again with the same --key it goes on", file=sys.stderr)
            return 130
        links = sum(1 for _ in mesh.list(workflow=pay_file, limit=1_000))
    print(f"{done.lines} lines, {done.cents} cents, in {links} links and {time.monotonic() - began:.1f} s")
    print(f"wrong: {', '.join(map(str, done.wrong)) or 'none'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
