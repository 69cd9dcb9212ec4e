from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import (
    BaseModel,
    Secret,
    SecretBytes,
    SecretStr,
)

from squidmesh.core.payloads import Parameters, dumps, loads, size_check, type_hints
from squidmesh.errors import DefinitionError, InvalidPayload, PayloadError
from tests.core.payload_types import (
    JSON,
    Login,
    Mixed,
    Order,
    refusal,
)


def charge(order_id: str, cents: int = 100) -> None: ...


def everything(a: int, /, b: str, *rest: int, c: float = 1.5, d: list[int] = [], **more: Order) -> None: ...  # noqa: B006


def untyped(a, b=None, *rest, **more): ...  # type: ignore[no-untyped-def]


def place(order: Order, note: str = None) -> None: ...  # type: ignore[assignment]  # noqa: RUF013


def bound(fn: Callable[..., Any], *args: Any, **kwargs: Any) -> dict[str, Any]:
    return Parameters(fn, f"step {fn.__name__!r}").bind(args, kwargs)


def called(fn: Callable[..., Any], *args: Any, **kwargs: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
    parameters = Parameters(fn, fn.__name__)
    return parameters.decode(loads(dumps(parameters.bind(args, kwargs))))


def test_arguments_are_bound_by_name_with_defaults_applied() -> None:
    assert bound(charge, "o-1") == {"order_id": "o-1", "cents": 100}
    assert bound(charge, cents=3, order_id="o-1") == {"order_id": "o-1", "cents": 3}
    assert called(charge, "o-1", 3) == (("o-1", 3), {})


def test_parameters_of_every_kind_come_back_as_they_were_given() -> None:
    order = Order(id="o", cents=1)
    stored = bound(everything, 1, "b", 2, 3, c=2, x=order, a=order)
    assert stored["rest"] == [2, 3]
    assert stored["more"] == {"x": order.model_dump(), "a": order.model_dump()}
    args, kwargs = called(everything, 1, "b", 2, 3, c=2, x=order, a=order)
    assert args == (1, "b", 2, 3)
    assert kwargs == {"c": 2.0, "d": [], "x": order, "a": order}


def test_parameters_without_annotations_take_any_json() -> None:
    assert called(untyped, {"a": [1]}, SecretStr("s"), 3, x=None) == (
        ({"a": [1]}, SecretStr("s"), 3),
        {"x": None},
    )


def test_a_default_of_none_stands_for_an_optional_parameter() -> None:
    assert called(place, Order(id="o", cents=1)) == ((Order(id="o", cents=1), None), {})


def test_defaults_are_not_shared_between_calls() -> None:
    parameters = Parameters(everything, "it")
    stored = parameters.bind((1, "b"), {})
    parameters.decode(stored)[1]["d"].append(1)
    assert parameters.decode(stored)[1]["d"] == []


def test_every_wrong_argument_is_named_at_once() -> None:
    assert refusal(lambda: bound(charge)) == {"order_id": "missing"}
    assert refusal(lambda: bound(charge, 7, 2, 3, 4, later=1)).keys() == {"argument 3", "later", "order_id"}
    assert refusal(lambda: bound(charge, "o", "x", order_id="p")) == {
        "order_id": "given twice, by position and by name",
        "cents": "Input should be a valid integer, unable to parse string as an integer",
    }
    assert refusal(lambda: bound(lambda a, /: None, a=1)) == {"a": "taken by position only"}


def test_every_wrong_field_of_a_dict_for_a_model_is_named() -> None:
    errors = refusal(lambda: bound(place, {"id": 3, "lines": [{"sku": "a", "colour": 1}], "extra": 1}, note=2))
    assert errors == {
        "order.id": "Input should be a valid string",
        "order.cents": "missing",
        "order.lines.0.colour": "unknown field",
        "order.extra": "unknown field",
        "note": "Input should be a valid string",
    }


def test_a_model_that_allows_extra_fields_may_be_given_them_and_no_other() -> None:
    def mixed(value: Mixed) -> None: ...

    assert bound(mixed, {"open": {"x": 1}, "either": [{"y": 2}]})["value"]["open"] == {"id": 0, "x": 1}
    errors = refusal(
        lambda: bound(mixed, {"open": {"x": 1}, "plain": {"sku": "a", "x": 1}, "by_name": {"k": {"sku": "b", "x": 1}}})
    )
    assert errors == {"value.plain.x": "unknown field", "value.by_name.k.x": "unknown field"}
    assert refusal(lambda: bound(mixed, {"open": {"x": 1}, "closed": {"x": 1}})).keys() == {"value.closed.x"}


def test_what_has_no_json_form_is_named_beside_what_does_not_fit() -> None:
    errors = refusal(lambda: bound(untyped, object(), 1, later=float("nan")))
    assert set(errors) == {"a", "more"}

    def both(a: int, b: Any) -> None: ...

    assert set(refusal(lambda: bound(both, "x", object()))) == {"a", "b"}


def test_no_secret_is_in_the_text_of_an_error() -> None:
    def login(account: Login, pin: Secret[int], key: SecretBytes) -> None: ...

    with pytest.raises(InvalidPayload) as refused:
        bound(login, {"user": 1, "password": ["hunter2"], "hint": "hunter2"}, "hunter2", 4711)
    assert refused.value.errors.keys() == {"account.user", "account.password", "account.hint", "pin", "key"}
    assert "hunter2" not in str(refused.value)
    assert "4711" not in str(refused.value)


def test_stored_input_of_another_version_of_the_code_is_read() -> None:
    parameters = Parameters(charge, "it")
    assert parameters.decode({"order_id": "o"}) == (("o", 100), {})
    assert parameters.decode({"order_id": "o", "cents": 3, "gone": 1}) == (("o", 3), {})
    assert Parameters(everything, "it").decode({"a": 1, "b": "x"}) == ((1, "x"), {"c": 1.5, "d": []})


def test_stored_input_that_does_not_decode_names_what_is_wrong() -> None:
    parameters = Parameters(place, "step 'place'")
    assert refusal(lambda: parameters.decode({"order": {"id": "o"}, "note": 3})) == {
        "order.cents": "missing",
        "note": "Input should be a valid string",
    }
    assert refusal(lambda: parameters.decode({})) == {"order": "missing"}


def forward(value: "Later") -> "Later":
    return value


class Later(BaseModel):
    a: int


def test_an_annotation_may_name_what_the_module_defines_further_down() -> None:
    assert called(forward, {"a": 1}) == ((Later(a=1),), {})


def test_annotations_as_text_are_evaluated_also_of_local_classes() -> None:
    class Local(BaseModel):
        a: int

    def local(value: "Local", many: "list[Order]") -> "Local": ...  # type: ignore[empty-body]

    assert called(local, {"a": 1}, []) == ((Local(a=1), []), {})
    assert type_hints(local)["return"] is Local


def test_an_annotation_that_cannot_be_evaluated_is_a_definition_error() -> None:
    def lost(value: "Nowhere") -> None: ...  # type: ignore[name-defined]  # noqa: F821

    with pytest.raises(DefinitionError, match=r"lost at .*test_payloads\.py:\d+ .*Nowhere"):
        Parameters(lost, "step 'lost'")


def test_a_parameter_whose_type_has_no_json_form_is_named() -> None:
    class Thing: ...

    def takes(a: int, thing: Thing) -> None: ...

    with pytest.raises(DefinitionError, match=r"step 'takes' at .*: parameter 'thing': the type .*Thing has no"):
        Parameters(takes, "step 'takes'")


@given(st.lists(JSON, max_size=4), st.dictionaries(st.text(st.characters(codec="ascii"), max_size=5), JSON))
def test_any_call_that_python_takes_is_called_the_same_way_later(args: list[Any], kwargs: dict[str, Any]) -> None:
    def told(a: Any, b: Any = 1, *rest: Any, c: Any = 2, **more: Any) -> Any:
        return a, b, rest, c, more

    try:
        expected = told(*args, **kwargs)
    except TypeError:
        with pytest.raises(InvalidPayload):
            bound(told, *args, **kwargs)
    else:
        later_args, later_kwargs = called(told, *args, **kwargs)
        assert told(*later_args, **later_kwargs) == expected


# ------------------------------------------------------------------------------------------------------ text


def test_text_is_compact_and_comes_back() -> None:
    assert dumps({"a": [1, "é"]}) == '{"a":[1,"é"]}'
    assert loads('{"a":[1,"é"]}') == {"a": [1, "é"]}


@pytest.mark.parametrize("value", [float("nan"), [float("inf")], "\ud800", object()])
def test_text_of_what_json_does_not_have_is_refused(value: Any) -> None:
    with pytest.raises(PayloadError):
        dumps(value)
    assert dumps("NaN and Infinity") == '"NaN and Infinity"'


def test_a_payload_over_the_limit_says_how_large_it_is() -> None:
    size_check({"a": "x" * 90}, 100, "it")
    size_check("é" * 49, 100, "it")
    with pytest.raises(PayloadError, match="102 bytes"):
        size_check("\n" * 50, 100, "it")
    with pytest.raises(PayloadError, match=r"the result of step 'x' is too large: 1,002 bytes .* limit is 1,000"):
        size_check(["x" * 998], 1_000, "the result of step 'x'")
    with pytest.raises(PayloadError, match="102 bytes"):
        size_check(b"x" * 102, 100, "it")
