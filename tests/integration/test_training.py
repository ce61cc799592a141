"""A training asked for in Label Studio, on real workers without a beat: one run, one model."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from sqlalchemy import select

from annotator.demo.figures import write_pictures
from annotator.jobs.dues import ASKED, START_TRAINING
from annotator.store.runs import AttemptRow, RunRow, RunState
from annotator.store.session import open_store
from annotator.store.tables import EventRow
from tests.helpers.deployment import deployed, wait_for

pytestmark = [pytest.mark.postgres, pytest.mark.slow, pytest.mark.xdist_group("night")]

RECIPES = {"mivolo": {"steps": 2, "batch": 8, "evaluate_every": 2, "rate": 1e-6}}


def test_two_workers_serve_a_request_once(tmp_path: Path) -> None:
    truth = write_pictures(tmp_path / "in", 90, 3)
    recipes = json.dumps(RECIPES)
    with deployed(tmp_path, "annotator.cli", ANNOTATOR_RETRAIN_RECIPES=recipes, ANNOTATOR_DEVICE="cpu") as deployment:
        deployment.run("ingest", str(truth))
        for name in ("one", "two"):
            deployment.worker(name)
            wait_for(lambda name=name: "ready" in deployment.log(name), 120)
        store = open_store(deployment.postgres.url)
        with store.write() as session:
            session.add(EventRow(kind="webhook", subject=ASKED, data={"action": START_TRAINING, "ids": {}}))

        def runs() -> list[RunRow]:
            with store.read() as session:
                return list(session.scalars(select(RunRow).order_by(RunRow.id)))

        wait_for(lambda: any(run.state != RunState.RUNNING for run in runs()), 240, 0.5)
        (run,) = runs()
        assert (run.job, run.state, run.started_by) == ("retrain", RunState.DONE, "Label Studio")
        assert run.counts["retrain"]["promoted"] + run.counts["retrain"]["refused"] == 1
        again = deployment.run("jobs", "run", "retrain")
        assert "no label is new since demo-mivolo-0001 was trained" in again
        listed = json.loads((deployment.project / "annotator-data" / "trained.json").read_text("utf-8"))
        assert [model["name"] for model in listed] == ["demo-mivolo-0001"]
        with store.read() as session:
            assert len(session.scalars(select(AttemptRow)).all()) == len(runs()) == 2
        store.close()
