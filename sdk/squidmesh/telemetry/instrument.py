"""OpenTelemetry for meshes: switched on by one call, or by nothing where a global provider of the SDK is set.

The rule of this file: it finds out where a mesh's telemetry goes, as late as it can. As long as nobody has imported the
SDK there is nothing to find, and looking costs next to nothing.
"""

from __future__ import annotations

import functools
import logging
import os
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, TypeVar, cast
from weakref import WeakKeyDictionary, WeakSet

from squidmesh.core import trace as ids
from squidmesh.core.events import Event
from squidmesh.core.status import ENDED, RunStatus
from squidmesh.errors import ConfigurationError
from squidmesh.ports import HistoryRow, Store, Traced
from squidmesh.telemetry.logs import label_logs
from squidmesh.telemetry.pipeline import Pipeline

if TYPE_CHECKING:
    from squidmesh.telemetry.spans import Spans

P = ParamSpec("P")
R = TypeVar("R")

logger = logging.getLogger("squidmesh.telemetry")

_OPEN = [status.value for status in RunStatus if status not in ENDED]
_SDK = ("opentelemetry.sdk.trace", "opentelemetry.sdk.metrics")


class Instrumentation:
    """What ``instrument`` gives: to wait for what is on its way, and to end it."""

    def __init__(self, pipeline: Pipeline, mesh: Any) -> None:
        self._pipeline, self._mesh = pipeline, mesh

    @property
    def dropped(self) -> int:
        """Appends of runs that were not followed, because more came than could be worked off."""
        return self._pipeline.dropped

    def flush(self, timeout: float = 5.0) -> bool:
        """Wait until all that was committed so far is with the provider's processors (flush these yourself).

        :param timeout: seconds. Whether it was done within them.
        """
        return self._pipeline.flush(timeout)

    def remove(self) -> None:
        """Switch it off again: what is committed from now on is not told."""
        self.flush()
        _given.take_back(self._pipeline, self._mesh)


def instrument(
    mesh: Any = None, tracer_provider: Any = None, meter_provider: Any = None, *, logs: bool = True
) -> Instrumentation:
    """Trace the runs of a mesh, and measure them.

    Without this call it is on all the same, for every mesh, where the program has set a global provider of the
    OpenTelemetry SDK (``opentelemetry.trace.set_tracer_provider``, ``….metrics.set_meter_provider``).

    :param mesh: the mesh; by default all meshes of this process.
    :param tracer_provider: a ``TracerProvider`` of the SDK; by default the global one.
    :param meter_provider: a ``MeterProvider``; by default the global one.
    :param logs: also label log records made inside steps: see ``label_logs``.
    :raises ConfigurationError: the SDK is not installed, or there is no provider.
    """
    try:
        pipeline = _pipeline(_tracers(tracer_provider), _meters(meter_provider))
    except ImportError as error:
        raise ConfigurationError(
            f"OpenTelemetry's SDK is not installed ({error}): pip install 'squidmesh[otel]'"
        ) from None
    if pipeline is None:
        raise ConfigurationError(
            "there is no provider to send telemetry to: give tracer_provider= or meter_provider=, set a global one "
            "(opentelemetry.trace.set_tracer_provider), or call squidmesh.telemetry.configure()"
        )
    _given.give(pipeline, mesh)
    if logs:
        label_logs()
    return Instrumentation(pipeline, mesh)


def _harmless(told: Callable[Concatenate[Telemetry, P], R]) -> Callable[Concatenate[Telemetry, P], R | None]:
    """Whoever tells us something is not to hear that it went wrong: this mesh's telemetry is off then."""

    @functools.wraps(told)
    def safely(self: Telemetry, *args: P.args, **kwargs: P.kwargs) -> R | None:
        if self.broken:
            return None
        try:
            return told(self, *args, **kwargs)
        except Exception:
            self.broken = True
            logger.exception("telemetry of this mesh is off from now on: %s raised", told.__name__)
            return None

    return cast("Callable[Concatenate[Telemetry, P], R | None]", safely)


class Telemetry:
    """One connected mesh, as its engine tells it: an observer, and ``Tracing``."""

    def __init__(self, mesh: Any, store: Store) -> None:
        self._mesh, self.store = mesh, store
        self.broken = False
        self._found: Pipeline | None = None
        self._spans: Spans | None = None
        self._looked = -1  # at what was given then

    @_harmless
    def __call__(self, run_id: str, workflow: str, first: int, events: Sequence[Event]) -> None:
        """Hears what was committed."""
        pipeline = self._found if self._looked == _given.changes and self._found is not None else self._look()
        if pipeline is not None:
            pipeline.put(self.store, run_id, workflow, first, events)

    @_harmless
    def taken_up(self, run_id: str, workflow: str, rows: Sequence[HistoryRow]) -> None:
        if (pipeline := self._look()) is not None:
            pipeline.taken_up(self.store, run_id, workflow, rows)

    @_harmless
    def caller(self) -> str | None:
        api = sys.modules.get("opentelemetry.trace")
        if api is None:  # nobody has made a span
            return None
        span = api.get_current_span().get_span_context()
        return str(ids.Trace(span.trace_id, span.span_id, int(span.trace_flags))) if span.is_valid else None

    @_harmless
    def enter(self, call: Traced) -> Any:
        if self._look() is None or self._spans is None:
            return None
        return self._spans.enter(call)

    @_harmless
    def leave(self, token: Any) -> None:
        if token is not None:
            from opentelemetry.context import detach

            detach(token)

    @_harmless
    def bell(self, run_id: str, trace: str | None) -> str | None:
        if self._look() is None or self._spans is None:
            return None
        return self._spans.traceparent(run_id, trace, ids.RUN)

    @_harmless
    def close(self) -> None:
        """The mesh is closed: what is on its way is handed over, if that does not take long."""
        if self._found is not None:
            self._found.flush(2.0)
        _connected.discard(self)

    def _look(self) -> Pipeline | None:
        if self._found is not None and self._looked == _given.changes:
            return self._found
        found, self._looked = _given.to(self._mesh), _given.changes
        if found is None and any(module in sys.modules for module in _SDK):
            found = _by_itself()
        self._found, self._spans = found, None if found is None else found.spans
        if found is not None:
            _connected.add(self)
        return found


class _Given:
    """What ``instrument`` was told; ``changes`` counts the calls."""

    def __init__(self) -> None:
        self.changes = 0
        self._everywhere: Pipeline | None = None
        self._meshes: WeakKeyDictionary[Any, Pipeline] = WeakKeyDictionary()

    def to(self, mesh: Any) -> Pipeline | None:
        return self._meshes.get(mesh, self._everywhere)

    def give(self, pipeline: Pipeline, mesh: Any) -> None:
        if mesh is None:
            self._everywhere = pipeline
        else:
            self._meshes[mesh] = pipeline
        self.changes += 1

    def take_back(self, pipeline: Pipeline, mesh: Any) -> None:
        if mesh is None:
            self._everywhere = None if self._everywhere is pipeline else self._everywhere
        elif self._meshes.get(mesh) is pipeline:
            del self._meshes[mesh]
        self.changes += 1


_given = _Given()
_connected: WeakSet[Telemetry] = WeakSet()
_pipelines: dict[tuple[int, int], tuple[Any, Any, Pipeline]] = {}


def _by_itself() -> Pipeline | None:
    if os.environ.get("SQUIDMESH_TELEMETRY", "").lower() in ("off", "0", "false", "no"):
        return None
    return _pipeline(_tracers(None), _meters(None))


def _pipeline(tracers: Any, meters: Any) -> Pipeline | None:
    """The pipeline to these providers; one for all meshes that use them."""
    if tracers is None and meters is None:
        return None
    key = (id(tracers), id(meters))
    if key not in _pipelines:
        from squidmesh.telemetry.metrics import Metrics
        from squidmesh.telemetry.spans import Spans

        spans = None if tracers is None else Spans(tracers)
        pipeline = Pipeline(spans)
        if meters is not None:
            pipeline.measure(Metrics(meters, lambda: _open_runs(pipeline)))
        _pipelines[key] = tracers, meters, pipeline
    return _pipelines[key][2]


def _open_runs(pipeline: Pipeline) -> Iterable[Mapping[str, int]]:
    for telemetry in list(_connected):
        if telemetry._found is pipeline:
            counts = telemetry.store.count_open()
            yield {status: counts.get(status, 0) for status in _OPEN}


def _tracers(given: Any) -> Any:
    if given is None and "opentelemetry.sdk.trace" not in sys.modules:
        return None
    from opentelemetry import trace

    from squidmesh.telemetry.spans import provider_of

    return provider_of(trace.get_tracer_provider() if given is None else given)


def _meters(given: Any) -> Any:
    if given is not None or "opentelemetry.sdk.metrics" not in sys.modules:
        return given
    from opentelemetry import metrics
    from opentelemetry.sdk.metrics import MeterProvider

    found = metrics.get_meter_provider()
    return found if isinstance(found, MeterProvider) else None
