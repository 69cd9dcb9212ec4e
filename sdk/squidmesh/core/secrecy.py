"""Secrets inside JSON payloads: marked where they are stored, masked wherever they are shown.

A ``SecretStr`` is stored as ``{"$secret": "its value"}``; a ``SecretBytes`` has a ``"form"`` beside it, utf-8 or
base64. The rule of this file: a dict with the key ``$secret`` is a mark, always.
A key of the user's own that looks like it gets one more ``$`` in front when it is stored, and loses it
when it is read.
"""

from __future__ import annotations

import math
import re
from base64 import b64decode, b64encode
from collections.abc import Iterator, Mapping
from collections.abc import Set as AbstractSet
from typing import Any, Final

from pydantic import Secret, SecretBytes, SecretStr
from pydantic_core import to_json, to_jsonable_python

KEY: Final = "$secret"
MASK: Final = "**********"

_REPLACED: Final = "\ufffd".encode()
_LOOKALIKE: Final = re.compile(r"\$+secret")
_PLAIN: Final = frozenset({str, int, bool})
_SECRETS: Final = (SecretStr, SecretBytes, Secret)


class NoJson(ValueError):
    """The value holds something that has no JSON form."""


def needs_mark(text: bytes) -> bool:
    """Whether the JSON text of a dumped value may hold what ``mark`` treats; false alarms cost only time."""
    return b"*****" in text or b'secret"' in text or b"NaN" in text or b"Infinity" in text or _REPLACED in text


def is_marked(text: bytes) -> bool:
    """Whether the JSON text of a stored value may hold a mark or an escaped key."""
    return b'secret"' in text


def mark(form: Any, twin: Any) -> Any:
    """The JSON form of a value with its secrets marked, and its sets in an order that is always the same.

    ``form`` is what pydantic dumps for JSON, where secrets are masked already; ``twin`` what it dumps of
    the same value for Python, where they are still objects: the same tree, in the same order.

    Raises: NoJson for a number that JSON does not have, and for a secret that would be lost.
    """
    if type(form) in _PLAIN and type(form) is type(twin):
        return form
    if isinstance(twin, _SECRETS):
        return _marked(twin.get_secret_value())
    match form:
        case dict():
            twins = _paired(len(form), twin.items() if isinstance(twin, Mapping) else None, (None, None))
            return {_key(k, own): mark(v, t) for (k, v), (own, t) in zip(form.items(), twins, strict=True)}
        case list():
            twins = _paired(len(form), twin if isinstance(twin, list | tuple | AbstractSet) else None)
            members = [mark(v, t) for v, t in zip(form, twins, strict=True)]
            return sorted(members, key=to_json) if isinstance(twin, AbstractSet) else members
        case float() | None:
            for number in (form, twin):
                if isinstance(number, float) and not math.isfinite(number):
                    raise NoJson(f"JSON has no number {number}")
            return form
        case str() if form == MASK != twin:
            raise NoJson("a secret in a form of its own cannot be stored: it would be stored masked")
        case _:
            return form


def mask(stored: Any) -> Any:
    """The stored value as views and logs may show it: each secret ``**********``, keys the user's own."""
    if type(stored) is str or stored is None:  # as most are
        return stored
    match stored:
        case dict():
            return MASK if KEY in stored else {_unescaped(k) if k[:1] == "$" else k: mask(v) for k, v in stored.items()}
        case list():
            return [mask(v) for v in stored]
        case _:
            return stored


def secrets_in(stored: Any) -> tuple[str, ...]:
    """The texts of all secrets in a stored value, for scrubbing; each once, empty ones left out."""
    return tuple(dict.fromkeys(text for text in _texts(stored) if text))


def reveal(stored: Any, *, objects: bool = False) -> Any:
    """The stored value without marks and escapes; secrets plain, or as ``objects`` (SecretStr and so on)."""
    match stored:
        case dict():
            if KEY not in stored:
                return {_unescaped(k): reveal(v, objects=objects) for k, v in stored.items()}
            match stored[KEY], stored.get("form"):
                case secret, "base64":
                    return SecretBytes(b64decode(secret)) if objects else b64decode(secret)
                case secret, "utf-8" if objects:
                    return SecretBytes(secret.encode())
                case str(secret), _ if objects:
                    return SecretStr(secret)
                case secret, _:
                    return Secret(secret) if objects else secret
        case list():
            return [reveal(v, objects=objects) for v in stored]
        case _:
            return stored


def has_binary(stored: Any) -> bool:
    """Whether a secret in the stored value is bytes that are no text, which only objects can bring back."""
    match stored:
        case dict():
            if KEY in stored:
                return stored.get("form") == "base64"
            return any(map(has_binary, stored.values()))
        case list():
            return any(map(has_binary, stored))
        case _:
            return False


def _marked(secret: Any) -> dict[str, Any]:
    if not isinstance(secret, bytes):
        return {KEY: to_jsonable_python(secret)}
    try:
        return {KEY: secret.decode("utf-8"), "form": "utf-8"}
    except UnicodeDecodeError:
        return {KEY: b64encode(secret).decode("ascii"), "form": "base64"}


def _texts(stored: Any, secret: bool = False) -> Iterator[str]:
    match stored:
        case dict():
            if not secret and stored.get("form") == "base64" and KEY in stored:
                yield stored[KEY]
                yield repr(b64decode(stored[KEY]))[2:-1]  # as an exception's text would have it
                return
            for key, value in stored.items():
                yield from _texts(value, secret or key == KEY)
        case list():
            for value in stored:
                yield from _texts(value, secret)
        case _:
            if secret and stored is not None and not isinstance(stored, bool):
                yield str(stored)


def _paired(length: int, twins: Any, none: Any = None) -> Any:
    """The twins, when there are as many; a serializer of the user's own may have made another tree."""
    return twins if twins is not None and len(twins) == length else [none] * length


def _key(key: str, own: Any) -> str:
    """A key as it is stored; pydantic replaces in keys, without a word, what has no UTF-8."""
    if isinstance(own, str) and "\ufffd" in key and "\ufffd" not in own:
        raise NoJson(f"the key {own!a} is no text: surrogates not allowed")
    return "$" + key if key[:1] == "$" and _LOOKALIKE.fullmatch(key) else key


def _unescaped(key: str) -> str:
    return key[1:] if key.startswith("$$") and _LOOKALIKE.fullmatch(key) else key
