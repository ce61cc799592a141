from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from sqlalchemy import func, select, update

from annotator.domain import Gender, LabelSource, ReviewReason, Vote
from annotator.ensemble.codec import fit_from_dict
from annotator.ensemble.fusion import fuse
from annotator.ensemble.published import UNCALIBRATED
from annotator.pipeline.ingest import ingest
from annotator.pipeline.prelabel import prelabel
from annotator.pipeline.refit import Outcome, evidence_of, refit
from annotator.pipeline.report import gather_report
from annotator.pipeline.settle import settle
from annotator.pipeline.triage import triage
from annotator.pipeline.truths import in_the_draw, trusted_people
from annotator.pipeline.version import predictors_in_use
from annotator.pipeline.votes import record_votes
from annotator.predictors.lazy import Lazy
from annotator.predictors.registry import ModelSet
from annotator.settings import Settings
from annotator.store.session import Store
from annotator.store.tables import (
    EventRow,
    FitRow,
    ImageRow,
    LabelRow,
    PersonRow,
    PredictionRow,
    PreLabelRow,
    ReviewTaskRow,
    TaskKind,
)
from tests.helpers.models import MeanPredictor, model_set
from tests.helpers.pictures import write_pictures
from tests.helpers.rows import content

PEOPLE = 128
BIAS = 6.0


@pytest.fixture
def project(corridor: Store, settings: Settings, tmp_path: Path) -> Store:
    """Sixty-four pre-labelled pictures of two people each; nothing is known of anybody."""
    write_pictures(tmp_path / "in", PEOPLE // 2)
    ingest(corridor, settings, [str(tmp_path / "in")])
    prelabel(corridor, settings, model_set())
    return corridor


def give_truth(store: Store, people: int, *, bias: float = BIAS, noise: float = 2.0) -> None:
    """The first ``people`` get a true age: what the predictor `mean` said, less ``bias``, with noise."""
    draws = np.random.default_rng(5).normal(0, noise, people)
    query = select(PredictionRow.person_key, PredictionRow.age, PredictionRow.female_probability)
    with store.write() as session:
        rows = session.execute(
            query.where(PredictionRow.predictor == "mean").order_by(PredictionRow.person_key).limit(people)
        ).all()
        for (key, age, female), draw in zip(rows, draws, strict=True):
            gender = Gender.FEMALE if female > 0.5 else Gender.MALE
            truth = {"truth_age": float(np.clip(age - bias + draw, 0, 100)), "truth_gender": gender}
            session.execute(update(PersonRow).where(PersonRow.id == key).values(truth))


def sealed(*names: str) -> ModelSet:
    """The models of `model_set` by name and version, none of which may be loaded."""

    def refuse() -> MeanPredictor:
        raise AssertionError("a model was loaded")

    predictors = tuple(Lazy(name, f"{name}@1", refuse) for name in names)
    return ModelSet("fake", Lazy("halves", "halves@1", refuse), predictors)  # type: ignore[arg-type]


def count(store: Store, table: type, *conditions: object) -> int:
    with store.read() as session:
        return session.scalar(select(func.count()).select_from(table).where(*conditions)) or 0  # type: ignore[arg-type]


def test_too_few_truths_are_said_and_leave_nothing(project: Store, settings: Settings) -> None:
    give_truth(project, 49)
    report = refit(project, settings)
    assert (report.outcome, report.people, report.version) == (Outcome.TOO_FEW, 49, None)
    assert count(project, FitRow) == 0


def test_nothing_is_fitted_before_the_first_prelabelling(corridor: Store, settings: Settings) -> None:
    report = refit(corridor, settings)
    assert (report.outcome, report.people) == (Outcome.TOO_FEW, 0)
    assert "prelabel" in report.why


def test_a_fit_is_stored_with_its_scores_and_its_story(project: Store, settings: Settings) -> None:
    give_truth(project, 100)
    report = refit(project, settings)
    assert (report.outcome, report.people) == (Outcome.NEW, 100)
    assert report.mae is not None
    assert report.best_predictor_mae is not None
    assert report.mae < report.best_predictor_mae - 2  # the predictors' bias is found
    with project.read() as session:
        row = session.scalars(select(FitRow)).one()
        event = session.scalars(select(EventRow).where(EventRow.kind == "fitted")).one()
    stored = fit_from_dict(row.parameters)
    assert (row.version, row.is_current, row.people) == (report.version, True, 100)
    assert (stored.version, dict(stored.predictors)) == (row.version, {"mean": "mean@1", "other": "other@1"})
    assert row.scores["fused_mae"] == report.mae
    assert (event.subject, event.data["accepted"], event.data["ages"]) == (row.version, True, 100)


def test_the_report_judges_nobody_by_a_fit_that_saw_them(project: Store, settings: Settings) -> None:
    give_truth(project, 100)
    fit = refit(project, settings)
    prelabel(project, settings, model_set())
    people = gather_report(project, settings, datetime(2026, 1, 1, tzinfo=UTC)).people
    known = np.isfinite(people.error) & people.trusted
    assert known.sum() == 100
    assert people.error[known].mean() == pytest.approx(fit.mae)
    with project.read() as session:
        rows = session.execute(
            select(PreLabelRow.age, PersonRow.truth_age).join(PersonRow).where(PreLabelRow.is_current)
        )
        seen = np.array([abs(age - truth) for age, truth in rows if truth is not None])
    assert people.error[known].mean() > seen.mean()  # which the pre-labels themselves would make look better


def test_the_report_has_biases_by_age(project: Store, settings: Settings) -> None:
    give_truth(project, 2)
    with project.write() as session:
        ids = session.scalars(select(PersonRow.person_id).where(PersonRow.truth_age.is_not(None))).all()
        session.execute(update(PersonRow).where(PersonRow.person_id.in_(ids)).values(truth_age=33.0))
    record_votes(project, [Vote("s", name, name, "ann", 40, Gender.MALE) for name in ids])
    settle(project, settings)
    (row,) = gather_report(project, settings, datetime(2026, 1, 1, tzinfo=UTC)).annotators
    assert row.bias_by_age == ((30, pytest.approx(7.0), 2),)


def test_the_gallery_links_to_review_tasks(project: Store, settings: Settings) -> None:
    with project.write() as session:
        hardest = select(PreLabelRow.person_key).where(PreLabelRow.review).order_by(PreLabelRow.priority.desc())
        key = session.scalars(hardest.limit(1)).one()
        task = ReviewTaskRow(person_key=key, kind=TaskKind.REVIEW, wanted_votes=3, external="5:77")
        session.add(task)
    at = datetime(2026, 1, 1, tzinfo=UTC)
    here = settings.model_copy(update={"label_studio_url": "http://studio:8080/"})
    links = [person.link for person in gather_report(project, here, at).hardest]
    assert [link for link in links if link] == ["http://studio:8080/projects/5/data?task=77"]
    assert not any(person.link for person in gather_report(project, settings, at).hardest)


def test_a_second_run_keeps_the_fit_and_writes_nothing(project: Store, settings: Settings) -> None:
    give_truth(project, 100)
    first = refit(project, settings)
    before = content(project, FitRow, EventRow)
    again = refit(project, settings)
    assert (again.outcome, again.version, again.mae) == (Outcome.KEPT, first.version, first.mae)
    assert content(project, FitRow, EventRow) == before


def test_the_next_prelabelling_fuses_again_without_models_or_pictures(
    project: Store, settings: Settings, tmp_path: Path
) -> None:
    give_truth(project, 100)
    fit = refit(project, settings)
    for picture in (tmp_path / "in").iterdir():
        picture.unlink()
    report = prelabel(project, settings, sealed("mean", "other"))
    assert (report.images, report.people, report.failed) == (PEOPLE // 2, PEOPLE, 0)
    current = PreLabelRow.is_current
    assert count(project, PreLabelRow, current, PreLabelRow.fit == fit.version) == PEOPLE
    assert count(project, PreLabelRow, PreLabelRow.fit == UNCALIBRATED, ~current) == PEOPLE
    assert count(project, ImageRow, ImageRow.version == report.version) == PEOPLE // 2
    assert prelabel(project, settings, sealed("mean", "other")).images == 0


def test_a_limit_counts_images_that_are_only_fused_again(project: Store, settings: Settings) -> None:
    give_truth(project, 100)
    refit(project, settings)
    assert prelabel(project, settings, sealed("mean", "other"), limit=10).images == 10
    assert prelabel(project, settings, sealed("mean", "other")).images == PEOPLE // 2 - 10


def test_who_lacks_a_prediction_is_asked(project: Store, settings: Settings) -> None:
    predictors = (MeanPredictor(), MeanPredictor("other", shift=8.0), MeanPredictor("third"))
    report = prelabel(project, settings, model_set(*predictors))
    assert report.images == PEOPLE // 2
    assert [len(one.asked) for one in predictors] == [0, 0, PEOPLE]


def test_a_worse_fit_is_kept_aside_and_not_tried_twice(project: Store, settings: Settings) -> None:
    give_truth(project, 60, noise=1.0)
    first = refit(project, settings)
    good = content(project, FitRow)
    give_truth(project, PEOPLE, noise=1.0)
    with project.write() as session:  # truths on which nothing can be better than the last fit
        parameters = session.scalars(select(FitRow.parameters)).one()
        evidence = list(evidence_of(session, trusted_people(session, settings), predictors_in_use(session)))
        for one in fuse(evidence, fit_from_dict(parameters)):
            session.execute(update(PersonRow).where(PersonRow.person_id == one.person_id).values(truth_age=one.age))
    report = refit(project, settings)
    assert (report.outcome, report.version) == (Outcome.WORSE, first.version)
    assert count(project, FitRow) == 2
    assert [row for row in content(project, FitRow)["fit"] if row in good["fit"]] == good["fit"]
    assert refit(project, settings).outcome == Outcome.KEPT
    assert count(project, EventRow, EventRow.kind == "fitted") == 2


def test_trusted_are_given_truths_and_the_settled_people_of_the_draw(project: Store, settings: Settings) -> None:
    half = settings.model_copy(update={"audit_rate": 0.5})
    with project.write() as session:
        ids = list(session.scalars(select(PersonRow.person_id).order_by(PersonRow.id)))
        drawn = [name for name, yes in zip(ids, in_the_draw(ids, half), strict=True) if yes]
        others = sorted(set(ids) - set(drawn))
        given = {"truth_age": 30.0, "truth_gender": Gender.MALE}
        session.execute(update(PersonRow).where(PersonRow.person_id == others[0]).values(given))
        # of two in the draw one was flagged; so was one outside it
        for name, why in {drawn[0]: (ReviewReason.AUDIT,), drawn[1]: (ReviewReason.NO_FACE,)}.items():
            key = select(PersonRow.id).where(PersonRow.person_id == name).scalar_subquery()
            session.execute(update(PreLabelRow).where(PreLabelRow.person_key == key).values(reasons=why, review=True))
    assert 30 < len(drawn) < 98
    voted = [*drawn[:2], others[1]]
    record_votes(
        project, [Vote("s", f"{name}-{who}", name, f"a{who}", 40, Gender.MALE) for name in voted for who in range(3)]
    )
    settle(project, half)
    assert count(project, LabelRow, LabelRow.source == LabelSource.SETTLED) == 3
    with project.read() as session:
        trusted = {one.row.person_id: one.truth.age for one in trusted_people(session, half)}
    assert trusted == {others[0]: 30, drawn[0]: pytest.approx(40), drawn[1]: pytest.approx(40)}


def test_the_draw_is_the_triages_own(project: Store, settings: Settings) -> None:
    some = settings.model_copy(update={"audit_rate": 0.1, "review_rate": 0.0})
    triage(project, some)
    with project.read() as session:
        rows = session.execute(select(PersonRow.person_id, PreLabelRow.reasons).join(PreLabelRow)).all()
    audited = {name for name, reasons in rows if reasons == (ReviewReason.AUDIT,)}
    names = [name for name, _ in rows]
    assert audited == {name for name, yes in zip(names, in_the_draw(names, some), strict=True) if yes}
    assert audited
