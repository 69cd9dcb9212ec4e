"""Stubs of the handlers of a step: the function is replaced, the declaration is not."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from squidmesh import Cleaned, Failure, NotApplied, NotNeeded, step
from squidmesh.core.handlers import Handler
from squidmesh.testing import VirtualMesh


@step
def stub_charge(order: str, cents: int) -> int:
    return cents


@stub_charge.undo
def stub_refund(paid: int, order: str, cents: int) -> None:
    raise AssertionError("not called in these tests")


@stub_charge.compensate
async def stub_finish(why: Failure, order: str, cents: int) -> int:
    raise AssertionError("not called in these tests")


@step
def stub_bare(order: str) -> None: ...


def called(handler: Handler | None, *args: Any) -> Any:
    assert handler is not None
    return handler.fn(*args)


def test_an_undo_is_stubbed_and_its_calls_recorded_by_its_own_names() -> None:
    with VirtualMesh() as mesh:
        with mesh.stub(stub_charge.undo, returns=NotNeeded("gone")) as stub:
            assert called(stub_charge.undo_handler, 7, "o", 7) == NotNeeded("gone")
        assert stub.calls == [{"paid": 7, "order": "o", "cents": 7}]
        with mesh.stub(stub_charge.undo, raises=[ConnectionError("cut"), None]) as stub:
            with pytest.raises(ConnectionError, match="cut"):
                called(stub_charge.undo_handler, 7, "o", 7)
            assert called(stub_charge.undo_handler, 7, "o", 7) is None
        assert len(stub.calls) == 2


def test_a_stubbed_handler_is_as_sync_or_async_as_the_stub_and_then_itself_again() -> None:
    async def slowly(failure: Failure, order: str, cents: int) -> Cleaned:
        return Cleaned(order)

    handler, failure = stub_charge.compensate_handler, Failure(type="x", message="")
    assert handler is not None
    with VirtualMesh() as mesh:
        with mesh.stub(stub_charge.compensate, returns=3):
            assert not handler.is_async
            assert handler.fn(failure, "o", 1) == 3
        with mesh.stub(stub_charge.compensate, slowly) as stub:
            assert handler.is_async
            assert asyncio.run(handler.fn(failure, "o", 1)) == Cleaned("o")
        assert stub.calls == [{"why": failure, "order": "o", "cents": 1}]
    assert (handler.fn, handler.is_async) == (stub_finish, True)


@pytest.mark.parametrize("kind", ["undo", "compensate", "check"])
def test_a_handler_that_a_step_does_not_have_is_not_stubbed(kind: str) -> None:
    told = f"step 'stub_bare' has no {kind}; declare one with @stub_bare.{kind}"
    with (
        VirtualMesh() as mesh,
        pytest.raises(TypeError, match=told),
        mesh.stub(getattr(stub_bare, kind), returns=NotApplied()),
    ):
        raise AssertionError("it must not begin")


def test_a_handler_itself_is_stubbed_by_its_place_on_the_step() -> None:
    with (
        VirtualMesh() as mesh,
        pytest.raises(TypeError, match=r"such as stub\(charge.undo, …\), not <function stub_refund"),
        mesh.stub(stub_refund, returns=None),
    ):
        raise AssertionError("it must not begin")


def test_a_function_or_a_result_stands_in_not_both() -> None:
    with (
        VirtualMesh() as mesh,
        pytest.raises(TypeError, match="not both"),
        mesh.stub(stub_charge.undo, stub_refund, returns=1),
    ):
        raise AssertionError("it must not begin")
