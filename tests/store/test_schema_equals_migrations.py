"""The migrations make the very schema that the statements are written for."""

from collections.abc import Callable
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.command import upgrade
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine, MetaData, text

from squidmesh.store.migrate import OLDER, REVISION, VERSION_TABLE, alembic_config
from squidmesh.store.opening import engine_for
from squidmesh.store.tables import metadata

DEFINITIONS: dict[str, str] = {
    "sqlite": "SELECT name, sql FROM sqlite_master WHERE name LIKE 'squidmesh%' AND sql IS NOT NULL ORDER BY name",
    "postgresql": """
        SELECT tablename || ' ' || indexname, indexdef FROM pg_indexes WHERE schemaname = 'public'
        UNION ALL
        SELECT table_name || '.' || column_name, concat_ws(' ', data_type, is_nullable, column_default)
        FROM information_schema.columns WHERE table_schema = 'public'
        ORDER BY 1
    """,
}


@pytest.fixture
def engine(empty_database_url: str) -> Any:
    engine = engine_for(empty_database_url)
    yield engine
    engine.dispose()


def metadata_of(dialect: str) -> MetaData:
    """The schema as one of the databases has it: without the indexes that are the other one's."""
    copy = MetaData()
    for table in metadata.sorted_tables:
        here = table.to_metadata(copy)
        others = {index.name for index in table.indexes if index._ddl_if and index._ddl_if.dialect != dialect}
        here.indexes -= {index for index in here.indexes if index.name in others}
    return copy


def migrated(connection: Connection) -> None:
    upgrade(alembic_config(connection), "head")


def test_after_all_migrations_nothing_is_left_to_migrate(engine: Engine) -> None:
    with engine.begin() as connection:
        migrated(connection)
        context = MigrationContext.configure(connection, opts={"version_table": VERSION_TABLE})
        assert compare_metadata(context, metadata_of(engine.dialect.name)) == []


def definitions(engine: Engine, make: Callable[[Connection], None]) -> dict[str, str]:
    """What the database says of tables and indexes, as it made them."""
    with engine.connect() as connection:
        make(connection)
        rows = connection.execute(text(DEFINITIONS[engine.dialect.name])).all()
        connection.rollback()
    return {name: " ".join(said.replace('"', "").split()) for name, said in rows if VERSION_TABLE not in name}


def test_migrations_and_metadata_give_the_same_definitions(engine: Engine) -> None:
    by_metadata = definitions(engine, metadata.create_all)
    by_migrations = definitions(engine, migrated)
    assert by_migrations == by_metadata
    assert len(by_metadata) >= 12


def test_the_newest_revision_is_the_one_that_the_code_asks_for() -> None:
    script = ScriptDirectory.from_config(alembic_config())
    assert script.get_current_head() == REVISION
    assert {revision.revision for revision in script.walk_revisions()} == {REVISION, *OLDER}


def test_the_comparison_sees_a_difference(engine: Engine) -> None:
    with engine.begin() as connection:
        migrated(connection)
        connection.execute(text("DROP INDEX squidmesh_runs_due"))
        context = MigrationContext.configure(connection, opts={"version_table": VERSION_TABLE})
        assert compare_metadata(context, metadata_of(engine.dialect.name)) != []
