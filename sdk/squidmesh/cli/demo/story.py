"""What happens in the demo, and when: two workers, five orders, one kill, one order that fails, and the end.

The rule of this file: it starts, watches and kills; what the workers make of that is theirs.
"""

from __future__ import annotations

import importlib
import shlex
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from io import TextIOWrapper
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.live import Live
from rich.rule import Rule
from rich.table import Table
from rich.text import Text

from squidmesh.cli.demo.bank import Bank
from squidmesh.cli.demo.drawing import board, table_of_history, table_of_rollback, table_of_runs, what_next
from squidmesh.cli.demo.news import News
from squidmesh.cli.demo.processes import NotUp, WorkerProcesses, embedded_only
from squidmesh.events import AttemptLost
from squidmesh.handle import Handle
from squidmesh.mesh import Mesh
from squidmesh.views.run import RunView

BASKETS = {
    "o-1": ["compass", "lantern", "rope"],
    "o-2": ["harpoon", "sextant"],
    "o-3": ["diving bell", "lantern"],
    "o-4": ["chart", "compass", "rope"],
    "o-5": ["barometer", "rope"],
}
LOST, LOST_BASKET, LOST_TOWN = "o-6", ["diving bell"], "Atlantis"
"""The order that comes while the dead worker is mourned, and for which there is no courier."""
PATIENCE = 60.0  # seconds until something is clearly wrong
LOOK_EVERY = 0.1  # seconds


def tell() -> int:
    """Run the demo in a new folder, which stays; the exit code."""
    embedded_only()
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # a terminal that does not know a sign shows another
    console = Console(highlight=False)
    folder = Path(tempfile.mkdtemp(prefix="squidmesh-demo-"))
    shutil.copy(Path(__file__).with_name("orders.py"), folder)
    sys.path.insert(0, str(folder))
    orders = importlib.import_module("orders")
    console.print("[bold]Squid Mesh[/bold]  durable orders on a SQLite file, in")
    console.print(Text(str(folder), "cyan"), soft_wrap=True)
    mesh: Mesh = orders.mesh
    began = time.monotonic()
    workers = WorkerProcesses(folder, "AB")
    story = Story(console, mesh, workers, orders, began)
    try:
        story.say("", "two worker processes are starting")
        with mesh, Bank() as bank, workers:
            story.start(bank.url)
            done = story.watch()
    except NotUp as error:
        console.print(Text(str(error), "red"), soft_wrap=True)
        return 1
    with mesh:
        story.end()
    console.print("", Rule("What to type next", align="left", style="dim"))
    for told, command in what_next(folder, _command("python", sys.executable), _command("squidmesh", _script()), LOST):
        console.print(Text(told, "dim"))
        console.print(Text(f"  {command}", "bold"), soft_wrap=True)  # never broken: it is to be copied
    return 0 if done else 1


@dataclass(slots=True)
class Story:
    """The demo while it runs: the handles of its orders by their ids, and at which order the kill was.

    ``orders`` is the module that the workers serve, ``bank`` the address of the bank.
    """

    console: Console
    mesh: Mesh
    workers: WorkerProcesses
    orders: Any
    began: float
    bank: str = ""
    handles: dict[str, Handle[Any]] = field(default_factory=dict)
    killed_at: str | None = None
    letters: dict[str, str] = field(default_factory=dict)

    def start(self, bank: str) -> None:
        self.bank = bank
        pids = " and ".join(f"{process.name} (pid {process.pid})" for process in self.workers.all)
        self.say("", f"workers {pids} are up")
        calls = [self._order(name, items) for name, items in BASKETS.items()]
        self.handles = dict(zip(BASKETS, self.mesh.start_many(calls, keys=list(BASKETS)), strict=True))
        self.say("", f"{len(calls)} orders are started: reserve, charge, pack, ship")

    def _order(self, name: str, items: list[str], town: str = "Lisbon") -> Any:
        order = self.orders.Order(id=name, items=items, cents=1_900 * len(items), town=town)
        return self.orders.fulfil(order, self.bank)

    def watch(self) -> bool:
        """Look until all orders have ended; kill one worker meanwhile. Whether all of them ended."""
        news = News(self.name_of)
        until = time.monotonic() + PATIENCE
        with self._board() as draw:
            while time.monotonic() < until:
                self._learn_letters()
                for order, handle in self.handles.items():
                    for style, sentence in news.of(order, handle.history()):
                        self.say(style, sentence)
                runs = {order: handle.inspect() for order, handle in self.handles.items()}
                draw(runs)
                if all(run.ended_at for run in runs.values()):
                    return True
                if self.killed_at is None:
                    self._kill_in_the_middle(runs)
                time.sleep(LOOK_EVERY)
        for handle in self.handles.values():
            self.say("red", handle.explain().summary)
        return False

    def end(self) -> None:
        """What the database has of it, from the public interface alone."""
        runs = [self.mesh.handle(run.run_id).inspect() for run in reversed(self.mesh.list().items)]
        self.console.print(table_of_runs(runs, self.name_of, self.console.width))
        for run in runs:
            if run.rollback is not None:
                self.console.print(table_of_rollback(run))
        histories = {run.run_id: self.mesh.handle(run.run_id).history() for run in runs}
        lost = [run for run in runs if any(isinstance(event, AttemptLost) for event in histories[run.run_id])]
        chosen = max(lost or runs, key=lambda run: run.key == self.killed_at)
        self.console.print(table_of_history(chosen, histories[chosen.run_id], self.name_of))

    def say(self, style: str, sentence: str) -> None:
        at = Text(f"{time.monotonic() - self.began:5.1f} s  ", "dim")
        told = Text(sentence, style or "default")
        if self.console.is_terminal:
            line = Table.grid()
            line.add_row(at, told)
            self.console.print(line)
        else:
            self.console.print(at.append(told), soft_wrap=True)

    def name_of(self, worker: str | None) -> str:
        """The letter of the process that has, or had, this worker id."""
        return self.letters.get(worker or "", worker or "")

    def _learn_letters(self) -> None:
        for row in self.mesh.connect_engine().store.workers():
            name = self.workers.name_of(row.pid)
            if name is not None:
                self.letters[row.worker] = name

    def _kill_in_the_middle(self, runs: dict[str, RunView]) -> None:
        """Kill the worker of an order that has an item packed and another one to go."""
        for order, run in runs.items():
            packing = next((step for step in run.steps if step.name == "pack" and step.status == "running"), None)
            if packing is None or not packing.attempts:
                continue
            packed, items = len(packing.progress or ()), len(packing.input["items"])
            worker = self.letters.get(packing.attempts[-1].worker or "")
            if worker is None or not 0 < packed < items:
                continue
            self.killed_at = order
            pid = self.workers.kill(worker).pid
            deed = f"kill -9 {pid}: worker {worker} dies in the middle of packing {order}"
            self.say("bold red", f"{deed} ({packed} of {items} items)")
            lease = f"{self.mesh.settings.lease:g} s after its last sign"
            self.say("dim", f"what it held is anybody's when its lease is over, {lease}")
            self.handles[LOST] = self.mesh.start(self._order(LOST, LOST_BASKET, LOST_TOWN), key=LOST)
            self.say("", f"{LOST} is started: a {LOST_BASKET[0]} for {LOST_TOWN}, where no courier goes")
            return

    @contextmanager
    def _board(self) -> Iterator[Callable[[dict[str, RunView]], None]]:
        """Something that draws the orders: in place on a terminal, not at all elsewhere."""
        if not self.console.is_terminal:
            yield lambda runs: None
            return
        with Live(console=self.console, transient=True, auto_refresh=False) as live:

            def draw(runs: dict[str, RunView]) -> None:
                workers = [(process.name, process.pid, process.up) for process in self.workers.all]
                live.update(board(runs, workers, self.name_of), refresh=True)

            yield draw


def _script() -> str:
    """The ``squidmesh`` command of this Python."""
    return str(Path(sys.executable).with_name("squidmesh"))


def _command(name: str, path: str) -> str:
    """How to type a command here: by its name where that is the same program."""
    found = shutil.which(name)
    return name if found is not None and Path(found) == Path(path) else shlex.quote(path)
