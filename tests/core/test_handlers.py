"""What may stand by a step as its undo, compensate or check, and what is refused when it is declared."""

from __future__ import annotations

import functools
import importlib.util
import sys
from collections.abc import Callable, Hashable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Annotated, Any, Literal, Protocol

import pytest

from squidmesh.core.effects import Applied, NotApplied, RetryStep
from squidmesh.core.failure import Failure
from squidmesh.core.handlers import Handler, HandlerSlot, importable, imported
from squidmesh.core.registry import REGISTRY
from squidmesh.core.retry import Retry
from squidmesh.core.step import Step, step
from squidmesh.errors import DefinitionError

KINDS = ("undo", "compensate", "check")


def refund(paid: int, order: str) -> None: ...


def finish(failure: Failure, order: str) -> int:
    return 0


def probe(order: str) -> Applied[int] | NotApplied:
    return NotApplied()


class Shop:
    def refund(self, paid: int, order: str) -> None: ...

    @staticmethod
    def plain_refund(paid: int, order: str) -> None: ...

    def __call__(self, paid: int, order: str) -> None: ...


def made(**settings: Any) -> Step[[str], int]:
    """A step that is nested here, whose handlers must be at the module's level."""

    @step(**settings)
    def charge(order: str) -> int:
        return 1

    return charge


def refused(declare: Callable[[], Any]) -> str:
    with pytest.raises(DefinitionError) as raised:
        declare()
    return str(raised.value)


def slot(charge: Step[..., Any], kind: str) -> HandlerSlot[..., Any]:
    return getattr(charge, kind)  # type: ignore[no-any-return]


# ------------------------------------------------------------------------------------------- how they are declared


def test_a_handler_is_given_back_as_it_was_and_stands_by_its_step() -> None:
    @step
    def charge(order: str) -> int:
        return 1

    @charge.undo
    def own_refund(paid: int, order: str) -> None: ...

    @charge.compensate
    async def own_finish(failure: Failure, order: str) -> RetryStep:
        return RetryStep(after=3)

    assert charge.check(probe) is probe

    undo, compensate, check = charge.undo_handler, charge.compensate_handler, charge.check_handler
    assert (undo, compensate, check) == (charge.undo.handler, charge.compensate.handler, charge.check.handler)
    assert undo == Handler(
        "undo", own_refund, False, f"{__name__}.{own_refund.__qualname__}",
        f"{__file__}:{own_refund.__code__.co_firstlineno}",  # type: ignore[attr-defined]
    )  # fmt: skip
    assert compensate is not None
    assert check is not None
    assert (compensate.fn, compensate.is_async) == (own_finish, True)
    assert (check.fn, check.name) == (probe, f"{__name__}.probe")


def test_a_handler_may_be_named_in_the_settings_of_its_step() -> None:
    charge = made(undo=refund, compensate=finish, check=probe)
    assert [slot(charge, kind).handler.fn for kind in KINDS] == [refund, finish, probe]  # type: ignore[union-attr]


def test_a_slot_says_whose_it_is_and_what_it_is_for() -> None:
    charge = made()
    assert [(s.step, s.kind, s.handler) for s in (charge.undo, charge.compensate, charge.check)] == [
        (charge, kind, None) for kind in KINDS
    ]
    assert charge.undo == charge.undo
    assert charge.undo != charge.check


def test_a_handler_is_called_with_what_comes_first_and_the_arguments_of_the_step() -> None:
    @step
    def ship(order: str, *rest: int, express: bool = False, **more: str) -> int:
        return 1

    @ship.undo
    def recall(label: int, order: str, *rest: int, express: bool = False, **more: str) -> None: ...

    @ship.check
    def look(order: str, *rest: int, express: bool = False, **more: str) -> NotApplied:
        return NotApplied()

    stored = ship("o", 1, 2, express=True, note="n").input
    args, kwargs = ship.parameters.decode(stored)
    assert ship.undo_handler is not None
    assert ship.check_handler is not None
    assert ship.undo_handler.bind(7, args, kwargs) == ((7, "o", 1, 2), {"express": True, "note": "n"})
    assert ship.check_handler.bind(None, args, kwargs) == (("o", 1, 2), {"express": True, "note": "n"})


def test_the_names_of_a_handler_s_parameters_are_its_own() -> None:
    def other_names(paid: int, number: str, *, quick: bool = False) -> None: ...

    def everything(*args: Any, **kwargs: Any) -> None: ...

    for fn in (other_names, everything):

        @step
        def ship(order: str, /) -> int:
            return 1

        ship.undo(fn)  # type: ignore[type-var]
        assert ship.undo_handler is not None
        assert ship.undo_handler.fn is fn


# ---------------------------------------------------------------------------------------- found again by name


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("fn", "told"),
    [
        (lambda *args: None, "a lambda has no name to be found by"),
        (Shop.refund, "make it a module-level function"),
        (Shop.plain_refund, "make it a module-level function"),
        (Shop().refund, "takes a function"),
        (Shop(), "takes a function"),
        (functools.partial(refund, 1), "takes a function"),
        (len, "takes a function"),
        (None, "takes a function"),
    ],
)
def test_what_could_not_be_found_again_is_no_handler(kind: str, fn: Any, told: str) -> None:
    charge = made()
    message = refused(lambda: slot(charge, kind)(fn))  # type: ignore[operator]
    assert message.startswith(f"@charge.{kind} ")
    assert told in message
    assert slot(charge, kind).handler is None


def test_a_function_inside_another_one_is_the_handler_of_a_step_beside_it_only() -> None:
    def inner_refund(paid: int, order: str) -> None: ...

    charge = made()
    told = refused(lambda: charge.undo(inner_refund))
    assert "is a function inside another one" in told
    assert "make it a module-level function (or declare step 'charge' beside it)" in told
    assert f"{__file__}:{inner_refund.__code__.co_firstlineno}" in told

    @step
    def beside(order: str) -> int:
        return 1

    assert beside.undo(inner_refund) is inner_refund


def test_a_second_handler_of_a_kind_is_refused_and_both_are_named() -> None:
    charge = made(undo=refund)

    told = refused(lambda: charge.undo(other_refund))
    assert "step 'charge' has a handler `undo` already" in told
    assert f"{__name__}.refund at {__file__}:{refund.__code__.co_firstlineno}" in told
    assert f"{__name__}.other_refund at {__file__}:{other_refund.__code__.co_firstlineno}" in told
    assert charge.undo_handler is not None
    assert charge.undo_handler.fn is refund


def other_refund(paid: int, order: str) -> None: ...


HANDLER_MODULE = """
from shop_of_handlers import charge

@charge.undo
def refund(paid: int, order: str) -> None:
    return {answer}
"""


@pytest.fixture
def load(tmp_path: Path) -> Iterator[Callable[[str, str], ModuleType]]:
    """Imports a module from its text, in place of one of the same name."""
    names: list[str] = []

    def load(name: str, text: str) -> ModuleType:
        file = tmp_path / f"{name}.py"
        file.write_text(text, encoding="utf-8")
        spec = importlib.util.spec_from_file_location(name, file)
        assert spec is not None
        sys.modules[name] = module = importlib.util.module_from_spec(spec)
        names.append(name)
        exec(compile(text, str(file), "exec"), vars(module))  # noqa: S102 - no stale bytecode
        return module

    yield load
    for name in set(names):
        sys.modules.pop(name)


def test_a_module_of_handlers_that_is_loaded_again_replaces_them(load: Callable[[str, str], ModuleType]) -> None:
    shop = ModuleType("shop_of_handlers")
    vars(shop)["charge"] = charge = made()
    sys.modules[shop.__name__] = shop
    try:
        load("refunds", HANDLER_MODULE.format(answer=None))
        again = load("refunds", HANDLER_MODULE.format(answer=3))
        assert charge.undo_handler is not None
        assert charge.undo_handler.fn is again.refund
        assert "a second one" in refused(lambda: load("copied_refunds", HANDLER_MODULE.format(answer=4)))
    finally:
        sys.modules.pop(shop.__name__)


# ------------------------------------------------------------------------------------------ called as it must be


def fits(*, of: Callable[..., Any], **handlers: Callable[..., Any]) -> Any:
    """Declares a step of a function with these handlers."""
    return step(**handlers)(of)  # type: ignore[call-overload]


def a_step(order: str, cents: int = 100, *, express: bool = False) -> int:
    return 1


def no_arguments(paid: Any) -> None: ...
def too_few(paid: Any, order: str, *, express: bool) -> None: ...
def too_many(paid: Any, order: str, cents: int, note: str, *, express: bool) -> None: ...
def not_by_name(paid: Any, order: str, cents: int) -> None: ...
def not_by_that_name(paid: Any, order: str, cents: int, *, slow: bool = False) -> None: ...
def by_place_only(paid: Any, order: str, cents: int, express: bool, /) -> None: ...
def a_name_more(paid: Any, order: str, cents: int, *, express: bool, note: str) -> None: ...
def swapped(paid: Any, cents: int, order: str, *, express: bool) -> None: ...


@pytest.mark.parametrize(
    "fn", [no_arguments, too_few, too_many, not_by_name, not_by_that_name, by_place_only, a_name_more, swapped]
)
@pytest.mark.parametrize("kind", ["undo", "compensate"])
def test_a_handler_that_cannot_take_the_step_s_arguments_is_refused_with_what_to_write(kind: str, fn: Any) -> None:
    told = refused(lambda: fits(of=a_step, **{kind: fn}))
    first = "result" if kind == "undo" else "failure"
    assert told.startswith(f"@a_step.{kind} {fn.__name__} at {__file__}:{fn.__code__.co_firstlineno} ")
    assert told.endswith(f"write `def {fn.__name__}({first}, order, cents, *, express)`")


def test_a_handler_whose_parameters_are_swapped_is_told_which_would_get_which() -> None:
    assert "its 'cents' would get 'order'" in refused(lambda: fits(of=a_step, undo=swapped))


def test_a_check_is_called_with_the_arguments_alone() -> None:
    told = refused(lambda: fits(of=a_step, check=too_many))
    assert told.endswith("write `def too_many(order, cents, *, express)`")


def test_a_handler_of_a_step_without_parameters_takes_what_comes_first() -> None:
    def nothing() -> int:
        return 1

    told = refused(lambda: fits(of=nothing, undo=takes_nothing))
    assert told.endswith("write `def takes_nothing(result)`")
    assert refused(lambda: fits(of=nothing, check=no_arguments)).endswith("write `def no_arguments()`")
    assert fits(of=nothing, undo=no_arguments, check=takes_nothing).undo_handler is not None


def takes_nothing() -> None: ...
def takes_some(paid: int, first: int, second: int) -> None: ...
def takes_all(paid: int, *numbers: int) -> None: ...
def takes_named(paid: int, first: int = 0) -> None: ...
def takes_all_named(paid: int, **named: int) -> None: ...


def test_a_handler_must_take_as_many_arguments_as_its_step_may() -> None:
    def listed(*numbers: int) -> int:
        return 1

    def keyed(**named: int) -> int:
        return 1

    assert "*numbers is missing" in refused(lambda: fits(of=listed, undo=no_arguments))
    assert refused(lambda: fits(of=listed, undo=takes_some)).endswith("write `def takes_some(result, *numbers)`")
    assert "**named is missing" in refused(lambda: fits(of=keyed, undo=takes_named))
    assert fits(of=listed, undo=takes_all).undo_handler is not None
    assert fits(of=keyed, undo=takes_all_named).undo_handler is not None


def yielding(paid: int, order: str) -> Iterator[None]:
    yield


async def yielding_async(paid: int, order: str) -> Any:
    yield


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("fn", [yielding, yielding_async])
def test_a_handler_does_not_yield(kind: str, fn: Any) -> None:
    told = refused(lambda: made(**{kind: fn}))
    assert f"@charge.{kind} {fn.__name__} at {__file__}:" in told
    assert "yields" in told


# ------------------------------------------------------------------------------- what the step says of its effect


@pytest.mark.parametrize("word", ["irreversible", "pivot"])
def test_what_cannot_be_undone_has_no_undo(word: str) -> None:
    told = refused(lambda: made(**{word: True}, undo=refund))
    assert f"step 'charge' is declared {word}=True and cannot have an undo" in told
    later = made(**{word: True}, compensate=finish, check=probe)
    assert refused(lambda: later.undo(refund)) == told
    assert later.undo_handler is None


@pytest.mark.parametrize(("kind", "fn"), [("undo", refund), ("compensate", finish), ("check", probe)])
def test_what_only_reads_has_no_handlers(kind: str, fn: Any) -> None:
    assert f"take pure=True away, or the {kind}" in refused(lambda: made(pure=True, **{kind: fn}))
    assert "step 'charge' is pure" in refused(lambda: slot(made(pure=True), kind)(fn))  # type: ignore[operator]


async def refund_slowly(paid: int, order: str) -> None: ...


def test_the_undo_of_a_transactional_step_is_no_coroutine() -> None:
    assert "is transactional, and so is its undo" in refused(lambda: made(transactional=True, undo=refund_slowly))
    assert made(transactional=True, undo=refund).undo_handler is not None
    assert made(undo=refund_slowly).undo_handler is not None


class Sized(Protocol):
    def size(self) -> int: ...


def accepts(hint: Any) -> Callable[..., None]:
    def undo(paid: Any, order: str) -> None: ...

    undo.__annotations__["paid"] = hint
    undo.__qualname__ = "undo"
    return undo


@pytest.mark.parametrize(
    "hint",
    [
        int | None, None, object, Any, Hashable, Sized, Annotated[int | None, "cents"], Literal["x", None],
        "int | None", "NotYetDefined",
    ],
    ids=str,
)  # fmt: skip
def test_the_undo_of_an_attempt_may_take_whatever_has_none_in_it(hint: Any) -> None:
    assert made(undo_when="attempted", undo=accepts(hint)).traits == ["undo", "attempted"]


@pytest.mark.parametrize("hint", [int, str | int, list[int], Annotated[int, "cents"], Literal["x"], "int"], ids=str)
def test_the_undo_of_an_attempt_is_refused_where_it_plainly_takes_no_none(hint: Any) -> None:
    told = refused(lambda: made(undo_when="attempted", undo=accepts(hint)))
    assert "is called with None where only an attempt is known of (undo_when='attempted')" in told
    assert "write `paid: … | None`" in told
    assert made(undo=accepts(hint)).traits == ["undo"]


def test_an_undo_of_an_attempt_without_annotations_or_with_a_default_of_none_will_do() -> None:
    def undo(paid: Any = None, order: str = "") -> None: ...

    undo.__annotations__["paid"], undo.__qualname__ = int, "undo"
    made(undo_when="attempted", undo=undo)
    undo.__annotations__.clear()
    made(undo_when="attempted", undo=undo)


def test_traits_are_what_is_true_in_their_order() -> None:
    assert made().traits == []
    assert made(pure=True, transactional=True).traits == ["pure", "transactional"]
    assert made(irreversible=True).traits == ["irreversible", "once"]
    assert made(pivot=True, idempotent=True).traits == ["irreversible", "pivot"]
    assert made(transactional=True, idempotent=False, undo=refund).traits == ["undo", "transactional", "once"]
    assert made(undo_when="attempted").traits == []


def test_a_handler_that_comes_later_changes_the_traits() -> None:
    charge = made()
    assert charge.traits == []
    charge.undo(refund)
    assert charge.traits == ["undo"]
    assert charge.traits is charge.traits


def test_a_refused_step_is_not_registered() -> None:
    refused(lambda: made(irreversible=True, undo=refund))
    assert REGISTRY.steps == {}


def test_the_undo_has_retries_and_a_timeout_of_its_own_or_those_that_suit_it() -> None:
    plain = made(timeout=30, retry=Retry(max_attempts=2))
    assert (plain.undo_retry, plain.undo_timeout) == (Retry(max_attempts=10, initial=1, maximum=300), 30.0)
    own = made(timeout=30, undo_retry=Retry(max_attempts=1), undo_timeout=5)
    assert (own.undo_retry, own.undo_timeout) == (Retry(max_attempts=1), 5.0)
    assert made().undo_timeout is None


# ------------------------------------------------------------------------------------------- imported again


def test_a_module_level_function_is_importable_by_module_and_name() -> None:
    name = importable(refund)
    assert name == f"{__name__}:refund"
    assert imported(name) is refund


def test_what_no_other_worker_could_import_is_refused() -> None:
    def inner() -> None: ...

    lost = functools.wraps(refund)(lambda paid, order: None)
    for fn, told in [
        (inner, "is a function inside another one"),
        (lambda: None, "a lambda has no name"),
        (Shop.refund, "make it a module-level function"),
        (Shop().refund, "takes a function"),
        (made(), "takes a function"),
        (lost, "is not what its module has by that name"),
    ]:
        message = refused(lambda fn=fn: importable(fn))  # type: ignore[misc]
        assert message.startswith("add_undo()")
        assert told in message


def test_a_function_whose_module_is_gone_is_refused(load: Callable[[str, str], ModuleType]) -> None:
    module = load("gone_soon", "def away(): ...\n")
    assert importable(module.away) == "gone_soon:away"
    sys.modules["gone_soon"] = ModuleType("gone_soon")
    assert "there is no function gone_soon:away in this code" in refused(lambda: importable(module.away, "here"))


@pytest.mark.parametrize(
    "name",
    [f"{__name__}:gone", f"{__name__}:Shop", f"{__name__}:KINDS", "no_such_module_anywhere:refund", "refund", "", ":"],
)
def test_what_is_not_in_the_code_at_hand_cannot_be_imported(name: str) -> None:
    with pytest.raises(LookupError, match=f"there is no function {name} in this code"):
        imported(name)


def test_a_module_that_breaks_while_it_is_imported_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "broken_undos.py").write_text("raise ValueError('on purpose')", encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(LookupError, match="broken_undos:refund in this code: ValueError: on purpose"):
        imported("broken_undos:refund")
