"""Spans as the OpenTelemetry SDK knows them, handed to the processors of a tracer provider.

The SDK makes spans while things happen; ours are made afterwards, from history, with times and ids of their own. So
they are built as what a processor gets when a span ends, and given to the provider's processors as such: whatever is
configured there (batches, exporters, the resource) holds for them, too.

The rule of this file: the only one that builds SDK spans. The SDK is there when it is imported.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from contextvars import Token
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from opentelemetry.context import Context, attach
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import Event, ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.sampling import Decision
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import (
    Link,
    NonRecordingSpan,
    SpanContext,
    SpanKind,
    Status,
    StatusCode,
    TraceFlags,
    set_span_in_context,
)

from squidmesh.core import trace as ids
from squidmesh.ports import Traced
from squidmesh.telemetry.span import Span
from squidmesh.telemetry.trail import Trail

logger = logging.getLogger("squidmesh.telemetry")

SAMPLED = TraceFlags(TraceFlags.SAMPLED)
UNSAMPLED = TraceFlags(TraceFlags.DEFAULT)
_FINE = Status(StatusCode.UNSET)


class _Resource(Resource):
    """A provider's resource with its hash at hand: exporters ask for it at every span, and it is made of all of it."""

    def __init__(self, own: Resource) -> None:
        super().__init__(own.attributes, own.schema_url)
        self._hash = hash(own)

    def __hash__(self) -> int:
        return self._hash

    def __eq__(self, other: object) -> bool:
        return self is other or super().__eq__(other)


class Spans:
    """:raises AttributeError: a provider without the SDK's processors."""

    def __init__(self, provider: TracerProvider) -> None:
        self._sampler, self._undecided = provider.sampler, False
        self._processor = provider._active_span_processor
        self._resource = _Resource(provider.resource)
        self._scope = InstrumentationScope("squidmesh", _version())
        self.sampled = lru_cache(maxsize=10_000)(self._is_sampled)

    def _is_sampled(self, run_id: str, trace: str | None) -> bool:
        """Whether a run is recorded, as the provider's sampler says: by what it hangs under, and its trace id."""
        above, around = ids.read(trace), Context()
        if above is not None and above.flags != ids.UNDECIDED:
            remote = SpanContext(above.trace_id, above.span_id, True, TraceFlags(above.flags))
            around = set_span_in_context(NonRecordingSpan(remote), around)
        name, told = "RunWorkflow", {"squidmesh.run_id": run_id}
        try:
            result = self._sampler.should_sample(around, ids.trace_id(run_id, trace), name, SpanKind.INTERNAL, told)
            return result.decision is Decision.RECORD_AND_SAMPLE
        except Exception:
            if not self._undecided:
                self._undecided = True
                logger.exception("the sampler raised, and what it does not decide is not traced; this is said once")
            return False

    def traceparent(self, run_id: str, trace: str | None, place: str) -> str:
        """What is sent along with something that belongs to a place in a run."""
        flags = ids.SAMPLED if self.sampled(run_id, trace) else 0
        return str(ids.Trace(ids.trace_id(run_id, trace), ids.span_id(run_id, place), flags))

    def enter(self, call: Traced) -> Token[Context]:
        """Let the span of a call be the current one; to be detached."""
        return attach(set_span_in_context(Here(call, self)))

    def hand_over(self, trail: Trail, spans: Sequence[Span]) -> None:
        """Give spans of one run to the processors."""
        assert trail.started is not None
        trace = trail.started.trace
        trace_id = ids.trace_id(trail.run_id, trace)
        above = ids.read(trace)
        root = None if above is None else SpanContext(trace_id, above.span_id, True, SAMPLED)
        known: dict[str, SpanContext] = {}  # most spans of a run have one parent

        def at(place: str) -> SpanContext:
            found = known.get(place)
            if found is None:
                span_id = ids.span_id(trail.run_id, place)
                found = known[place] = SpanContext(trace_id, span_id, False, SAMPLED)
            return found

        for span in spans:
            parent = root if span.parent is None else at(span.parent)
            self._processor.on_end(self._readable(span, at(span.place), parent))

    def _readable(self, span: Span, context: SpanContext, parent: SpanContext | None) -> ReadableSpan:
        return ReadableSpan(
            name=span.name, context=context, parent=parent, resource=self._resource, attributes=span.attributes,
            events=_events(span) if span.notes or span.failure else (),
            links=[self._link(*link, context.trace_id) for link in span.links] if span.links else (),
            kind=SpanKind.INTERNAL, status=_status(span) if span.wrong else _FINE,
            start_time=span.start * 1000, end_time=span.end * 1000, instrumentation_scope=self._scope,
        )  # fmt: skip

    def _link(self, run_id: str, place: str, inside: bool, trace_id: int) -> Link:
        found = trace_id if inside else ids.trace_id(run_id, None)
        return Link(SpanContext(found, ids.span_id(run_id, place), False, SAMPLED))


class Here(NonRecordingSpan):
    """The span of a call that is being made: it is exported later, from history. What it is called is found out when
    somebody asks, which few steps do."""

    def __init__(self, call: Traced, spans: Spans) -> None:
        self._run, self._place, self._spans = (call.run_id, call.trace), call.place, spans
        self._known: SpanContext | None = None

    def get_span_context(self) -> SpanContext:
        if self._known is None:
            flags = SAMPLED if self._spans.sampled(*self._run) else UNSAMPLED
            span_id = ids.span_id(self._run[0], self._place)
            self._known = SpanContext(ids.trace_id(*self._run), span_id, False, flags)
        return self._known

    def __repr__(self) -> str:
        return f"Here({self.get_span_context()!r})"


def _status(span: Span) -> Status:
    return Status(StatusCode.ERROR, None if span.failure is None else f"{span.failure[0]}: {span.failure[1]}"[:1_000])


def _events(span: Span) -> list[Event]:
    found = [Event(name, attributes, at * 1000) for name, at, attributes in span.notes]
    if span.failure is not None:
        kind, text = span.failure
        found.append(Event("exception", {"exception.type": kind, "exception.message": text}, span.end * 1000))
    return found


def _version() -> str | None:
    try:
        return version("squidmesh")
    except PackageNotFoundError:
        return None


def provider_of(given: Any) -> TracerProvider | None:
    """The provider, if it is one of the SDK's that does something."""
    usable = isinstance(given, TracerProvider) and not getattr(given, "_disabled", False)
    return given if usable else None
