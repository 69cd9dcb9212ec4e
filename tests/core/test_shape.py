from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import PurePosixPath
from typing import Annotated, Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import (
    BaseModel,
    Field,
    Json,
    Secret,
    SecretBytes,
    SecretStr,
    field_validator,
)

from squidmesh.core.payloads import Value, dumps
from squidmesh.errors import DefinitionError, InvalidPayload, PayloadError
from tests.core.payload_types import (
    Account,
    Aliased,
    Area,
    Blob,
    Card,
    Cash,
    Closed,
    Colour,
    Line,
    Login,
    Mixed,
    Nested,
    Open,
    Order,
    Point,
    Size,
    Strict,
    Tokens,
    refusal,
    through,
)


@pytest.mark.parametrize(
    ("annotation", "value"),
    [
        (int, 2**80),
        (datetime, datetime(2026, 1, 1, tzinfo=UTC)),
        (timedelta, timedelta(days=1, microseconds=3)),
        (Decimal, Decimal("1.20")),
        (UUID, UUID(int=7)),
        (PurePosixPath, PurePosixPath("/a/b")),
        (bytes, b"ab"),
        (Colour, Colour.RED),
        (set[int], {1, 2}),
        pytest.param(frozenset[str], frozenset("ab"), id="a frozenset"),  # whose repr is another in each process
        (tuple[int, ...], (1, 2)),
        (dict[int, str], {1: "a"}),
        (dict[Colour, int], {Colour.RED: 1}),
        (None, None),
        (Size, {"width": 3}),
        (Order | None, Order(id="o", cents=1, lines=[Line(sku="x")])),
        (Login, Login(user="ann", password=SecretStr("hush"))),
        (Account, Account("ann", SecretStr("hush"))),
        (Point, Point(1, SecretStr("hush"))),
        (Tokens, Tokens({"a": SecretStr("hush")})),
        (Nested, Nested(inner=Nested())),
        (Aliased, Aliased.model_validate({"One": 1, "Deux": 2})),
        (Annotated[Card | Cash, Field(discriminator="kind")], Cash.model_validate({})),
        (Area, Area(side=3)),
        (Blob, Blob(data=b"\xff\xfe", token=SecretStr("hush"), more=[1])),
        (SecretBytes, SecretBytes(b"\xff\x00")),
        (Secret[int], Secret(3)),
        (list[Secret[date]], [Secret(date(2026, 1, 1))]),
        (Open, Open(id=1, more=SecretStr("hush"))),  # type: ignore[call-arg]
        (Mixed, Mixed(open=Open(x=[1]), either=[Open(y=2), Line(sku="b")])),  # type: ignore[call-arg]
        (
            Strict,
            Strict(
                at=datetime(2026, 1, 1, tzinfo=UTC),
                id=UUID(int=1),
                pair=(1, "a"),
                token=SecretStr("hush"),
                key=SecretBytes(b"k"),
            ),
        ),
        (Any, {"a": [1, 2.5, None, True, "x"]}),
        (Any, SecretStr("hush")),
        (dict[str, Any], {"a": [SecretStr("hush")], "$secret": 3, "$$secret": [], "d": {"$secret": "x"}}),
        (dict[str, str], {"$secret": "x"}),
    ],
    ids=str,
)
def test_a_value_comes_back_as_it_went(annotation: Any, value: Any) -> None:
    back = through(annotation, value)
    assert back == value
    assert type(back) is type(value)


def test_any_takes_what_pydantic_knows_and_gives_back_its_json() -> None:
    told = {Colour.RED: Order(id="o", cents=1), "at": date(2026, 1, 1), "set": {2, 1}, "pair": (1, 2)}
    assert through(Any, told) == {
        "red": {"id": "o", "cents": 1, "lines": []},
        "at": "2026-01-01",
        "set": [1, 2],
        "pair": [1, 2],
    }


def test_json_text_is_stored_parsed_or_as_text_but_comes_back() -> None:
    kept = Value(Json[list[int]], "it")
    assert kept.decode(kept.encode("[1]")) == [1]


@given(st.sets(st.text(max_size=5)))
def test_equal_sets_are_stored_alike(members: set[str]) -> None:
    backwards = set(sorted(members, reverse=True))  # noqa: C414 - the order of insertion may show
    for annotation in (set[str], Any):
        kept = Value(annotation, "it")
        assert kept.encode(members) == kept.encode(backwards) == sorted(members, key=dumps)


@pytest.mark.parametrize(
    ("annotation", "value", "told"),
    [
        (int, "x", "valid integer"),
        (Order, {"id": "o"}, "cents: missing"),
        (float, float("nan"), "JSON has no number nan"),
        (list[float], [1.0, float("-inf")], "JSON has no number -inf"),
        (Any, {"a": [float("nan")]}, "JSON has no number nan"),
        (Any, object(), "unknown type: <class 'object'>"),
        (Any, ValueError("x"), "unknown type"),
        (str, "\ud800", "surrogates not allowed"),
        (dict[str, int], {"\ud800": 1}, "surrogates not allowed"),
        (bytes, b"\xff", "ser_json_bytes='base64'"),
        (Order, Order.model_construct(id=3, cents="x"), "Expected `str`"),
    ],
)
def test_a_value_that_cannot_be_stored_is_named(annotation: Any, value: Any, told: str) -> None:
    with pytest.raises(PayloadError, match="the result of step 'charge' cannot be stored: ") as refused:
        Value(annotation, "the result of step 'charge'").encode(value)
    assert told in str(refused.value)


def test_a_value_that_holds_itself_is_refused() -> None:
    loop: list[Any] = []
    loop.append(loop)
    with pytest.raises(PayloadError):
        Value(Any, "it").encode(loop)


def test_a_validator_that_breaks_refuses_the_value() -> None:
    class Fragile(BaseModel):
        a: int

        @field_validator("a")
        @classmethod
        def broken(cls, value: int) -> int:
            raise TypeError("oops")

    with pytest.raises(PayloadError, match="TypeError: oops"):
        Value(Fragile, "it").encode({"a": 1})
    with pytest.raises(InvalidPayload, match="TypeError: oops"):
        Value(Fragile, "it").decode({"a": 1})


def test_what_does_not_decode_is_an_invalid_payload() -> None:
    errors = refusal(lambda: Value(Order, "signal 'paid'").decode({"id": 3, "lines": [{"count": "x"}]}))
    assert set(errors) == {"id", "cents", "lines.0.sku", "lines.0.count"}
    assert refusal(lambda: Value(int, "it").decode("x")).keys() == {"value"}


def test_unknown_fields_are_ignored_when_a_value_is_read() -> None:
    assert Value(Order, "it").decode({"id": "o", "cents": 1, "later": 2}) == Order(id="o", cents=1)
    assert Value(Closed, "it").decode({"id": 1, "later": 2}) == Closed(id=1)


def test_a_model_that_allows_extra_fields_keeps_them_beside_one_that_forbids_them() -> None:
    stored = {"open": {"x": 1}, "closed": {"x": 1}, "plain": {"sku": "a", "x": 1}, "x": 1}
    read = Value(Mixed, "it").decode(stored)
    assert read == Mixed(open=Open(x=1))  # type: ignore[call-arg]


def test_values_are_decoded_anew_each_time() -> None:
    kept = Value(dict[str, list[int]], "it")
    stored = kept.encode({"a": [1]})
    kept.decode(stored)["a"].append(2)
    assert kept.decode(stored) == {"a": [1]}


@pytest.mark.parametrize("annotation", [type("Thing", (), {}), "Nowhere"])
def test_a_type_without_a_json_form_is_a_definition_error(annotation: Any) -> None:
    with pytest.raises(DefinitionError, match="the result of step 'x': the type"):
        Value(annotation, "the result of step 'x'")
