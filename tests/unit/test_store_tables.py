"""The tables and the migrations that make them."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
import sqlmodel
from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import inspect
from sqlalchemy.dialects import postgresql
from sqlalchemy.exc import IntegrityError
from sqlalchemy.schema import CreateTable
from tests.facts import make_change, make_exposure, make_fix, make_incident

from healspan.remediation.fix import FixState
from healspan.remediation.settings import load_settings
from healspan.remediation.store import migrate, tables
from healspan.remediation.store.database import Database
from healspan.remediation.store.facts import context_text
from healspan.remediation.store.rows import row_of


@pytest.fixture
def database() -> Iterator[Database]:
    database = Database.for_tool(load_settings())
    yield database
    database.close()


@pytest.fixture
def alembic() -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(migrate.__file__).parent / "migrations"))
    return config


def test_an_empty_database_is_brought_to_the_newest_revision(database: Database) -> None:
    with database.reading() as connection:
        names = set(inspect(connection).get_table_names())
        assert migrate.current_revision(connection) == migrate.HEAD
    assert names == {table.name for table in tables.TABLES} | {migrate.VERSION_TABLE}


def test_the_migrations_make_exactly_the_tables_of_the_code(database: Database, alembic: Config) -> None:
    with database.writing() as connection:
        alembic.attributes["connection"] = connection
        command.check(alembic)


def test_the_migrations_hold_the_checks_of_the_code(database: Database) -> None:
    for table in tables.TABLES:
        declared = {str(one.name) for one in table.constraints if str(one.name).startswith("ck_")}
        with database.reading() as connection:
            made = {one["name"] for one in inspect(connection).get_check_constraints(table.name)}
        assert made == declared, table.name


def test_the_newest_revision_is_the_one_the_code_expects(alembic: Config) -> None:
    assert ScriptDirectory.from_config(alembic).get_current_head() == migrate.HEAD


def test_the_migrations_can_be_undone(database: Database, alembic: Config) -> None:
    with database.writing() as connection:
        alembic.attributes["connection"] = connection
        command.downgrade(alembic, "base")
        assert set(inspect(connection).get_table_names()) == {migrate.VERSION_TABLE}


def test_a_services_own_tables_do_not_meet_ours() -> None:
    class Incident(sqlmodel.SQLModel, table=True):
        __tablename__ = "incident"
        id: int = sqlmodel.Field(primary_key=True)

    assert "incident" in sqlmodel.SQLModel.metadata.tables
    assert sqlmodel.SQLModel.metadata is not tables.METADATA
    sqlmodel.SQLModel.metadata.remove(sqlmodel.SQLModel.metadata.tables["incident"])


def test_postgresql_would_take_the_tables() -> None:
    # Compiled only: no server is started here.
    written = "".join(str(CreateTable(table).compile(dialect=postgresql.dialect())) for table in tables.TABLES)
    assert "position BIGSERIAL" in written
    assert "TIMESTAMP WITH TIME ZONE" in written


def test_moments_come_back_in_utc_and_must_have_a_zone() -> None:
    kind = tables.UtcTime()
    here = datetime(2026, 1, 2, 3, 4, 5, 678, tzinfo=timezone(timedelta(hours=2)))
    for dialect in (Database("sqlite:////x", busy_ms=0)._url.get_dialect()(), postgresql.dialect()):
        stored = kind.process_bind_param(here, dialect)
        assert kind.process_result_value(stored, dialect) == here
        assert kind.process_result_value(stored, dialect).tzinfo is UTC
        with pytest.raises(ValueError, match="aware"):
            kind.process_bind_param(here.replace(tzinfo=None), dialect)


def test_what_must_never_be_is_refused_by_the_database(database: Database) -> None:
    fix = make_fix()
    table, values = row_of(make_change(fix, 1, FixState.PROPOSED, None))
    with pytest.raises(IntegrityError, match="FOREIGN KEY"), database.writing() as connection:
        connection.execute(table.insert().values(**values, revision=1))
    table, values = row_of(make_exposure())
    with pytest.raises(IntegrityError, match="ck_exposure_calls"), database.writing() as connection:
        connection.execute(table.insert().values(**{**values, "calls": -1}))
    table, values = row_of(make_incident())
    with pytest.raises(IntegrityError, match="ck_incident_severity"), database.writing() as connection:
        connection.execute(table.insert().values(**{**values, "severity": "meh"}))


def test_equal_contexts_have_one_text_and_different_ones_never_the_same() -> None:
    assert context_text({"b": "2", "a": "1"}) == "a=1, b=2" == context_text({"a": "1", "b": "2"})
    assert context_text({"a": "1, b=2"}) != context_text({"a": "1", "b": "2"})
    assert context_text({"a": "1=2"}) != context_text({"a=1": "2"})
    assert context_text({"a": "1%2C"}) != context_text({"a": "1,"})
    assert context_text({}) == ""
