"""The body of a run as it goes from command to command, and what it sees on its way: the time, chance, scopes, patches.

The rule of this file: a body is resumed by nobody else. What it asks for in one turn counts whole or, when the code
breaks in it, not at all.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from squidmesh.core import events as ev
from squidmesh.core import guards
from squidmesh.core.broken import Broken
from squidmesh.core.calls import Command
from squidmesh.core.continuing import ContinueAsNew, continued
from squidmesh.core.deciding import Ending
from squidmesh.core.deterministic import RunInfo
from squidmesh.core.failure import failure_of
from squidmesh.core.growing import node
from squidmesh.core.nodes import Bad, ChildNode, Group, Node, Ok, StepNode
from squidmesh.core.past import Life, lives, living
from squidmesh.core.payloads import secrets_in, size_check
from squidmesh.core.report import RollbackReport
from squidmesh.core.scopes import RollbackScope, Saga
from squidmesh.core.turn import Body, Place, Raised, Returned, Turn, Yielded
from squidmesh.errors import DefinitionError, InvalidPayload, NonDeterminism, PayloadError

if TYPE_CHECKING:
    from squidmesh.core.interpreter import Interpreter


class Script:
    """See the module. ``time`` is what ``now()`` gives; ``count`` the number of commands so far."""

    def __init__(self, run: Interpreter) -> None:
        self.run = run
        self.run_id = run.run_id
        self.closing = False  # the body is put away: what it yields is discarded
        self.time = 0
        self.uuids = 0
        self.count = 0
        self.awaiting: Node | None = None
        self._body: Body | None = None
        self._held_back: Command[Any] | None = None  # yielded while a scope was to be rolled back first
        self._lives: tuple[Life, ...] = (Life(self.run_id),)
        self._random: dict[str, random.Random] = {}
        self._patches: dict[str, bool] = {}
        self._forgotten: list[tuple[Command[Any], guards.Drop]] = []
        self._secrets: tuple[str, ...] = ()

    @property
    def begun(self) -> bool:
        return self._body is not None

    def start(self, event: ev.RunStarted) -> None:
        """The run begins: its input is decoded, and the body runs to its first command."""
        self._lives = lives(self.run_id, event)
        self.time = self._lives[0].began
        self.run.start_at, self.run.deadline = event.start_at, event.deadline
        self.run.asked.first = event
        if event.carried is not None:
            self.run.asked.published |= event.carried["published"]
            self.run.mail.keys.update(dict.fromkeys(event.carried["keys"]))
        self._secrets = secrets_in(event.input)
        try:
            args, kwargs = self.run.workflow.parameters.decode(event.input)
        except (PayloadError, InvalidPayload) as refused:
            place = Place(self.run.workflow.fn.__code__.co_filename, self.run.workflow.fn.__code__.co_firstlineno, "")
            raise Broken("value_undecodable", f"the run's input does not decode: {refused}", place) from None
        except DefinitionError as refused:
            raise Broken("code_error", str(refused), self.place()) from None
        self._body = Body(self.run.workflow.fn, args, kwargs, self)
        self._turn(self._body.begin)

    def go_on(self) -> None:
        """Resume the body while what it waits for has settled."""
        while self.run.ending is None and self._body is not None and not self.closing:
            if self._held_back is not None:
                if self.run.scopes.due:
                    return
                command, self._held_back = self._held_back, None
                self._turn(Yielded, command)
                continue
            if self.awaiting is None:
                return
            match self.awaiting.outcome:
                case Ok(value):
                    self._turn(self._body.send, value)
                case Bad(error):
                    self._turn(self._body.throw, error)
                case _:
                    return

    def _turn(self, resume: Callable[..., Turn], *given: Any) -> None:
        """Run the body to the next command that it has to wait for, or to its end; all of it counts, or nothing."""
        mark = self.run.asked.mark()
        self.awaiting = None
        self._forgotten.clear()
        try:
            self._judge(resume(*given))
        except (Broken, NonDeterminism):
            self.run.asked.back(mark)
            self.run.scopes.due.clear()
            raise

    def _judge(self, turn: Turn) -> None:
        assert self._body is not None
        while True:
            self._no_call_forgotten(turn)
            if self.run.scopes.stuck is not None:
                raise self.run.scopes.stuck
            match turn:
                case Returned(value):
                    return self._returned(value)
                case Raised(error):
                    return self._raised(error)
                case Yielded(value) if not isinstance(value, Command):
                    place = self.place()
                    raise Broken("code_error", guards.foreign(value, place.file, place.line), place)
                case Yielded(value):
                    value.taken = True
                    if self.run.scopes.due:  # one that failed is rolled back before anything else is done
                        self._held_back, self.awaiting = value, Node("")
                        return None
                    self.count += 1
                    position = str(self.count)
                    self.run.scopes.place(value, position)
                    if isinstance(value, ContinueAsNew):
                        return self._continued(value, position)
                    if isinstance(value, RollbackScope):
                        self.awaiting = self.run.scopes.rollback(value, position)
                    else:
                        self.awaiting = node(self.run.asked, value, position)
            match self.awaiting.outcome:
                case Ok(given) if not isinstance(self.awaiting, (StepNode, ChildNode, Group)):
                    turn = self._body.send(given)  # answered at once: spawn, publish, log
                case _:
                    return None

    def _no_call_forgotten(self, turn: Turn) -> None:
        for command, at in self._forgotten:
            if not (isinstance(turn, Raised) and guards.raised_at(turn.error, at)):
                place = Place(command.file, command.line, command.code.co_qualname)
                raise Broken("code_error", guards.told_dropped(command), place)
        self._forgotten.clear()

    def _returned(self, value: Any) -> None:
        if (wrong := guards.returned(value)) is not None:
            code = self.run.workflow.fn.__code__
            place = Place(code.co_filename, code.co_firstlineno, code.co_qualname)
            raise Broken("code_error", f"{place.file}:{place.line}: workflow {self.run.workflow.name!r} {wrong}", place)
        try:
            result = self.run.workflow.result.encode(value)
            size_check(result, self.run.max_payload, f"the result of workflow {self.run.workflow.name!r}")
        except (PayloadError, DefinitionError) as refused:
            raise Broken("code_error", str(refused), self.place()) from None
        self.run.finish(Ending("completed", ev.RunCompleted(result=result)))

    def _continued(self, command: ContinueAsNew, position: str) -> None:
        try:
            event = continued(self.run, command, position)
        except PayloadError as refused:
            raise Broken("code_error", f"{command.file}:{command.line}: {refused}", self.place()) from None
        self.run.finish(Ending("continued", event))

    def _raised(self, error: BaseException) -> None:
        if isinstance(error, NonDeterminism):
            raise error
        if not isinstance(error, self.run.workflow.ends_on):
            place = self.place()
            raise Broken(guards.broken_by(error), guards.broken_code(error, place.file, place.line), place)
        self.run.no_pivot_passed(None, error)
        failure = failure_of(error, secrets=self._secrets)
        self.run.finish(Ending("failed", ev.RunFailed(failure=failure), self.run.workflow.on_failure == "undo", error))

    # ------------------------------------------------------------------------------------- what the body sees

    @property
    def life(self) -> Life:
        """Whose the next command is: the run's own, or of a run that it was forked from."""
        return self._lives[0] if len(self._lives) == 1 else living(self._lives, self.count + 1)

    @property
    def moment(self) -> int:
        """The time that the body sees (microseconds): a fork lives today, once it has come to its own place."""
        return max(self.time, self.life.began)

    @property
    def info(self) -> RunInfo:
        return self.life.info

    @property
    def seed(self) -> str:
        """What is random, and the same at every replay, follows from this."""
        return self.life.run_id

    @property
    def random(self) -> random.Random:
        """The run's own generator; made when first used, for its state is larger than the rest of a run."""
        seed = self.seed
        if seed not in self._random:
            self._random[seed] = random.Random(seed)
        return self._random[seed]

    def dropped(self, command: Command[Any], at: guards.Drop) -> None:
        self._forgotten.append((command, at))

    @property
    def patches(self) -> Mapping[str, bool]:
        """The changes in place that the body has come to, and whether it took the new branch."""
        return self._patches

    def patch(self, name: str) -> bool:
        """Whether the new branch of a change in place is taken (see ``patched``)."""
        if name not in self._patches:
            if self.run.asked.recorded.patched(name):
                self._patches[name] = True
            elif self.run.asked.recorded.replaying():
                self._patches[name] = False
            elif self.closing:
                return True
            else:
                self._patches[name] = True
                self.run.asked.new.append(ev.PatchTaken(position=str(self.count + 1), name=name))
        return self._patches[name]

    def enter(self, scope: Saga) -> str:
        return self.run.scopes.enter(scope)

    def leave(self, scope: Saga, error: BaseException | None) -> None:
        self.run.scopes.leave(scope, error)

    def scope_report(self, scope: str) -> RollbackReport | None:
        return self.run.scopes.report(scope)

    def place(self) -> Place:
        """Where the body stands."""
        if self._body is None:
            code = self.run.workflow.fn.__code__
            return Place(code.co_filename, code.co_firstlineno, code.co_qualname)
        return self._body.place()

    def close(self) -> None:
        """Put the body away; what it yields in its ``finally`` is discarded."""
        if self._body is not None:
            self._body.close(self)
