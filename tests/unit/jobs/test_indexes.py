"""Every query of a batch, from its claim to its end, goes by an index; asked of PostgreSQL itself."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from sqlalchemy import event, text

from annotator.jobs import ledger, pump
from annotator.jobs.work import perform
from annotator.settings import Settings
from annotator.store.session import Store
from benchmarks.million import ROWS
from tests.unit.jobs.conftest import tools_with
from tests.unit.jobs.test_ledger import planned

SMALL = {"run", "meta", "fit", "alembic_version"}
"""Tables that stay small whatever the project's size."""


@contextmanager
def listened(store: Store) -> Iterator[list[tuple[str, Any]]]:
    """All statements that are executed meanwhile."""
    heard: list[tuple[str, Any]] = []

    def hear(_c: Any, _cursor: Any, statement: str, parameters: Any, _context: Any, _many: bool) -> None:
        heard.append((statement, parameters[0] if isinstance(parameters, list) else parameters))

    event.listen(store.engine, "before_cursor_execute", hear)
    yield heard
    event.remove(store.engine, "before_cursor_execute", hear)


def scans(node: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """All parts of a plan that read a table or an index."""
    if "Scan" in node["Node Type"]:
        yield node
    for below in node.get("Plans", ()):
        yield from scans(below)


def unindexed(store: Store, statement: str, parameters: Any) -> list[str]:
    """The tables that a statement would read from end to end."""
    with store.engine.connect() as connection:
        connection.execute(text("SET LOCAL enable_seqscan = off"))  # some tables are too small here to need an index
        plan = connection.exec_driver_sql(f"EXPLAIN (FORMAT JSON) {statement}", parameters).scalar()
    found = json.loads(plan) if isinstance(plan, str) else plan
    return [
        f"{node.get('Relation Name', node.get('Index Name'))} by {node['Node Type']}"
        for node in scans(found[0]["Plan"])
        if node["Node Type"] not in ("Bitmap Heap Scan", "Subquery Scan", "CTE Scan", "Function Scan", "Values Scan")
        and "Index Cond" not in node
        and node.get("Relation Name") not in SMALL
    ]


def fill(store: Store, people: int = 30_000) -> None:
    """Enough rows of others for the planner to prefer an index; they failed, so that the night leaves them alone."""
    with store.write() as session:
        for statement in ROWS.split(";\n"):
            if statement.strip():
                session.execute(text(statement), {"images": people // 2, "people": people})
        session.execute(text("UPDATE image SET state = 'failed'"))
        asked = "INSERT INTO review_task (person_key, round, kind, state, wanted_votes, created_at) "
        session.execute(text(f"{asked} SELECT id, 1, 'review', 'open', 3, now() FROM person"))
        for table in ("image", "person"):
            session.execute(text(f"SELECT setval(pg_get_serial_sequence('{table}', 'id'), {people})"))
    with store.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("ANALYZE"))


@pytest.mark.postgres
@pytest.mark.parametrize("store", ["postgres"], indirect=True)
def test_a_batch_reads_no_table_from_end_to_end(store: Store, settings: Settings) -> None:
    fill(store)
    tools = tools_with(store, settings)
    run = planned(tools)
    with listened(store) as heard:
        pump._to_send(store, "gpu", 0)
        ledger.expire(store)
        held = ledger.claim_next(store, run, "w", 30)
        assert held is not None
        assert held.step == "prelabel"
        ledger.renew(store, held, 30)
        assert perform(tools, held) == "done"
    asked = {statement: given for statement, given in heard if statement.startswith(("SELECT", "UPDATE", "DELETE"))}
    assert len(asked) > 25
    wrong = {statement: found for statement, given in asked.items() if (found := unindexed(store, statement, given))}
    assert not wrong, json.dumps(wrong, indent=1)
