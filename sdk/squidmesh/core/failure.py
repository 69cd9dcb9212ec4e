"""A failure as a value: what was raised, as type, message, data and cause, without the exception itself.

The rule of this file: whatever an exception's class does (an ``__init__`` of its own, a ``__str__`` that
raises, a cycle of causes, huge or secret attributes), describing it gives a small JSON value and never
raises.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from pydantic import BaseModel, JsonValue, ValidationError
from pydantic_core import from_json, to_json

from squidmesh.core.secrecy import MASK
from squidmesh.errors import GatherFailed

MAX_MESSAGE: Final = 8_192  # bytes of UTF-8
MAX_DATA: Final = 16_384  # bytes of JSON
MAX_CAUSES: Final = 10
_MAX_REPR: Final = 200  # characters, of a value that has no JSON form

_NOISE: Final = frozenset({"builtins.object", "builtins.BaseException", "builtins.Exception"})
_NO_EXCEPTION: Final = frozenset(
    {
        "builtins.KeyboardInterrupt",
        "builtins.SystemExit",
        "builtins.GeneratorExit",
        "asyncio.exceptions.CancelledError",
        "squidmesh.errors.Cancelled",
    }
)


_ExceptionClass = type[BaseException]  # in Failure, ``type`` is the field


class Failure(BaseModel, frozen=True):
    """What went wrong, as it is stored and shown.

    ``type`` is the class as ``module.QualName``, ``bases`` the names of its other classes (nearest first),
    ``attempts`` how often it was tried, ``cause`` the failure that it came from.
    """

    type: str
    message: str
    data: JsonValue | None = None
    attempts: int = 1
    cause: Failure | None = None
    bases: tuple[str, ...] = ()

    def matches(self, cls: _ExceptionClass | str) -> bool:
        """Whether this, or a failure that caused it, was raised as ``cls`` (a class or ``module.QualName``).

        Compared are names, as they were stored: of the class and of its bases. A bare name of a built-in
        (``"ValueError"``) will do.
        """
        wanted = cls if isinstance(cls, str) else type_name(cls)
        if "." not in wanted:
            wanted = f"builtins.{wanted}"
        return any(link._is(wanted) for link in self.chain())

    def _is(self, wanted: str) -> bool:
        match wanted:
            case "builtins.BaseException":
                return True
            case "builtins.Exception":  # is not stored, as nearly all are
                return self.type not in _NO_EXCEPTION and _NO_EXCEPTION.isdisjoint(self.bases)
            case _:
                return wanted == self.type or wanted in self.bases

    def chain(self) -> Iterator[Failure]:
        """This failure, then its cause, and so on."""
        link: Failure | None = self
        while link is not None:
            yield link
            link = link.cause

    def to_json(self) -> dict[str, Any]:
        """The failure as a JSON object; what is at its default is left out."""
        stored: dict[str, Any] = {"type": self.type, "message": self.message}
        if self.data is not None:
            stored["data"] = self.data
        if self.attempts != 1:
            stored["attempts"] = self.attempts
        if self.bases:
            stored["bases"] = list(self.bases)
        if self.cause is not None:
            stored["cause"] = self.cause.to_json()
        return stored

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> Failure:
        """The failure that ``to_json`` gave; fields that it does not know are ignored."""
        return cls.model_validate(stored, extra="ignore")

    def __str__(self) -> str:
        name = _unqualified(self.type)
        return f"{name}: {self.message}" if self.message else name


def type_name(cls: type) -> str:
    """``module.QualName`` of a class, the form in which failures store it."""
    return f"{cls.__module__}.{cls.__qualname__}"


def failure_of(exc: BaseException, *, attempts: int = 1, secrets: tuple[str, ...] = ()) -> Failure:
    """What a run lets out: the failure inside, not its wrapper.

    Of an error that carries a ``failure`` (StepFailed, ChildFailed) that one; of GatherFailed the first
    of its failures; of any other exception its description.
    """
    if isinstance(exc, GatherFailed) and exc.failures:
        return next(iter(exc.failures.values()))
    carried = _attribute(exc, "failure")
    if isinstance(carried, Failure):
        return carried
    return describe(exc, attempts=attempts, secrets=secrets)


def describe(exc: BaseException, *, attempts: int = 1, secrets: tuple[str, ...] = ()) -> Failure:
    """Describe any exception; never raises.

    ``attempts``: how often the step was tried. ``secrets``: texts to be masked wherever they would
    appear. Causes are followed as Python shows them (``__cause__``, else ``__context__`` unless
    suppressed), to a depth of ten.
    """
    scrub = _Scrub(secrets)
    links = list(_causes(exc))
    failure: Failure | None = None
    for link in reversed(links):
        failure = Failure(
            type=type_name(type(link)),
            message=_cut(scrub.text(_message(link)), MAX_MESSAGE),
            data=_bounded(scrub.json(_data(link))),
            attempts=attempts if link is exc else 1,
            cause=failure,
            bases=tuple(n for n in map(type_name, type(link).__mro__[1:]) if n not in _NOISE),
        )
    assert failure is not None
    return failure


def _causes(exc: BaseException) -> Iterator[BaseException]:
    seen: set[int] = set()
    link: BaseException | None = exc
    while link is not None and id(link) not in seen and len(seen) <= MAX_CAUSES:
        seen.add(id(link))
        yield link
        context = None if link.__suppress_context__ else link.__context__
        link = context if link.__cause__ is None else link.__cause__


def _unqualified(name: str) -> str:
    """``QualName`` of ``module.QualName``, as far as the text tells: from the first capitalised part on."""
    parts = name.split(".")
    for at, part in enumerate(parts):
        if part.lstrip("_")[:1].isupper():
            return ".".join(parts[at:])
    return parts[-1]


def _message(exc: BaseException) -> str:
    try:
        if isinstance(exc, ValidationError):
            return _validation_message(exc)
        return _utf8(str(exc))
    except BaseException as broken:  # noqa: BLE001 - the exception's own __str__ is broken: say so instead
        return f"(its message cannot be read: __str__ raised {type(broken).__name__})"


def _validation_message(exc: ValidationError) -> str:
    """Where and what, not with which value: pydantic's own message repeats it, and it may be a secret."""
    problems = exc.errors(include_url=False, include_context=False, include_input=False)
    lines = "; ".join(f"{'.'.join(map(str, p['loc'])) or 'value'}: {p['msg']}" for p in problems)
    return f"{len(problems)} validation error{'s' * (len(problems) != 1)} for {exc.title}: {lines}"


def _data(exc: BaseException) -> dict[str, Any] | None:
    """The exception's public attributes, and its args where they say more than the message does."""
    data: dict[str, Any] = {}
    attributes = _attribute(exc, "__dict__")
    if isinstance(attributes, dict):
        for name, value in attributes.items():
            if isinstance(name, str) and not name.startswith("_"):
                data[_utf8(name)] = _json(value)
    args = _attribute(exc, "args")
    if isinstance(args, tuple) and args and not (len(args) == 1 and isinstance(args[0], str)):
        data.setdefault("args", [_json(arg) for arg in args])
    return data or None


def _attribute(exc: BaseException, name: str) -> Any:
    try:
        return getattr(exc, name, None)
    except BaseException:  # noqa: BLE001 - a property or __getattr__ of the exception's own is broken
        return None


def _json(value: Any) -> Any:
    """The JSON form of a value, else a short repr of it."""
    if isinstance(value, Failure):
        return value.to_json()
    if isinstance(value, Iterator):
        return _short_repr(value)  # reading it would use it up, or never end
    try:
        return from_json(to_json(value, inf_nan_mode="strings", bytes_mode="base64", fallback=_short_repr))
    except BaseException:  # noqa: BLE001 - values of the user's classes may do anything when read
        return _short_repr(value)


def _short_repr(value: Any) -> str:
    try:
        text = _utf8(repr(value))
    except BaseException:  # noqa: BLE001 - a __repr__ that raises
        text = f"<{type_name(type(value))}>"
    return text if len(text) <= _MAX_REPR else text[: _MAX_REPR - 1] + "…"


def _bounded(data: Any) -> Any:
    """Data within its size: the largest parts give way to a short repr, then go."""
    if data is None or len(to_json(data)) <= MAX_DATA:
        return data
    room = MAX_DATA - 64
    kept: dict[str, Any] = {}
    for name, value in sorted(data.items(), key=lambda item: len(to_json(item[1]))):
        for form in (value, _short_repr(value)):
            size = len(to_json({name: form})) + 1
            if size <= room:
                kept[name] = form
                room -= size
                break
        else:
            kept["…"] = "more was left out"
            break
    return kept


def _utf8(text: str) -> str:
    """The text without lone surrogates, which no database stores."""
    return text.encode("utf-8", "replace").decode("utf-8")


def _cut(text: str, limit: int) -> str:
    if len(text) * 4 <= limit or len(encoded := text.encode()) <= limit:
        return text
    return encoded[: limit - 3].decode("utf-8", "ignore") + "…"


class _Scrub:
    """Replaces secrets in texts and JSON values; the longest first, so that none is left in part."""

    def __init__(self, secrets: tuple[str, ...]) -> None:
        self.secrets = sorted({s for s in secrets if s}, key=len, reverse=True)

    def text(self, text: str) -> str:
        for secret in self.secrets:
            text = text.replace(secret, MASK)
        return text

    def json(self, value: Any) -> Any:
        if not self.secrets:
            return value
        match value:
            case str():
                return self.text(value)
            case list():
                return [self.json(item) for item in value]
            case dict():
                return {self.text(name): self.json(item) for name, item in value.items()}
            case int() | float() if not isinstance(value, bool):
                return MASK if str(value) in self.secrets else value
            case _:
                return value
