"""How a run is named: by its id, either end of it, or its key; and what is said where that is none."""

from __future__ import annotations

from squidmesh.testing import VirtualMesh
from tests.cli import shop
from tests.cli.conftest import Place


def named(place: Place, *name: str) -> str:
    run_id: str = place.read("show", *name)["run"]["run_id"]
    return run_id


def test_a_run_is_named_by_its_id_in_any_form(either: Place) -> None:
    run_id = either.ids["failed"]
    assert named(either, run_id) == named(either, run_id.upper()) == named(either, run_id.replace("-", "")) == run_id


def test_a_run_is_named_by_either_end_of_its_id(either: Place) -> None:
    run_id = either.ids["failed"]
    ends = [run_id[-size:] for size in (12, 10)]
    beginnings = [run_id[:size] for size in (20, 30, 35)]
    assert {named(either, part) for part in (*ends, *beginnings)} == {run_id}


def test_an_id_that_ends_in_the_last_digit_is_named_by_all_but_that(place: Place) -> None:
    with VirtualMesh(place.url) as mesh:
        ids = (mesh.start(shop.napping()).run_id for _ in range(1_000))
        run_id = next(one for one in ids if one.endswith("f"))
    assert named(place, run_id[:-1]) == run_id


def test_a_beginning_that_several_have_is_refused_with_them(either: Place) -> None:
    said = either.ask("show", either.ids["failed"][:4], code=3)  # the hours of some days
    assert said.stderr.startswith(f"squidmesh: several runs are named {either.ids['failed'][:4]!r}: ")
    assert either.ids["held"] in said.stderr


def test_too_short_a_part_names_nothing(place: Place) -> None:
    place.ask("show", place.ids["failed"][-3:], code=3)


def test_a_run_is_named_by_its_key(either: Place) -> None:
    assert named(either, "--key", "failed") == either.ids["failed"]
    assert named(either, "--key=failed") == either.ids["failed"]


def test_after_a_key_the_first_argument_is_the_next_one(place: Place) -> None:
    place.ask("approve", "--key", "approval", "fraud-desk", "--actor", "ada")
    place.ask("show", "--key", "approval", "one too many", code=2)


def test_a_mistyped_id_suggests_the_right_one(place: Place) -> None:
    run_id = place.ids["failed"]
    wrong = run_id[:-1] + ("0" if run_id[-1] != "0" else "1")
    said = place.ask("show", wrong, code=3)
    assert said.stderr == f"squidmesh: no run '{wrong}': did you mean {run_id}?\n"


def test_a_mistyped_key_suggests_the_right_one(place: Place) -> None:
    said = place.ask("show", "--key", "aproval", code=3)
    assert said.stderr == "squidmesh: no run has the key 'aproval': did you mean --key approval?\n"


def test_a_key_in_place_of_an_id_is_pointed_out(place: Place) -> None:
    said = place.ask("show", "approval", code=3)
    assert said.stderr == "squidmesh: no run 'approval', but a run has that key: --key approval\n"


def test_what_is_like_nothing_says_where_to_look(place: Place) -> None:
    assert "squidmesh runs" in place.ask("show", "zzzzzzzz", code=3).stderr


def test_a_run_must_be_named(place: Place) -> None:
    assert "Missing argument 'RUN'" in place.ask("show", code=2).stderr


def test_a_run_is_completed_in_a_shell(place: Place) -> None:
    import click

    from squidmesh.cli.naming import RUN
    from squidmesh.cli.show import show

    ctx = click.Context(show)
    ctx.params["database"] = place.url
    (param,) = (param for param in show.params if param.name == "run")
    found = RUN.shell_complete(ctx, param, place.ids["failed"][:20])
    assert [item.value for item in found] == [place.ids["failed"]]
    ctx.params["database"] = "nonsense"
    assert RUN.shell_complete(ctx, param, "") == []
