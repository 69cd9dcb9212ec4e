from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from pydantic import (
    BaseModel,
    ConfigDict,
    Secret,
    SecretBytes,
    SecretStr,
    field_serializer,
)

from squidmesh.core.payloads import Value, dumps, loads, mask, secrets_in
from squidmesh.errors import PayloadError
from tests.core.payload_types import JSON, WITH_SECRETS, Blob, Login, through


def test_secrets_are_stored_as_they_are_and_marked() -> None:
    kept = Value(Login, "it")
    stored = kept.encode({"user": "ann", "password": "hush"})
    assert stored == {"user": "ann", "password": {"$secret": "hush"}}
    assert mask(stored) == {"user": "ann", "password": "**********"}
    assert secrets_in(stored) == ("hush",)


def test_all_kinds_of_secrets_are_found() -> None:
    told = [SecretStr("a"), {"x": SecretBytes(b"b")}, SecretBytes(b"\xff"), Secret({"n": [3]}), SecretStr("a")]
    stored = Value(Any, "it").encode(told)
    assert Value(Any, "it").decode(stored) == told
    assert secrets_in(stored) == ("a", "b", "/w==", r"\xff", "3")
    assert mask(stored) == ["**********", {"x": "**********"}, "**********", "**********", "**********"]


def test_the_key_of_a_mark_in_a_users_dict_is_no_mark() -> None:
    stored = Value(Any, "it").encode({"$secret": "not one", "a": {"$$secret": 1}})
    assert secrets_in(stored) == ()
    assert mask(stored) == {"$secret": "not one", "a": {"$$secret": 1}}


def test_text_that_looks_masked_is_no_secret() -> None:
    assert through(Any, {"a": "**********"}) == {"a": "**********"}
    assert through(str, "**********") == "**********"


def test_a_secret_that_its_model_masks_by_itself_is_refused_instead_of_lost() -> None:
    class Shy(BaseModel):
        token: SecretStr

        @field_serializer("token", when_used="json")
        def masked(self, token: SecretStr) -> str:
            return "**********"

    assert through(Shy, Shy(token=SecretStr("hush"))) == Shy(token=SecretStr("hush"))

    class Odd(BaseModel):
        tokens: list[SecretStr]

        @field_serializer("tokens", when_used="json")
        def masked(self, tokens: list[SecretStr]) -> dict[str, str]:
            return {"all": "**********"}

    with pytest.raises(PayloadError, match="would be stored masked"):
        Value(Odd, "it").encode(Odd(tokens=[SecretStr("hush")]))


def test_secret_bytes_that_would_not_come_back_are_refused() -> None:
    class Vault(Blob):
        key: SecretBytes

    vault = Vault(data=b"\xff", token=SecretStr("a"), key=SecretBytes(b"hush"))
    assert through(Vault, vault) == vault

    class Timed(Vault):
        model_config = ConfigDict(strict=True)
        at: datetime

    with pytest.raises(PayloadError, match="its secrets would not come back"):
        Value(Timed, "it").encode(Timed(**dict(vault), at=datetime(2026, 1, 1, tzinfo=UTC)))


def test_a_field_that_is_no_secret_any_more_is_still_read() -> None:
    class Plain(BaseModel):
        user: str
        password: str

    stored = Value(Login, "it").encode(Login(user="ann", password=SecretStr("hush")))
    assert Value(Plain, "it").decode(stored).password == "hush"
    assert Value(dict[str, Any], "it").decode(stored)["password"] == SecretStr("hush")


@given(JSON)
def test_any_json_comes_back_and_is_shown_as_it_is(value: Any) -> None:
    stored = Value(Any, "it").encode(value)
    assert through(Any, value) == value
    assert mask(stored) == value
    assert secrets_in(stored) == ()


@given(WITH_SECRETS)
def test_secrets_anywhere_come_back_and_are_never_shown(value: Any) -> None:
    kept = Value(Any, "it")
    stored = kept.encode(value)
    back = kept.decode(loads(dumps(stored)))
    assert kept.encode(back) == stored
    told = {text for text in secrets_in(stored) if text.startswith("<secret")}
    assert told == {text for text in texts_of(value) if text.startswith("<secret")}
    assert "<secret" not in dumps(mask(stored))


def texts_of(value: Any) -> list[str]:
    """The texts of the secrets in a value, found without the code under test."""
    match value:
        case dict():
            return [text for member in value.values() for text in texts_of(member)]
        case list():
            return [text for member in value for text in texts_of(member)]
        case SecretStr():
            return [value.get_secret_value()]
        case SecretBytes():
            return [value.get_secret_value().decode("latin-1")]
        case _:
            return []
