"""Trees of runs: found, read, and taken away.

The rule of this file: a run is deleted only with all of its tree, and only as it was when somebody looked: locked, and
neither opened nor prolonged since. Rows that others have locked are passed over, so nobody waits for anybody here.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

from squidmesh.ports import HistoryRow, Member, Prunable, Record, Tree
from squidmesh.store.database import CLIENT_PATIENCE, Database, Statements
from squidmesh.store.listing import EACH, JUMPS, OVER, SAME
from squidmesh.store.rows import HISTORY, RUN, history_row, known_ids, run_row

#: When run `r` belongs to the tree of `kin`, which is in it already: as a child, or as another link of its chain.
_LINKED = "(r.parent = kin.id OR r.chain = kin.chain)"
#: A run whose parent is gone is the root of what hangs on it. Of runs that continue one another it is the newest.
_IS_ROOT = """(r.parent IS NULL OR NOT EXISTS (SELECT 1 FROM squidmesh_runs AS p WHERE p.id = r.parent))
    AND (r.chain IS NULL OR NOT EXISTS (SELECT 1 FROM squidmesh_runs AS n WHERE n.chain = r.chain AND n.id > r.id))"""

# The oldest of each group (see listing.py), of which the oldest of all are taken.
_OLDEST = f"""
    SELECT r.id FROM squidmesh_runs AS r
    WHERE {OVER} AND {SAME} AND r.id > :after AND r.id < :before AND r.ended_at < :ended_before AND {_IS_ROOT}
    ORDER BY r.id LIMIT :limit"""
_GROUPS = "groups AS g JOIN squidmesh_runs AS o ON o.id = g.id AND o.status = :status #workflow#"


def _roots(dialect: str, among: str) -> str:
    each = EACH[dialect].replace("#from#", _GROUPS.replace("#workflow#", among)).replace("#newest#", _OLDEST)
    groups = JUMPS.replace("#name#", "groups").replace("#set#", OVER)
    return f"""
WITH RECURSIVE {groups}, oldest AS ({each})
SELECT {{text:id}} FROM oldest AS n ORDER BY n.id LIMIT :limit
"""  # not by `id`: that would be the text which is asked for


_TREES = f"""
WITH RECURSIVE kin(root, id, chain) AS (
    SELECT id, id, chain FROM squidmesh_runs WHERE id {{in:roots:uuid}}
    UNION
    SELECT kin.root, r.id, r.chain FROM kin JOIN squidmesh_runs AS r ON {_LINKED}
)
SELECT {{text:root}}, {{text:id}}, ended_at, length FROM (SELECT root, id FROM kin) AS k JOIN squidmesh_runs USING (id)
ORDER BY root, id
"""
_LOCK = """
SELECT {text:id}, ended_at, length FROM squidmesh_runs AS r WHERE id {in:ids:uuid} AND ended_at IS NOT NULL
ORDER BY r.id {lock}
"""
_THERE = "SELECT {text:id} FROM squidmesh_runs WHERE id {in:ids:uuid}"
_FIRST = "00000000-0000-0000-0000-000000000000"


def trees(database: Database, wanted: Prunable, after: str | None, limit: int) -> list[Tree]:
    among = "" if wanted.workflow is None else "AND o.workflow {in:workflows}"
    rows = database.read(
        _roots(database.dialect.name, among),
        status=wanted.status,
        after=after or _FIRST,
        before=wanted.created_before,
        ended_before=wanted.ended_before,
        workflows=database.dialect.listed(wanted.workflow or ()),
        limit=limit,
    )
    if not rows:
        return []
    kin = database.read(_TREES, roots=database.dialect.listed(row[0] for row in rows))
    return [_tree(root, [Member(*row[1:]) for row in members]) for root, members in groupby(kin, lambda row: row[0])]


def _tree(root: str, members: list[Member]) -> Tree:
    return Tree(tuple(sorted(members, key=lambda member: member.run_id != root)))


def records(database: Database, run_ids: Sequence[str]) -> list[Record]:
    """Those of them that are there, in order of their ids."""
    ids = database.dialect.listed(known_ids(run_ids))
    runs = database.read(f"SELECT {RUN} FROM squidmesh_runs WHERE id {{in:ids:uuid}} ORDER BY id", ids=ids)
    rows = database.read(
        f"SELECT {HISTORY} FROM squidmesh_history WHERE run_id {{in:ids:uuid}} ORDER BY run_id, seq", ids=ids
    )
    histories: dict[str, list[HistoryRow]] = {
        run_id: [history_row(row) for row in group] for run_id, group in groupby(rows, lambda row: row[0])
    }
    return [Record(run, histories.get(run.run_id, [])) for run in map(run_row, runs)]


def prune(database: Database, wanted: Sequence[Tree]) -> frozenset[str]:
    seen = {member.run_id: member for tree in wanted for member in tree.members}

    def attempt(again: bool) -> frozenset[str]:
        with database.transaction() as statements:
            rows = statements.rows(_LOCK, ids=database.dialect.listed(sorted(seen)))
            same = {row[0] for row in rows if Member(*row) == seen[row[0]]}
            going = [tree for tree in wanted if all(member.run_id in same for member in tree.members)]
            _delete(database, statements, [member.run_id for tree in going for member in tree.members])
            if again:  # an answer may have been lost, and what it told of is gone already
                rows = statements.rows(_THERE, ids=database.dialect.listed(tree.root for tree in wanted))
                going = [tree for tree in wanted if tree.root not in {row[0] for row in rows}]
        return frozenset(tree.root for tree in going)

    return database.patiently(attempt, CLIENT_PATIENCE)


def _delete(database: Database, statements: Statements, run_ids: list[str]) -> None:
    if not run_ids:
        return
    ids = database.dialect.listed(sorted(run_ids))
    for table in ("tasks", "joins", "inbox", "history"):
        statements.change(f"DELETE FROM squidmesh_{table} WHERE run_id {{in:ids:uuid}}", ids=ids)  # noqa: S608
    statements.change("DELETE FROM squidmesh_runs WHERE id {in:ids:uuid}", ids=ids)
