from __future__ import annotations

from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import inspect, text

from annotator.errors import DatabaseError
from annotator.store import schema
from annotator.store.session import make_engine, open_store
from annotator.store.tables import Base


def differences(url: str) -> list[object]:
    engine = make_engine(url)
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        found = compare_metadata(context, Base.metadata)
    engine.dispose()
    return list(found)


def tables(url: str) -> set[str]:
    engine = make_engine(url)
    names = set(inspect(engine).get_table_names())
    engine.dispose()
    return names


def test_up_down_up_and_the_models_equal_the_migrations(url: str) -> None:
    engine = make_engine(url)
    schema.upgrade(engine)
    assert differences(url) == []
    assert tables(url) == set(Base.metadata.tables) | {"alembic_version"}
    schema.downgrade(engine, "base")
    assert tables(url) == {"alembic_version"}
    schema.upgrade(engine)
    schema.upgrade(engine)
    assert differences(url) == []
    engine.dispose()


def test_checks_of_the_migrations_are_those_of_the_models(url: str) -> None:
    """Alembic compares no CHECK constraints, so this does."""
    engine = make_engine(url)
    schema.upgrade(engine)
    migrated = {
        (table, check["name"])
        for table in Base.metadata.tables
        for check in inspect(engine).get_check_constraints(table)
    }
    with engine.begin() as connection:
        for table in reversed(Base.metadata.sorted_tables):
            connection.execute(text(f"DROP TABLE {table.name}"))
        Base.metadata.create_all(connection)
    fresh = {
        (table, check["name"])
        for table in Base.metadata.tables
        for check in inspect(engine).get_check_constraints(table)
    }
    engine.dispose()
    assert migrated == fresh
    assert ("person", "ck_person_has_box") in migrated


def test_revisions_are_those_of_the_scripts() -> None:
    scripts = ScriptDirectory(str(schema.scripts_folder()))
    assert tuple(reversed([script.revision for script in scripts.walk_revisions()])) == schema.REVISIONS


def test_an_empty_database_asks_for_init(url: str) -> None:
    with pytest.raises(DatabaseError, match="no tables yet; run `annotator init`"):
        open_store(url)


@pytest.mark.parametrize(
    ("revision", "words"), [("9999", "newer version .9999.; upgrade annotator"), ("0000", "older")]
)
def test_other_revisions_are_refused(url: str, revision: str, words: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(schema, "REVISIONS", ("0000", "0001"))
    engine = make_engine(url)
    schema.upgrade(engine)
    with engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = :revision"), {"revision": revision})
    with pytest.raises(DatabaseError, match=words):
        open_store(url)
    if revision == "9999":
        with pytest.raises(DatabaseError, match="upgrade annotator"):
            schema.upgrade(engine)
    engine.dispose()


def test_a_failing_migration_leaves_nothing_behind(url: str) -> None:
    engine = make_engine(url)
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE vote (id INTEGER)"))
    with pytest.raises(Exception, match="vote"):
        schema.upgrade(engine)
    assert "image" not in tables(url)
    engine.dispose()


@pytest.mark.parametrize(
    ("wrong", "words"),
    [("nonsense", "no SQLAlchemy URL"), ("mysql://u:secret@h/d", "works with sqlite and postgresql")],
)
def test_wrong_urls_say_so_without_passwords(wrong: str, words: str) -> None:
    with pytest.raises(DatabaseError, match=words) as caught:
        make_engine(wrong)
    assert "secret" not in str(caught.value)


def test_messages_hide_the_password(tmp_path: Path) -> None:
    engine = make_engine("postgresql://someone:secret@127.0.0.1:1/x")
    assert "secret" not in engine.url.render_as_string()
    assert engine.url.drivername == "postgresql+psycopg"
    engine.dispose()
