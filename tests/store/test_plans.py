"""Every statement finds its rows by an index, however many runs sleep."""

import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import text

from squidmesh.ports import Join, Prunable, RunChange, RunFilter, ScheduleChange, ScheduleRow, TickRow
from squidmesh.store import SqlStore, open_store
from squidmesh.store.database import Statements
from tests.servers import fresh_database

from .support import CAN, LEASE, SECOND, a_task, an_append, new_run, outcome, started, worker

SLEEPING = 100_000
BOTH = ["sqlite_url", "postgres_url"]

FILL = {
    "postgresql": """
        INSERT INTO squidmesh_runs
            (id, workflow, version, status, reason, queue, priority, created_at, due_at, epoch, length, attributes)
        SELECT gen_random_uuid(), 'shop', 1, 'waiting', 'sleeping', 'default', n % 3, :now, :now + 3600000000 + n, 1, 5,
            CASE WHEN n % 10 = 0 THEN json_build_object('customer', n) END
        FROM generate_series(1, :count) AS n
    """,
    "sqlite": """
        WITH RECURSIVE s(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM s WHERE n < :count)
        INSERT INTO squidmesh_runs
            (id, workflow, version, status, queue, priority, created_at, due_at, epoch, length)
        SELECT lower(hex(randomblob(4)) || '-' || hex(randomblob(2)) || '-4' || substr(hex(randomblob(2)), 2) || '-a'
            || substr(hex(randomblob(2)), 2) || '-' || hex(randomblob(6))),
            'shop', 1, 'waiting', 'default', n % 3, :now, :now + 3600000000 + n, 1, 5
        FROM s
    """,
}


@pytest.fixture(params=BOTH)
def sleepy(request: pytest.FixtureRequest) -> Iterator[SqlStore]:
    """A store with 100,000 runs that sleep for an hour."""
    store = _filled(open_store(request.getfixturevalue(request.param)))
    yield store
    store.close()
    store.engine.dispose()


@pytest.fixture(scope="module")
def crowd(request: pytest.FixtureRequest) -> Iterator[SqlStore]:
    """The same store for all that only read it; vacuumed, as a database is that has stood for a while."""
    if request.param == "sqlite_url":
        file = request.getfixturevalue("tmp_path_factory").mktemp("crowd") / "squidmesh.db"
        store = open_store(f"sqlite:///{file}")
        store.make_ready()
        yield _filled(store)
        store.close()
        store.engine.dispose()
        return
    server = request.getfixturevalue("postgres_server")
    with fresh_database(server.url, request.getfixturevalue("_postgres_template")) as url:
        store = _filled(open_store(url))
        with store.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.execute(text("VACUUM ANALYZE squidmesh_runs"))
        yield store
        store.close()
        store.engine.dispose()


def _filled(store: SqlStore) -> SqlStore:
    with store.engine.begin() as connection:
        connection.execute(text(FILL[store.engine.dialect.name]), {"now": store.now(), "count": SLEEPING})
    return store


@pytest.fixture
def spoken(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, dict[str, Any]]]:
    """Every statement that is said, with its parameters."""
    said: list[tuple[str, dict[str, Any]]] = []

    def listening(method: Any) -> Any:
        def listen(self: Statements, statement: str, **parameters: Any) -> Any:
            said.append((statement, parameters))
            return method(self, statement, **parameters)

        return listen

    monkeypatch.setattr(Statements, "rows", listening(Statements.rows))
    monkeypatch.setattr(Statements, "change", listening(Statements.change))
    return said


def do_everything(store: SqlStore) -> None:
    worker(store)
    store.renew("w1", LEASE)
    store.due(CAN, 10)
    parent = str(uuid4())
    one, two = started(store, key="k"), started(store, parent=parent)
    store.run_by_key("k")
    store.due_runs("default", CAN, 10)
    for fresh in (False, True):
        next_one = store.claim_next("w1", "default", 7, CAN, lambda _: 0, fresh)
        assert next_one is None
    claimed = store.claim("w1", one, CAN)
    assert claimed is not None
    store.append(an_append(claimed, 2))
    store.append(an_append(claimed, 3, tasks=tuple(a_task(store, f"7.{n}", join_position="7") for n in range(4))))
    store.append(an_append(claimed, 4, joins=(Join("7", 4),)))
    store.post(one, "Signal", "[{}]", key="k")
    inbox = store.refresh(one, "w1", 1)
    assert inbox is not None
    release = RunChange("waiting", release=True, due_at=store.now())
    store.append(an_append(claimed, 5, taken=(inbox[0].id,), change=release))
    first, second = store.claim_tasks("w1", "default", CAN, 2, run_id=one)
    (third,) = store.claim_tasks("w1", "default", CAN, 1)
    store.checkpoint(one, first.position, "w1", 1, "1")
    store.note(one, first.position, "w1", 1, "[{}]")
    store.hand_back("w1", [(one, second.position, 1)])
    store.report("w1", [outcome(first), outcome(third, retry_at=1)])
    again = store.claim("w1", one, CAN, known=lambda _: 2)
    assert again is not None
    store.withdraw(one, "w1", 2, ["7.1", "7.2", "7.3"])
    store.append(an_append(again, 6, change=RunChange("failed", ended_at=1)))
    other = store.claim("w1", two, CAN)
    assert other is not None
    store.let_go(two, "w1", 1, store.now())
    other = store.claim("w1", two, CAN)
    assert other is not None
    store.append(an_append(other, 2, change=RunChange("blocked", release=True, code="old")))
    store.unblock(CAN, {("shop", 1): "new"}, 10)
    other = store.claim("w1", two, CAN)
    assert other is not None
    with store.transaction() as shared:
        shared.append(an_append(other, 3, tasks=(a_task(store, "7.9"),), joins=(Join("7", 1),)))
    (task,) = store.claim_tasks("w1", "default", CAN, 1, run_id=two)
    with store.transaction() as shared:
        shared.report("w1", [outcome(task)])
    store.append(an_append(other, 4, change=RunChange("completed", ended_at=1, rollback="clean")))
    store.post(two, "RollbackStarted", "[{}]", reopen="undoing")
    other = store.claim("w1", two, CAN)
    assert other is not None
    with store.transaction() as shared:
        taken = tuple(message.id for message in store.inbox(two))
        shared.append(an_append(other, 5, change=RunChange("undone", ended_at=1), taken=taken))
    store.start([new_run(store), new_run(store)])
    for read in (store.run, store.history, store.last, store.inbox, store.tasks):
        read(one)  # type: ignore[operator]
    store.runs(RunFilter(status=["completed"], rollback=["clean"]), 10, None)
    store.runs(RunFilter(parent=parent), 10, None)
    store.runs(RunFilter(), 10, one)
    store.tasks_of("w1")
    worker(store, "dead", lease=0.0)
    store.expired()
    store.take_over("dead", {})
    store.leave("w1", {})
    trees = store.trees(Prunable("undone", store.now(), str(UUID(int=2**128 - 1)), ("shop",)), None, 10)
    assert len(store.records([tree.root for tree in trees])) == 1
    assert len(store.prune(trees)) == 1
    tick(store, parent)


def tick(store: SqlStore, run_id: str) -> None:
    now = store.now()
    row = ScheduleRow("nightly", "shop", 1, "{}", None, now, now, now, now - 1, queued_at=now - 2)
    store.change_schedule(ScheduleChange("nightly", None, row))
    assert len(store.due(CAN, 10).schedules) == 1
    ticks = (TickRow("nightly", now, "started", run_id),)
    again = replace(row, revision=now + 1)
    assert store.change_schedule(
        ScheduleChange("nightly", now, again, ticks, (new_run(store, run_id=run_id),), (run_id,)), wait=False
    )
    assert store.met("nightly") == [run_id]
    assert store.ticks("nightly", 0, now, 10) == list(ticks)
    message = (run_id, "CancelRequested", "[{}]")
    store.change_schedule(ScheduleChange("nightly", now + 1, replace(again, revision=now + 2), messages=(message,)))
    assert store.schedule("nightly") is not None
    store.change_schedule(ScheduleChange("nightly", now + 2, None))


def nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for child in plan.get("Plans", ()):
        yield from nodes(child)


def unindexed(store: SqlStore, statement: str, parameters: dict[str, Any]) -> list[str]:
    """What this statement reads of a table that can be large without looking it up in an index."""
    postgres = store.engine.dialect.name == "postgresql"
    with store.database.transaction() as statements:
        explain = "EXPLAIN (FORMAT JSON) " if postgres else "EXPLAIN QUERY PLAN "
        rows = statements.rows(explain + statement, **parameters)
    if not postgres:
        return [row[3] for row in rows if row[3].startswith("SCAN squidmesh_") and "workers" not in row[3]]
    found = rows[0][0]
    plan = (json.loads(found) if isinstance(found, str) else found)[0]["Plan"]
    return [
        f"{node['Node Type']} on {node['Relation Name']}"
        for node in nodes(plan)
        if node.get("Relation Name", "squidmesh_workers") != "squidmesh_workers"
        and node["Node Type"] not in ("ModifyTable", "Bitmap Heap Scan")
        and "Index Cond" not in node
    ]


def pages_read(store: SqlStore, statement: str, parameters: dict[str, Any]) -> int:
    with store.database.autocommit() as statements:
        rows = statements.rows("EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) " + statement, **parameters)
    plan = rows[0][0][0]["Plan"]
    return int(plan["Shared Hit Blocks"] + plan["Shared Read Blocks"])


def test_every_statement_finds_its_rows_by_index(sleepy: SqlStore, spoken: list[tuple[str, dict[str, Any]]]) -> None:
    do_everything(sleepy)
    statements = dict(spoken)
    assert len(statements) > 30
    wrong = {text: found for text, parameters in statements.items() if (found := unindexed(sleepy, text, parameters))}
    assert wrong == {}


LISTS = [
    RunFilter(),
    RunFilter(status=["failed"]),
    RunFilter(status=["waiting"]),
    RunFilter(status=["blocked", "completed"]),
    RunFilter(reason=["step_in_doubt"]),
    RunFilter(reason=["failed", "sleeping"]),
    RunFilter(workflow=["shop"]),
    RunFilter(workflow=["shop"], status=["failed"]),
    RunFilter(workflow=["none"], reason=["sleeping"]),
    RunFilter(version=9),
    RunFilter(deadline="overdue"),
    RunFilter(deadline="overdue", workflow=["shop"]),
    RunFilter(deadline="due_soon"),
    RunFilter(has_rollback=True),
    RunFilter(orphaned=True),
    RunFilter(orphaned=True, workflow=["shop"]),
    RunFilter(attributes={"customer": 7}),
    RunFilter(attributes={"customer": 7}, status=["waiting"]),
    RunFilter(key="k"),
    RunFilter(parent="01920e5a-7c1d-7000-8000-000000000000"),
]
"""What an operator asks for. All the runs there are sleep; so what is asked for is mostly not there."""


@pytest.mark.parametrize("wanted", LISTS, ids=str)
@pytest.mark.parametrize("crowd", ["postgres_url"], indirect=True)  # SQLite does not tell what it has read
def test_a_page_reads_little_whatever_is_asked_for(
    crowd: SqlStore, spoken: list[tuple[str, dict[str, Any]]], wanted: RunFilter
) -> None:
    crowd.runs(wanted, 51, None)
    ((statement, parameters),) = spoken
    assert unindexed(crowd, statement, parameters) == []
    assert pages_read(crowd, statement, parameters) < 1_500, statement


@pytest.mark.parametrize("wanted", [w for w in LISTS if w.attributes is None], ids=str)
@pytest.mark.parametrize("crowd", ["sqlite_url"], indirect=True)
def test_a_page_is_found_by_index_on_sqlite(
    crowd: SqlStore, spoken: list[tuple[str, dict[str, Any]]], wanted: RunFilter
) -> None:
    crowd.runs(wanted, 51, None)
    ((statement, parameters),) = spoken
    assert unindexed(crowd, statement, parameters) == []


@pytest.mark.parametrize("sleepy", ["postgres_url"], indirect=True)  # SQLite does not tell what it has read
def test_the_sweep_does_not_read_what_sleeps(sleepy: SqlStore, spoken: list[tuple[str, dict[str, Any]]]) -> None:
    worker(sleepy)
    spoken.clear()
    assert sleepy.due(CAN, 10).runs == {}
    assert sleepy.due_runs("default", CAN, 10) == []
    for statement, parameters in list(spoken):
        assert pages_read(sleepy, statement, parameters) < 100, statement


@pytest.mark.parametrize("fresh", [False, True])
@pytest.mark.parametrize("storm", [False, True])
@pytest.mark.parametrize("sleepy", ["postgres_url"], indirect=True)
def test_a_claim_reads_little_of_what_waits_or_is_due_at_once(
    sleepy: SqlStore, spoken: list[tuple[str, dict[str, Any]]], storm: bool, fresh: bool
) -> None:
    worker(sleepy)
    if storm:
        with sleepy.engine.begin() as connection:
            connection.execute(text("UPDATE squidmesh_runs SET due_at = due_at - 7200000000"))
        with sleepy.engine.connect() as connection:
            plain = connection.execution_options(isolation_level="AUTOCOMMIT")
            plain.execute(text("VACUUM ANALYZE squidmesh_runs"))  # the rows as they were would be read, too
    spoken.clear()
    assert (sleepy.claim_next("w1", "default", 1, CAN, lambda _: 0, fresh) is not None) is storm
    assert pages_read(sleepy, *spoken[0]) < 300
    spoken.clear()
    assert sleepy.due(CAN, 10).runs == ({"default": 10} if storm else {})
    for statement, parameters in list(spoken):
        assert pages_read(sleepy, statement, parameters) < 300, statement


@pytest.mark.parametrize("sleepy", ["postgres_url"], indirect=True)
def test_a_look_for_what_may_go_reads_no_more_than_it_gives(
    sleepy: SqlStore, spoken: list[tuple[str, dict[str, Any]]]
) -> None:
    with sleepy.engine.begin() as connection:
        connection.execute(text("UPDATE squidmesh_runs SET status = 'completed', ended_at = 1, due_at = NULL"))
    spoken.clear()
    wanted = Prunable("completed", sleepy.now(), str(UUID(int=2**128 - 1)))
    assert len(sleepy.trees(wanted, str(UUID(int=2**127)), 10)) == 10
    assert len(spoken) == 2
    for statement, parameters in list(spoken):
        with sleepy.database.autocommit() as statements:
            rows = statements.rows("EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) " + statement, **parameters)
        plan = rows[0][0][0]["Plan"]
        assert plan["Shared Hit Blocks"] + plan["Shared Read Blocks"] < 200, statement


def test_the_next_due_time_is_found_among_all_that_sleep(sleepy: SqlStore) -> None:
    due = sleepy.due(CAN, 10)
    assert due.runs == {}
    assert due.next_at is not None
    assert 3_000 * SECOND < due.next_at - sleepy.now() <= 3_601 * SECOND
