"""``continue_as_new``: a run that ends and goes on in a successor, so that its history stays short.

The links of such a chain are one run to everybody outside. What the successor has of the run before it (its key, what
was sent and not taken, what was published) is carried over by the engine, in the append that ends this one.

The rule of this file: the command, and when it is refused.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Never

from squidmesh.core import events as ev
from squidmesh.core.calls import Call, Command
from squidmesh.core.children import later_id
from squidmesh.core.nodes import ChildNode
from squidmesh.core.payloads import size_check
from squidmesh.errors import DefinitionError, PayloadError

if TYPE_CHECKING:
    from squidmesh.core.interpreter import Interpreter
    from squidmesh.core.workflow import Workflow


class ContinueAsNew(Command[Never]):
    __slots__ = ("call",)

    def __init__(self, call: Call[Any]) -> None:
        super().__init__(3)
        self.call = call
        call.taken = True

    def told(self) -> str:
        return "`continue_as_new`"


def continue_as_new(call: Call[Any]) -> Command[Never]:
    """End this run, and go on in a new one that takes its place; never returns.

    To everybody outside it stays one run: its key, messages that were not taken, published values and attributes are
    the successor's, and signals, gates, ``result``, ``published``, a rollback and a waiting parent follow to it.

    :param call: the call of a workflow, mostly of the same one.
    :raises DefinitionError: it is none.
    """
    given: object = call
    if not isinstance(given, Call) or given.definition.is_step:
        raise DefinitionError(f"continue_as_new() takes the call of a workflow, not {call!r}")
    return ContinueAsNew(call)


def continued(run: Interpreter, command: ContinueAsNew, position: str) -> ev.RunContinued:
    """How the run ends.

    :raises PayloadError: it cannot end so now: scopes are open, or something spawned is in flight; or the input is too
        large.
    """
    if run.scopes.open:
        raise PayloadError("continue_as_new() inside of `with saga(…)`: leave the scope first, it ends with this run")
    for at, spawned in run.asked.spawned.items():
        if spawned.outcome is None and not (isinstance(spawned, ChildNode) and spawned.detached):
            raise PayloadError(
                f"continue_as_new() while what was spawned at position {at} is in flight: wait for it first"
            )
    call, flow = command.call, _flow(command.call)
    size_check(call.input, run.max_payload, f"the input of workflow {flow.name!r}")
    return ev.RunContinued(
        run_id=later_id(run.run_id, position, run.now()), workflow=flow.name, version=flow.version, input=call.input,
        queue=call.overrides.queue or run.first.queue,
    )  # fmt: skip


def _flow(call: Call[Any]) -> Workflow[..., Any]:
    flow: Any = call.definition
    found: Workflow[..., Any] = flow
    return found
