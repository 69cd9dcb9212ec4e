import asyncio
import itertools
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, SecretStr, ValidationError

from squidmesh.core.failure import MAX_DATA, MAX_MESSAGE, Failure, describe, failure_of, type_name
from squidmesh.errors import Cancelled, ChildFailed, GatherFailed, StepFailed


class Declined(ValueError):
    def __init__(self, code: int, *, bank: str) -> None:
        super().__init__(f"declined with {code}")
        self.code = code
        self.bank = bank


class Mute(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no words")

    __repr__ = __str__


class Hostile(Exception):
    @property
    def args(self) -> Any:  # type: ignore[override]
        raise SystemExit("no args")

    @property
    def failure(self) -> Any:
        raise KeyboardInterrupt


class Account(BaseModel):
    password: int


def caught(raised: BaseException, cause: BaseException | None = None) -> BaseException:
    try:
        raise raised from cause
    except BaseException as error:
        return error


def within(inner: BaseException, outer: BaseException) -> BaseException:
    """``outer`` as raised while ``inner`` is handled."""
    try:
        try:
            raise inner
        except BaseException:
            raise outer  # noqa: B904 - the context is the point
    except BaseException as error:
        return error


def test_a_failure_says_type_message_and_bases() -> None:
    failure = describe(Declined(5, bank="North"), attempts=3)
    assert failure.type == f"{__name__}.Declined"
    assert failure.message == "declined with 5"
    assert failure.attempts == 3
    assert failure.bases == ("builtins.ValueError",)
    assert failure.data == {"code": 5, "bank": "North"}
    assert str(failure) == "Declined: declined with 5"


def test_a_failure_reads_as_its_class_alone_without_a_message() -> None:
    assert str(describe(ValueError())) == "ValueError"
    assert str(Failure(type="shop.errors.Bank.Down", message="x")) == "Bank.Down: x"
    assert str(Failure(type="shop.timeout", message="x")) == "timeout: x"


@pytest.mark.parametrize("wanted", [Declined, ValueError, Exception, BaseException, "ValueError"])
def test_a_failure_matches_its_class_and_bases(wanted: Any) -> None:
    assert describe(Declined(1, bank="")).matches(wanted)


@pytest.mark.parametrize("wanted", [KeyError, "KeyError", "shop.Declined", TypeError])
def test_a_failure_does_not_match_another_class(wanted: Any) -> None:
    assert not describe(Declined(1, bank="")).matches(wanted)


def test_a_failure_matches_through_its_causes() -> None:
    failure = describe(caught(RuntimeError("step"), caught(OSError("net"), KeyError("x"))))
    assert failure.matches(LookupError)
    assert failure.matches(OSError)


@pytest.mark.parametrize("raised", [KeyboardInterrupt(), SystemExit(2), Cancelled(), asyncio.CancelledError()])
def test_what_is_no_exception_matches_base_exception_only(raised: BaseException) -> None:
    failure = describe(raised)
    assert failure.matches(type(raised))
    assert failure.matches(BaseException)
    assert not failure.matches(Exception)


@pytest.mark.parametrize(
    ("raised", "data"),
    [
        (StopIteration(7), {"args": [7], "value": 7}),
        (SystemExit(3), {"args": [3]}),
        (KeyboardInterrupt(), None),
    ],
)
def test_exceptions_that_steer_python_are_described_like_others(raised: BaseException, data: Any) -> None:
    failure = describe(raised)
    assert failure.type == type_name(type(raised))
    if data is None:
        assert failure.data is None
    else:
        assert isinstance(failure.data, dict)
        assert failure.data["args"] == data["args"]


def test_the_explicit_cause_is_followed() -> None:
    failure = describe(caught(RuntimeError("a"), KeyError("b")))
    assert failure.cause is not None
    assert failure.cause.type == "builtins.KeyError"


def test_the_exception_being_handled_is_a_cause_unless_it_is_suppressed() -> None:
    failure = describe(within(KeyError("b"), RuntimeError("a")))
    assert failure.cause is not None
    assert failure.cause.type == "builtins.KeyError"
    error = within(KeyError("b"), RuntimeError("a"))
    error.__suppress_context__ = True
    assert describe(error).cause is None


def test_a_cycle_of_causes_ends() -> None:
    first, second = RuntimeError("a"), RuntimeError("b")
    first.__cause__, second.__cause__ = second, first
    assert [link.message for link in describe(first).chain()] == ["a", "b"]


def test_a_long_chain_of_causes_is_cut() -> None:
    error: BaseException = ValueError("0")
    for n in range(1, 50):
        error = caught(ValueError(str(n)), error)
    assert len(list(describe(error).chain())) == 11


def test_attempts_are_those_of_the_failure_not_of_its_causes() -> None:
    failure = describe(caught(RuntimeError(), KeyError()), attempts=4)
    assert failure.cause is not None
    assert failure.cause.attempts == 1


@pytest.mark.parametrize("raised", [Mute("x"), Hostile("x")])
def test_an_exception_that_cannot_be_read_is_described_all_the_same(raised: Exception) -> None:
    failure = failure_of(raised)
    assert failure.type == type_name(type(raised))
    json.dumps(failure.to_json())


def test_a_message_that_cannot_be_read_says_so() -> None:
    assert "__str__ raised RuntimeError" in describe(Mute()).message


def test_what_has_no_json_form_becomes_a_short_repr() -> None:
    error = ValueError("x")
    error.thing, error.long = object(), [object()] * 1_000  # type: ignore[attr-defined]
    error.loop = []  # type: ignore[attr-defined]
    error.loop.append(error.loop)  # type: ignore[attr-defined]
    error.endless = itertools.count()  # type: ignore[attr-defined]
    error.number = float("nan")  # type: ignore[attr-defined]
    data = describe(error).data
    assert isinstance(data, dict)
    assert str(data["thing"]).startswith("<object object")
    assert data["endless"] == "count(0)"
    json.dumps(data, allow_nan=False)


def test_an_endless_generator_is_not_read() -> None:
    error = ValueError("x")
    error.source = (n for n in itertools.count())  # type: ignore[attr-defined]
    data = describe(error).data
    assert isinstance(data, dict)
    assert "generator" in str(data["source"])


def test_message_and_data_are_bounded() -> None:
    error = ValueError("é" * 100_000)
    error.small, error.big = {"a": 1}, "y" * 100_000  # type: ignore[attr-defined]
    for n in range(1_000):
        setattr(error, f"a{n}", "z" * 100)
    failure = describe(error)
    assert len(failure.message.encode()) <= MAX_MESSAGE
    assert failure.message.endswith("é…")
    assert len(json.dumps(failure.data, ensure_ascii=False).encode()) <= MAX_DATA * 1.2
    assert isinstance(failure.data, dict)
    assert failure.data["small"] == {"a": 1}


def test_secrets_are_masked_in_every_text_and_every_cause() -> None:
    inner = KeyError("token hunter2 refused")
    outer = Declined(1, bank="hunter2-bank")
    outer.nested = {"hunter2": ["a hunter2", 3]}  # type: ignore[attr-defined]
    outer.pin = 4711  # type: ignore[attr-defined]
    failure = describe(caught(outer, inner), secrets=("hunter2", "4711", ""))
    stored = json.dumps(failure.to_json())
    assert "hunter2" not in stored
    assert "4711" not in stored
    assert "**********-bank" in stored


def test_the_longer_secret_is_masked_first() -> None:
    assert describe(ValueError("abcdef"), secrets=("abc", "abcdef")).message == "**********"


def test_secret_attributes_are_masked_without_being_told() -> None:
    error = ValueError("x")
    error.token = SecretStr("hunter2")  # type: ignore[attr-defined]
    assert "hunter2" not in json.dumps(describe(error).to_json())


def test_a_validation_error_does_not_repeat_what_it_was_given() -> None:
    with pytest.raises(ValidationError) as raised:
        Account.model_validate({"password": "hunter2"})
    failure = describe(raised.value)
    assert "hunter2" not in json.dumps(failure.to_json())
    assert "password: Input should be a valid integer" in failure.message
    assert failure.matches(ValueError)


def test_lone_surrogates_do_not_reach_the_store() -> None:
    error = ValueError("a\ud800b")
    error.note = "\ud800"  # type: ignore[attr-defined]
    json.dumps(describe(error).to_json(), ensure_ascii=False).encode()


def test_defaults_are_not_stored() -> None:
    assert describe(RuntimeError("x")).to_json() == {"type": "builtins.RuntimeError", "message": "x"}


def test_a_stored_failure_may_have_fields_of_a_later_version() -> None:
    assert Failure.from_json({"type": "a.B", "message": "m", "later": 1}) == Failure(type="a.B", message="m")


TEXTS = st.text(max_size=40)
ATTRIBUTES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXTS | st.binary(max_size=9) | st.dates(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4) | st.sets(TEXTS),
    max_leaves=10,
)


@given(
    st.lists(
        st.tuples(
            st.sampled_from([ValueError, KeyError, OSError, StopIteration, SystemExit, Mute, RuntimeError]),
            st.lists(ATTRIBUTES, max_size=3),
            st.dictionaries(TEXTS, ATTRIBUTES, max_size=3),
        ),
        min_size=1,
        max_size=12,
    ),
    st.lists(TEXTS, max_size=2),
)
def test_every_exception_gives_a_failure_that_comes_back_from_its_json(
    chain: list[tuple[type[BaseException], list[Any], dict[str, Any]]], secrets: list[str]
) -> None:
    error: BaseException | None = None
    for cls, args, attributes in chain:
        error = caught(cls(*args), error)
        error.__dict__.update(attributes)
    assert error is not None
    failure = describe(error, secrets=tuple(secrets))
    stored = json.loads(json.dumps(failure.to_json(), allow_nan=False))
    assert Failure.from_json(stored) == failure
    assert failure.matches(type(error))


def test_what_a_run_lets_out_is_the_inner_failure() -> None:
    inner = Failure(type="shop.Declined", message="no")
    other = Failure(type="shop.Down", message="off")
    assert failure_of(StepFailed("charge", "3", inner)) is inner
    assert failure_of(ChildFailed("r-1", "pay", inner)) is inner
    assert failure_of(GatherFailed({4: other, 1: inner}, {})) is other
    assert failure_of(RuntimeError("x")) == describe(RuntimeError("x"))


def test_a_failure_among_the_attributes_is_data() -> None:
    data = describe(StepFailed("charge", "3", Failure(type="a.B", message="m"))).data
    assert isinstance(data, dict)
    assert data["failure"] == {"type": "a.B", "message": "m"}
