"""The graph and the timeline of runs, by histories made by hand; and how a graph is drawn."""

import xml.etree.ElementTree as ElementTree

from squidmesh import events as ev
from squidmesh.events import Event
from squidmesh.views.drawing_mermaid import render_mermaid
from squidmesh.views.drawing_svg import render_svg
from squidmesh.views.drawing_text import render_text
from squidmesh.views.graph import Graph, graph
from squidmesh.views.layout import placed
from squidmesh.views.timeline import timeline
from tests.views.facts import DECLINED, RUN, at, begun, numbered, row, scheduled, started

OTHER = "019b7000-0000-7000-8000-000000000002"


def done(position: str, step: str = "charge", seconds: float = 2, **given: object) -> list[Event]:
    tried = begun(position, seconds=seconds - 1)
    return [scheduled(position, step, **given), tried, ev.StepCompleted(at=at(seconds), position=position)]


def drawn(*events: Event, status: str = "running") -> Graph:
    return graph(row(status=status), numbered(started(), *events))


def edges(of: Graph, kind: str) -> list[tuple[str, str]]:
    return [(edge.source, edge.target) for edge in of.edges if edge.kind == kind]


def undone() -> list[Event]:
    return [
        ev.ScopeEntered(at=at(0), scope="1", name="ground", position="1"),
        *done("1", "book", traits=["undo"]),
        ev.ScopeLeft(at=at(3), scope="1", position="2"),
        *done("2", "ship", 4, traits=["irreversible"]),
        scheduled("3", "boom"),
        ev.StepFailed(at=at(5), position="3", failure=DECLINED),
        ev.RollbackStarted(at=at(5), cause="failure", number=1, failure=DECLINED),
        ev.RollbackPlanned(at=at(5), number=1, entries=["2", "1"]),
        ev.EntrySettled(at=at(5), entry="2", state="irreversible", reason="declared"),
        ev.UndoStarted(at=at(6), entry="1", number=1, worker="w1"),
        ev.UndoCompleted(at=at(7), entry="1", number=1),
        ev.EntrySettled(at=at(7), entry="1", state="undone"),
        ev.RollbackEnded(at=at(7), number=1, outcome="partial"),
        ev.RunFailed(at=at(7), failure=DECLINED),
    ]


def test_a_sequence_goes_from_the_start_to_the_end() -> None:
    slept = [ev.TimerSet(at=at(2), position="2", due=at(9)), ev.TimerFired(at=at(9), position="2")]
    found = drawn(*done("1"), *slept, ev.RunCompleted(at=at(10)), status="completed")
    assert [(n.id, n.kind, n.name, n.status) for n in found.nodes] == [
        ("start", "start", "checkout", "completed"),
        ("1", "step", "charge", "completed"),
        ("2", "timer", "sleep", "fired"),
        ("end", "end", "completed", "completed"),
    ]
    assert edges(found, "sequence") == [("start", "1"), ("1", "2"), ("2", "end")]


def test_positions_are_in_the_order_of_numbers() -> None:
    found = drawn(*done("10"), *done("2"), *done("1"))
    assert [node.id for node in found.nodes] == ["start", "1", "2", "10"]


def test_members_of_a_fork_meet_in_its_join_and_never_each_other() -> None:
    found = drawn(*done("1"), *done("2.1"), *done("2.2.1"), scheduled("2.2.2"), *done("2.3"))
    assert edges(found, "parallel") == [
        ("1", "2.1"), ("1", "2.2.1"), ("1", "2.2.2"), ("2.2.1", "2.2"), ("2.2.2", "2.2"), ("1", "2.3"),
        ("2.1", "2"), ("2.2", "2"), ("2.3", "2"),
    ]  # fmt: skip
    assert {n.id: n.status for n in found.nodes if n.kind == "join"} == {"2": "running", "2.2": "running"}


def test_a_wide_fan_out_has_two_edges_a_member() -> None:
    many = [event for n in range(1, 501) for event in done(f"1.{n}")]
    assert len(drawn(*many).edges) == 1_000


def test_a_race_says_who_has_won() -> None:
    lost = ev.StepCancelled(at=at(3), position="1.1")
    found = drawn(scheduled("1.1"), *done("1.2"), ev.RaceWon(at=at(2), position="1", index=1), lost)
    assert [(n.kind, n.status) for n in found.nodes if n.id == "1"] == [("race", "won by 1.2")]


def test_a_transaction_has_its_members_under_it() -> None:
    group = scheduled("1", "transfer", traits=["transactional", "group"])
    found = drawn(group, *done("1.1", "debit"), ev.TransactionCommitted(at=at(3), position="1"))
    assert (found.nodes[1].kind, edges(found, "member")) == ("transaction", [("1", "1.1")])


def test_children_and_successors_are_other_runs() -> None:
    child = ev.ChildStarted(at=at(1), position="1", run_id=OTHER, workflow="pack", input={})
    deferred = ev.StepDeferred(at=at(2), position="2", run_id=OTHER, workflow="remind")
    ended = ev.ChildEnded(at=at(3), position="1", run_id=OTHER, outcome="failed", failure=DECLINED)
    went_on = ev.RunContinued(at=at(4), run_id=OTHER, workflow="checkout", version=3)
    found = drawn(child, deferred, ended, went_on, status="continued")
    assert [(n.kind, n.name, n.status) for n in found.nodes[1:]] == [
        ("child", "pack", "failed"), ("deferred", "remind", "started"), ("run", "checkout", "started")
    ]  # fmt: skip
    assert (edges(found, "child"), edges(found, "continued")) == ([("start", "1"), ("1", "2")], [("2", f"run:{OTHER}")])


def test_a_rollback_goes_from_undo_to_undo_and_each_points_at_what_it_undid() -> None:
    found = drawn(*undone(), status="failed")
    assert [(n.id, n.status) for n in found.nodes if n.kind in ("rollback", "undo")] == [
        ("rollback:1", "partial"), ("rollback:1:2", "irreversible"), ("rollback:1:1", "undone")
    ]  # fmt: skip
    assert edges(found, "undo") == [
        ("3", "rollback:1"), ("rollback:1", "rollback:1:2"), ("rollback:1:2", "2"),
        ("rollback:1:2", "rollback:1:1"), ("rollback:1:1", "1"),
    ]  # fmt: skip
    assert edges(found, "scope") == [("scope:1", "1")]


def test_events_read_twice_change_nothing() -> None:
    known = [started(), *undone()]
    assert graph(row(), numbered(*known)) == graph(row(), [*numbered(*known), *undone()[1:5]])


def test_a_timeline_has_what_began_in_order_and_no_end_where_there_is_none() -> None:
    wait = ev.SignalAwaited(at=at(8), position="2", name="go")
    told = timeline(row(), numbered(started(), *done("1"), wait, ev.RunHeld(at=at(9), actor="ada")))
    assert [(e.kind, e.name, e.status, e.end is None) for e in told] == [
        ("run", "checkout", "running", True), ("attempt", "charge", "completed", False),
        ("signal", "go", "waiting", True), ("held", "ada", "held", True),
    ]  # fmt: skip


def test_a_timeline_shows_each_call_of_an_undo() -> None:
    told = timeline(row(status="failed", ended_at=at(7)), numbered(started(), *undone()))
    assert [(e.kind, e.name, e.number) for e in told if e.kind in ("rollback", "undo")] == [
        ("rollback", "failure", None), ("undo", "book", 1)
    ]  # fmt: skip


# ------------------------------------------------------------------------------------------------------ drawings


def test_a_graph_as_text_reads_from_the_start_to_the_end() -> None:
    assert render_text(drawn(*undone(), status="failed")) == (
        f"checkout {RUN} (failed)\n"
        "✓ 1 book: completed  [ground]\n"
        "✓ 2 ship: completed\n"
        "✗ 3 boom: failed\n"
        "↶ rollback (failure): partial\n"
        "  ✗ 2 undo of ship: irreversible\n"
        "  ↶ 1 undo of book: undone\n"
        "■ failed\n"
    )


def test_forks_are_indented_in_text() -> None:
    assert render_text(drawn(*done("1.1"), scheduled("1.2"), *done("2"))).splitlines()[1:] == [
        "┬ 1 in parallel", "│ ✓ 1.1 charge: completed", "│ ○ 1.2 charge: scheduled", "┴ 1 gather: running",
        "✓ 2 charge: completed",
    ]  # fmt: skip


def test_mermaid_quotes_names_and_draws_savepoints_as_subgraphs() -> None:
    told = render_mermaid(drawn(*undone(), *done("4", 'a "b" <c>', 9)))
    assert "#quot;b#quot; #lt;c#gt;" in told
    assert '["ground (left)"]\n        n1["1 book<br/>completed"]:::good\n    end' in told
    assert told.startswith("flowchart TD\n")


def test_an_svg_is_well_formed_and_stands_alone() -> None:
    told = render_svg(drawn(*undone(), *done("4", "<script>&", 9), status="failed"))
    top = ElementTree.fromstring(told)  # noqa: S314 - our own
    assert top.tag == "{http://www.w3.org/2000/svg}svg"
    assert "<script>" not in told
    assert "&lt;script&gt;&amp;" in told


def test_the_same_graph_is_drawn_the_same() -> None:
    one, other = drawn(*undone()), drawn(*undone())
    for render in (render_text, render_mermaid, render_svg):
        assert render(one) == render(other)


def test_no_two_nodes_are_put_in_one_place() -> None:
    where = placed(drawn(*done("1"), *done("2.1"), *done("2.2.1"), *done("2.2.2"), *done("2.3"), *done("3")))
    assert len({(p.row, p.column) for p in where}) == len(where)
    rows = {p.node.id: p.row for p in where}
    assert rows["1"] < rows["2.1"] == rows["2.3"] < rows["2.2"] < rows["2"] < rows["3"]
