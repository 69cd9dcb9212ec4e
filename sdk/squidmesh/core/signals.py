"""Signals: named messages to a run, kept in order until the workflow waits for them.

The rule of this file: a message is JSON until a wait takes it, and a wait takes one that fits its declared type. What
does not fit is put aside, on record, and the wait goes on.
"""

from __future__ import annotations

from collections import OrderedDict
from datetime import timedelta
from typing import Any, Generic, TypeVar, overload

from squidmesh.core import events as ev
from squidmesh.core.calls import Command, seconds
from squidmesh.core.payloads import Value
from squidmesh.errors import DefinitionError, InvalidPayload, PayloadError

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)


class Signal(Generic[T]):
    """A kind of message: ``PAID = Signal("payment.done", Payment)``.

    :param name: what senders and waits know it by.
    :param type: what its payload is; for a union write ``Signal[A | B]("x", A | B)``. Without one it is ``True``.
    """

    @overload
    def __init__(self: Signal[bool], name: str) -> None: ...
    @overload
    def __init__(self, name: str, type: type[T]) -> None: ...
    @overload
    def __init__(self, name: str, type: Any) -> None: ...
    def __init__(self, name: str, type: Any = bool) -> None:
        self.name = signal_name(name)
        self.value = Value(type, f"the payload of signal {name!r}")

    @overload
    def wait(self) -> Command[T]: ...
    @overload
    def wait(self, *, timeout: float | timedelta) -> Command[T | None]: ...
    @overload
    def wait(self, *, timeout: float | timedelta | None) -> Command[T | None]: ...
    def wait(self, *, timeout: float | timedelta | None = None) -> Command[Any]:
        """Wait for the next one; gives its payload.

        :param timeout: seconds (or a timedelta); then None, and that is recorded.
        """
        return SignalWait(self, None if timeout is None else seconds("timeout", timeout))

    def send(self, run_id: str, payload: T) -> Command[None]:
        """Send it to another run, once, however often the workflow is replayed."""
        return SignalSend(str(run_id), self.name, self.encode(payload))

    def encode(self, payload: object) -> Any:
        """The JSON form of a payload.

        :raises InvalidPayload: it does not fit the type.
        """
        try:
            return self.value.encode(payload)
        except PayloadError as refused:
            raise InvalidPayload(self.value.what, {"value": str(refused)}) from refused

    def __repr__(self) -> str:
        return f"<signal {self.name}>"


class SignalWait(Command[Any]):
    __slots__ = ("signal", "timeout")

    def __init__(self, signal: Signal[Any], timeout: float | None) -> None:
        super().__init__(3)
        self.signal, self.timeout = signal, timeout

    def told(self) -> str:
        return f"the wait for signal {self.signal.name!r}"


class SignalSend(Command[None]):
    __slots__ = ("run_id", "name", "payload")

    def __init__(self, run_id: str, name: str, payload: Any) -> None:
        super().__init__(3)
        self.run_id, self.name, self.payload = run_id, name, payload

    def told(self) -> str:
        return f"the sending of signal {self.name!r}"


def signal_name(name: object) -> str:
    """The name of a signal, as people give it."""
    if not isinstance(name, str) or not name.strip() or "\0" in name:
        raise DefinitionError(f"the name of a signal is text that is not empty, not {name!r}")
    return name


class Mailbox:
    """What was sent to a run and is not taken yet, by name, in order of arrival."""

    __slots__ = ("keys", "_waiting", "_received")

    def __init__(self) -> None:
        self.keys: dict[str, None] = {}  # of all that came, the newest last
        self._waiting: dict[str, OrderedDict[int, Any]] = {}
        self._received = 0

    def apply(self, event: ev.SignalReceived | ev.SignalTaken | ev.SignalRejected) -> None:
        """Take in one event."""
        match event:
            case ev.SignalReceived():
                self._received += 1
                self._waiting.setdefault(event.name, OrderedDict())[self._received] = event.payload
                if event.key is not None:
                    self.keys[event.key] = None
            case ev.SignalTaken() | ev.SignalRejected():
                self.take(event.name, event.number)

    def first(self, name: str) -> tuple[int, Any] | None:
        """The oldest message of a name, with its number."""
        waiting = self._waiting.get(name)
        return next(iter(waiting.items())) if waiting else None

    def take(self, name: str, number: int) -> Any:
        """The payload of a message, which is not waiting any more."""
        waiting = self._waiting.get(name)
        return None if waiting is None else waiting.pop(number, None)

    def untaken(self) -> list[tuple[str, Any]]:
        """All that waits, in order of arrival."""
        found = [(n, name, payload) for name, kept in self._waiting.items() for n, payload in kept.items()]
        return [(name, payload) for _, name, payload in sorted(found, key=lambda message: message[0])]
