"""One worker process: from the names of modules to served queues, and back down.

The rule of this file: what cannot work is said in one line, with what to do, before anything is started; and
a process that is told to stop finishes or hands back what it holds.
"""

from __future__ import annotations

import contextlib
import importlib
import logging
import os
import signal
import socket
import sys
import threading
import traceback
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

from squidmesh.core.deferring import SUFFIX
from squidmesh.errors import MeshError
from squidmesh.telemetry.configure import configure_if_wanted
from squidmesh_worker.options import Options
from squidmesh_worker.serving import Serving, serve

if TYPE_CHECKING:
    from squidmesh.engine.worker import Worker
    from squidmesh.mesh import Mesh

#: Exit codes: ended as told; told to stop twice; cannot start like this.
OK, CUT_SHORT, CANNOT_START = 0, 1, 2

#: Seconds the main thread sleeps at most: a signal that the system gave to another thread is handled only
#: when this one wakes.
_ALERT = 0.5


class CannotStart(Exception):
    """Why this process cannot serve, in one line that says what to do."""


def say(line: str) -> None:
    """One line for the person at the terminal (or the log of whatever started this process), at once."""
    sys.stderr.write(f"squidmesh worker{line}\n")
    sys.stderr.flush()


def run(options: Options) -> int:
    """What ``squidmesh worker`` does: serve until told to stop; the exit code."""
    if options.processes > 1:
        from squidmesh_worker.master import Master

        return Master(options).run()
    return work(options)


def work(options: Options, lifeline: socket.socket | None = None) -> int:
    """Serve in this process until SIGTERM or SIGINT; a second one ends it at once.

    ``lifeline``: connects this process with its master, which alone it obeys then: it is told when this
    process is ready, and when the master is gone this process stops too.
    """
    stop = threading.Event()
    _listen(stop, lifeline)
    _set_up_logging(options.verbose)
    try:
        configure_if_wanted()
        modules = [_import(name, options.verbose) for name in options.modules]
        mesh = _mesh(modules, options)
        serving, worker = _serve(mesh, options)
    except (CannotStart, MeshError) as error:
        say(f": {error}")
        return CANNOT_START
    say(
        f" ready: pid {os.getpid()}, queues {','.join(worker.queues)}, {options.threads} threads, "
        f"{_count(sum(not name.endswith(SUFFIX) for name, _ in worker.can.workflows), 'workflow')}"
    )
    if lifeline is not None:
        with contextlib.suppress(OSError):  # the master is gone, and ``stop`` about to be set
            lifeline.send(b"ready")
    while not stop.wait(_ALERT):
        pass
    _stop(serving, mesh, options.grace)
    return OK


def _stop(serving: Serving, mesh: Mesh, grace: float) -> None:
    say(f" stopping: pid {os.getpid()}, attempts in flight have {grace:g} s to finish")
    finished = _alert(lambda: serving.stop(grace))
    if not finished:
        say(f": pid {os.getpid()} handed back what did not finish within {grace:g} s")
    mesh.close()
    say(f" stopped: pid {os.getpid()}")
    if not finished:
        logging.shutdown()
        os._exit(OK)  # threads are still inside user code: nothing that is left to do may wait for them


def _alert(wait: Callable[[], bool]) -> bool:
    """What ``wait`` gives, while this thread wakes often enough to be told to end at once."""
    given: list[bool] = []
    waiting = threading.Thread(target=lambda: given.append(wait()), name="squidmesh-stop", daemon=True)
    waiting.start()
    while waiting.is_alive():
        waiting.join(_ALERT)
    return given == [True]


def _listen(stop: threading.Event, lifeline: socket.socket | None) -> None:
    def told(signum: int, frame: object) -> None:
        if stop.is_set() and lifeline is None:
            os._exit(CUT_SHORT)
        stop.set()

    def watch(master: socket.socket) -> None:
        try:
            while master.recv(16):
                pass
        except OSError:
            pass
        stop.set()

    signal.signal(signal.SIGTERM, told)
    if lifeline is None:
        signal.signal(signal.SIGINT, told)
    else:
        # Ctrl-C reaches the whole group; the master passes it on.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        threading.Thread(target=watch, args=(lifeline,), name="squidmesh-lifeline", daemon=True).start()


def _set_up_logging(verbose: bool) -> None:
    logging.basicConfig(
        level=logging.DEBUG if verbose else logging.INFO,
        format="%(asctime)s %(process)d %(levelname)s %(name)s: %(message)s",
    )
    logging.getLogger("pika").setLevel(logging.CRITICAL)
    for name in ("dramatiq", "httpx", "alembic"):
        logging.getLogger(name).setLevel(logging.WARNING)


def _import(name: str, verbose: bool) -> ModuleType:
    if (dotted := _dotted(name)) != name:
        raise CannotStart(f"{name!r} is no module: name it as your code imports it, squidmesh worker {dotted}")
    here = str(Path.cwd())
    if "" not in sys.path and here not in sys.path:
        sys.path.insert(0, here)
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is not None and (name == error.name or name.startswith(error.name + ".")):
            raise CannotStart(
                f"there is no module {name!r} in {here} or on the Python path; "
                "start this where the module is, or name it as your code imports it"
            ) from None
        raise _broken(name, error, verbose) from None
    except (Exception, SystemExit) as error:  # noqa: BLE001 — the module may do anything
        raise _broken(name, error, verbose) from None


def _dotted(name: str) -> str:
    """The module that the name of a file, or of something in a module, was meant for."""
    return name.partition(":")[0].removesuffix(".py").replace("/", ".").strip(".")


def _broken(name: str, error: BaseException, verbose: bool) -> CannotStart:
    if verbose:
        traceback.print_exception(error)
    frames = [at for at in traceback.extract_tb(error.__traceback__) if "importlib" not in at.filename]
    place = f" ({frames[-1].filename}:{frames[-1].lineno})" if len(frames) > 1 else ""
    what = " ".join(str(error).split())
    return CannotStart(
        f"module {name!r} does not import: {type(error).__name__}: {what}{place}; fix that and start again"
        + ("" if verbose else ", or add --verbose to see the traceback")
    )


def _mesh(modules: list[ModuleType], options: Options) -> Mesh:
    """The mesh to serve: of the options, else the one that the modules have, else of the environment."""
    from squidmesh.mesh import Mesh

    if options.database is not None or options.broker is not None:
        return Mesh(options.database, broker=options.broker)
    found = {
        id(value): (value, f"{module.__name__}.{name}")
        for module in modules
        for name, value in vars(module).items()
        if isinstance(value, Mesh)
    }
    match list(found.values()):
        case []:
            return Mesh()
        case [(mesh, _)]:
            return mesh
        case several:
            names = ", ".join(sorted(name for _, name in several))
            raise CannotStart(f"there are several meshes ({names}): say which to serve with --database")


def _serve(mesh: Mesh, options: Options) -> tuple[Serving, Worker]:
    from squidmesh.engine.worker import Worker

    try:
        engine = mesh.connect_engine()
        worker = Worker(engine, queues=options.queues, threads=options.threads)
        if not worker.can.workflows and not worker.can.steps:
            raise CannotStart(
                f"{', '.join(options.modules)}: no workflow and no step is declared there (@workflow, @step); "
                "name the modules that declare them"
            )
        return serve(engine, worker, engine.doorbell, options.threads), worker
    except BaseException:
        mesh.close()
        raise


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
