"""What code is at hand: definitions by name, registered when their module is imported.

The rule of this file: one name (and version) is one function. The same file and function replaces what was there, so
that a module can be reloaded; another function of the same name is an error that names both.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from types import ModuleType
from typing import TYPE_CHECKING, Any

from squidmesh.core.guards import place_of
from squidmesh.errors import DefinitionError

if TYPE_CHECKING:
    from squidmesh.core.step import Step
    from squidmesh.core.workflow import Workflow


@dataclass(slots=True)
class Registry:
    """Steps by name, workflows by name and version."""

    steps: dict[str, Step[..., Any]] = field(default_factory=dict)
    workflows: dict[tuple[str, int], Workflow[..., Any]] = field(default_factory=dict)

    def add_step(self, step: Step[..., Any]) -> None:
        known = self.steps.get(step.name)
        if known is not None:
            _same_function("step", step.name, known.fn, step.fn)
        self.steps[step.name] = step

    def add_workflow(self, workflow: Workflow[..., Any]) -> None:
        place = (workflow.name, workflow.version)
        known = self.workflows.get(place)
        if known is not None:
            _same_function("workflow", f"{workflow.name} version {workflow.version}", known.fn, workflow.fn)
        self.workflows[place] = workflow
        self._beside(workflow)

    def _beside(self, workflow: Workflow[..., Any]) -> None:
        """Its deferred calls wait in runs of a companion."""
        from squidmesh.core.deferring import companion

        made = companion(workflow)
        self.workflows[made.name, made.version] = made

    def newest(self, name: str) -> Workflow[..., Any] | None:
        """The highest version of a workflow."""
        versions = [version for known, version in self.workflows if known == name]
        return self.workflows[name, max(versions)] if versions else None


REGISTRY = Registry()


def _same_function(what: str, name: str, known: Any, new: Any) -> None:
    if (known.__code__.co_filename, known.__qualname__) != (new.__code__.co_filename, new.__qualname__):
        raise DefinitionError(
            f"two {what}s are called {name!r}: {known.__qualname__} at {place_of(known)} and "
            f"{new.__qualname__} at {place_of(new)}; give one of them another name with @{what}(name=…)"
        )


@dataclass(frozen=True, slots=True)
class Selection:
    """The definitions that a mesh uses: all that is imported, or those it was restricted to."""

    chosen: Mapping[tuple[str, int], Workflow[..., Any]] | None = None

    @property
    def workflows(self) -> Mapping[tuple[str, int], Workflow[..., Any]]:
        return REGISTRY.workflows if self.chosen is None else self.chosen

    @property
    def steps(self) -> Mapping[str, Step[..., Any]]:
        return REGISTRY.steps


def select(wanted: Any) -> Selection:
    """The selection for ``Mesh(workflows=[module_or_definition, …])``; None: all that is imported, now or later."""
    from squidmesh.core.workflow import Workflow

    if wanted is None:
        return Selection()
    if not isinstance(wanted, Iterable) or isinstance(wanted, str):
        name = getattr(wanted, "__name__", wanted)
        raise DefinitionError(f"workflows= takes a list of modules and workflows, not {wanted!r}: write [{name}]")
    chosen: dict[tuple[str, int], Workflow[..., Any]] = {}
    for item in wanted:
        found = [item] if isinstance(item, Workflow) else _in_module(item)
        chosen.update({(workflow.name, workflow.version): workflow for workflow in found})
        chosen.update({place: flow for place, flow in REGISTRY.workflows.items() if flow.beside in found})
    return Selection(chosen)


def _in_module(item: Any) -> list[Workflow[..., Any]]:
    from squidmesh.core.workflow import Workflow

    if not isinstance(item, ModuleType):
        raise DefinitionError(f"workflows= takes modules and workflows, not {item!r}")
    found = [value for value in vars(item).values() if isinstance(value, Workflow)]
    if not found:
        raise DefinitionError(f"module {item.__name__} has no @workflow")
    return found
