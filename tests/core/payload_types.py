"""Types, values and ways to look at them that the tests of payloads share."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from typing import Any, Literal, NamedTuple
from uuid import UUID

import pytest
from hypothesis import strategies as st
from pydantic import (
    AliasChoices,
    BaseModel,
    ConfigDict,
    Field,
    RootModel,
    SecretBytes,
    SecretStr,
    computed_field,
)
from typing_extensions import TypedDict

from squidmesh.core.payloads import Value, dumps, loads
from squidmesh.errors import InvalidPayload


class Line(BaseModel):
    sku: str
    count: int = 1


class Order(BaseModel):
    id: str
    cents: int
    lines: list[Line] = []


class Open(BaseModel):
    model_config = ConfigDict(extra="allow")
    id: int = 0


class Closed(BaseModel):
    model_config = ConfigDict(extra="forbid")
    id: int = 0


class Mixed(BaseModel):
    open: Open = Open()
    closed: Closed = Closed()
    plain: Line = Line(sku="a")
    either: list[Open | Line] = []
    by_name: dict[str, Line] = {}


class Login(BaseModel):
    user: str
    password: SecretStr


class Strict(BaseModel):
    model_config = ConfigDict(strict=True)
    at: datetime
    id: UUID
    pair: tuple[int, str]
    token: SecretStr
    key: SecretBytes


class Aliased(BaseModel):
    one: int = Field(alias="One")
    two: int = Field(validation_alias=AliasChoices("Two", "Deux"), serialization_alias="zwei")


class Card(BaseModel):
    kind: Literal["card"] = Field("card", alias="Kind")


class Cash(BaseModel):
    kind: Literal["cash"] = Field("cash", alias="Kind")


class Area(BaseModel):
    model_config = ConfigDict(extra="forbid")
    side: int

    @computed_field  # type: ignore[prop-decorator]
    @property
    def area(self) -> int:
        return self.side**2


class Blob(BaseModel):
    model_config = ConfigDict(ser_json_bytes="base64", val_json_bytes="base64")
    data: bytes
    token: SecretStr
    more: Any = None


class Nested(BaseModel):
    inner: "Nested | None" = None
    token: SecretStr = SecretStr("deep")


class Tokens(RootModel[dict[str, SecretStr]]):
    pass


class Colour(Enum):
    RED = "red"


class Point(NamedTuple):
    x: int
    token: SecretStr


class Size(TypedDict):
    width: int


@dataclass
class Account:
    name: str
    pin: SecretStr


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text(max_size=5) | st.sampled_from(["$secret", "$$secret", "form"]), inner, max_size=4)
    ),
    max_leaves=15,
)
SECRETS = st.integers(0, 99).flatmap(
    lambda n: st.sampled_from([SecretStr(f"<secret {n}>"), SecretBytes(b"<secret %d>" % n), SecretBytes(b"\xff")])
)
WITH_SECRETS = st.recursive(
    JSON | SECRETS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=10,
)


def through(annotation: Any, value: Any) -> Any:
    """The value, stored as text and read back."""
    kept = Value(annotation, "it")
    return kept.decode(loads(dumps(kept.encode(value))))


def refusal(call: Callable[[], Any]) -> dict[str, str]:
    with pytest.raises(InvalidPayload) as refused:
        call()
    return refused.value.errors
