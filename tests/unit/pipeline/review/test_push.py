"""Setting up and pushing: complete, repeatable, and continued after every interruption."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from sqlalchemy import delete, select, update

from annotator.errors import AnnotatorError, ConfigurationError, ServiceError
from annotator.labelstudio.answers import marker_of
from annotator.pipeline.prelabel import prelabel
from annotator.pipeline.review.studio import SECRET_FILE, alone, webhook_secret
from annotator.store.tables import (
    FailureRow,
    ImageRow,
    ImageState,
    MetaRow,
    PersonRow,
    PreLabelRow,
    ReviewTaskRow,
    StudioTaskRow,
    TaskKind,
    TaskState,
)
from tests.helpers.models import MeanPredictor, model_set


def test_setup_makes_both_projects_with_everything(world: Any) -> None:
    report = world.setup()
    assert report.troubles == ()
    assert report.secret_made
    assert len(world.studio.projects) == 2
    whole, vote = world.studio.projects[report.whole], world.studio.projects[report.vote]
    assert whole["model_version"] == report.version
    assert whole["show_collab_predictions"] is True
    assert vote["show_collab_predictions"] is False
    assert vote["maximum_annotations"] == world.settings.settle_min_votes
    assert [view["data"]["title"] for view in world.studio.views.values()] == ["needs review", "corrected", "failed"]
    secret = webhook_secret(world.settings)
    assert secret
    hooks = [(hook["project"], hook["url"], hook["headers"]) for hook in world.studio.webhooks.values()]
    wanted = {"X-Annotator-Secret": secret}
    assert sorted(hooks, key=str) == [(report.whole, "http://127.0.0.1:9090/webhook", wanted),
                                      (report.vote, "http://127.0.0.1:9090/webhook", wanted)]  # fmt: skip
    file = world.settings.path(world.settings.data_dir) / SECRET_FILE
    assert file.stat().st_mode & 0o777 == 0o600


def test_setup_again_changes_nothing_and_finds_projects_without_the_database(world: Any) -> None:
    first = world.setup()
    writes = world.studio.writes
    again = world.setup()
    assert (again.changes, again.secret_made, world.studio.writes) == ((), False, writes)
    with world.store.write() as session:
        session.execute(delete(MetaRow).where(MetaRow.key.like("review:%")))
    found = world.setup()
    assert (found.whole, found.vote, found.changes) == (first.whole, first.vote, ())
    other = world.with_settings(review_name="Others").setup()
    assert {other.whole, other.vote}.isdisjoint({first.whole, first.vote})


def test_setup_without_an_answering_backend_does_the_rest_and_says_so(world: Any) -> None:
    world.studio.unreachable_backend = True
    report = world.setup()
    assert "the ML backend is not connected" in report.troubles[0]
    assert len(world.studio.projects) == 2
    world.studio.unreachable_backend = False
    assert world.setup().troubles == ()


def test_a_new_version_renames_the_backend(pushed: Any) -> None:
    models = model_set(MeanPredictor(version="2"), MeanPredictor("other", shift=8.0))
    pushed.models = models
    report = pushed.setup()
    (backend,) = pushed.studio.backends.values()
    assert backend["title"] == report.version
    assert pushed.studio.projects[report.whole]["model_version"] == report.version


def test_push_sends_every_picture_with_one_prediction_of_each(world: Any) -> None:
    world.setup()
    report = world.push()
    assert (report.whole.created, report.whole.filled, report.whole.unchanged) == (5, 5, 0)
    by_task: dict[int, list[str]] = {}
    for row in world.studio.predictions.values():
        by_task.setdefault(row["task"], []).append(row["model_version"])
    assert set(by_task) == set(world.whole_tasks())
    assert all(sorted(versions) == sorted([report.version, "mean@1", "other@1"]) for versions in by_task.values())
    ensemble = [row for row in world.studio.predictions.values() if row["model_version"] == report.version]
    assert all(0 < row["score"] <= 1 for row in ensemble)
    alone_ = [row for row in world.studio.predictions.values() if row["model_version"] == "mean@1"]
    ages = {item["value"]["number"] for row in alone_ for item in row["result"] if item["type"] == "number"}
    with world.store.read() as session:
        expected = {round(age) for age in session.scalars(select(PreLabelRow.age))}
    assert ages != expected
    assert len(ages) > 1


def test_pictures_are_served_and_say_nothing_of_why(world: Any) -> None:
    world.setup()
    world.push()
    root = Path(world.settings.local_files_root)
    for task in world.vote_tasks():
        data = world.studio.tasks[task]["data"]
        assert set(data) == {"crop", "context"}
        for address in data.values():
            assert address.startswith("/data/local-files/?d=annotator/votes/")
            with Image.open(root / address.partition("?d=")[2]) as picture:
                assert picture.format == "JPEG"
    kinds = {row.kind for row, _ in world.rows()}
    assert {TaskKind.REVIEW, TaskKind.CONTROL} <= kinds
    text = str([world.studio.tasks[task] for task in world.vote_tasks()])
    assert all(word not in text for word in ("control", "truth", "female", "audit"))


def test_the_person_is_framed_in_the_context(world: Any) -> None:
    world.setup()
    world.push()
    task = world.studio.tasks[world.vote_tasks()[0]]
    person = next(person for row, person in world.rows() if marker_of(task) == f"{person.person_id}/1")
    path = Path(world.settings.local_files_root) / task["data"]["context"].partition("?d=")[2]
    with Image.open(path) as picture:
        red, green, blue = picture.convert("RGB").getpixel((int(person.body_x0) + 1, 20))
    assert red > green > blue
    assert red > 180


def test_push_again_changes_nothing(pushed: Any) -> None:
    before = (pushed.studio.tasks, pushed.studio.predictions, pushed.studio.writes)
    report = pushed.push()
    assert (pushed.studio.tasks, pushed.studio.predictions, pushed.studio.writes) == before
    assert (report.whole.created, report.whole.filled, report.whole.unchanged) == (0, 0, 5)
    assert report.votes.created == {}


def test_a_new_version_replaces_predictions(pushed: Any) -> None:
    pushed.models = model_set(MeanPredictor(version="2", shift=3.0), MeanPredictor("other", shift=8.0))
    prelabel(pushed.store, pushed.settings, pushed.models)
    report = pushed.push()
    assert report.whole.filled == 5
    versions = {row["model_version"] for row in pushed.studio.predictions.values()}
    assert versions == {report.version, "mean@2", "other@1"}
    assert len(pushed.studio.predictions) == 15
    assert pushed.studio.projects[pushed.whole_project]["model_version"] == report.version


def test_predictions_that_others_added_or_took_away_are_put_right(pushed: Any) -> None:
    first, second = pushed.whole_tasks()[:2]
    doubled = next(row for row in pushed.studio.predictions.values() if row["task"] == first)
    pushed.studio.predictions[10_000] = {**doubled, "id": 10_000}
    pushed.studio.predictions = {k: row for k, row in pushed.studio.predictions.items() if row["task"] != second}
    assert pushed.push().whole.filled == 2
    counts = [sum(row["task"] == task for row in pushed.studio.predictions.values()) for task in (first, second)]
    assert counts == [3, 3]


def test_a_task_uploaded_in_label_studio_is_found_by_its_address(world: Any) -> None:
    world.setup()
    with world.store.write() as session:
        row = session.scalars(select(ImageRow).order_by(ImageRow.id)).first()
        session.execute(
            update(ImageRow).where(ImageRow.id == row.id).values(uri="http://studio.example/data/upload/1/a.png")
        )
        session.execute(update(PersonRow).where(PersonRow.image_key == row.id).values(active=False))
    task = world.studio._import("POST", None, [{"data": {"image": "/data/upload/1/a.png"}}], world.whole_project)
    report = world.push()
    assert (report.whole.created, report.whole.filled, report.whole.unknown) == (4, 5, 0)
    assert sum(row["task"] == task["task_ids"][0] for row in world.studio.predictions.values()) == 1  # nobody's left


def test_failures_are_written_into_their_tasks_and_taken_away(pushed: Any) -> None:
    task = pushed.whole_tasks()[0]
    with pushed.store.write() as session:
        key = session.scalar(select(StudioTaskRow.image_key).where(StudioTaskRow.task == task))
        image = session.get_one(ImageRow, key)
        image.state = ImageState.FAILED
        session.add(FailureRow(stage="prelabel", subject=image.sha256, name="x", reason="truncated", message="cut off"))
    assert pushed.push().whole.failed == 1
    assert pushed.studio.tasks[task]["data"]["review_reason"] == "could not be pre-labelled: truncated"
    with pushed.store.write() as session:
        session.execute(update(ImageRow).values(state=ImageState.DONE))
        session.execute(delete(FailureRow))
    assert pushed.push().whole.failed == 0
    assert "review_reason" not in pushed.studio.tasks[task]["data"]


@pytest.mark.parametrize("moment", ["before", "after"])
def test_a_push_that_breaks_off_anywhere_is_continued_without_doubles(
    world: Any, prepared: Any, tmp_path: Path, moment: str
) -> None:
    with prepared.copy(tmp_path / "whole") as whole:
        wanted = _shape(whole)
    world.setup()
    broken = [_broken_push(world, "/import", moment, nth) for nth in range(3)]
    assert any(broken)
    world.push()
    assert _shape(world) == wanted
    writes = world.studio.writes
    world.push()
    assert world.studio.writes == writes


@pytest.mark.parametrize("moment", ["before", "after"])
@pytest.mark.parametrize("path", ["/import/predictions", "/api/dm/actions"])
def test_replacing_predictions_breaks_off_and_is_continued(pushed: Any, path: str, moment: str) -> None:
    pushed.models = model_set(MeanPredictor(version="2", shift=3.0), MeanPredictor("other", shift=8.0))
    prelabel(pushed.store, pushed.settings, pushed.models)
    assert _broken_push(pushed, path, moment, 0)
    report = pushed.push()
    found = sorted((row["task"], row["model_version"]) for row in pushed.studio.predictions.values())
    versions = (report.version, "mean@2", "other@1")
    assert found == sorted((task, version) for task in pushed.whole_tasks() for version in versions)


def _broken_push(world: Any, path: str, moment: str, nth: int) -> bool:
    """Pushes while the ``nth`` call to ``path`` breaks off; whether one did."""
    seen = [0]

    def fail(method: str, url: str) -> str | None:
        seen[0] += url.endswith(path)
        return moment if url.endswith(path) and seen[0] == nth + 1 else None

    world.studio.fail = fail
    try:
        world.push()
    except ServiceError:
        return True
    finally:
        world.studio.fail = lambda method, url: None
    return False


def _shape(world: Any) -> dict[str, object]:
    tasks = world.studio.tasks
    return {
        "markers": sorted(str(marker_of(task)) for task in tasks.values()),
        "predictions": sorted((str(marker_of(tasks[row["task"]])), row["model_version"])
                              for row in world.studio.predictions.values()),
        "rows": [(person.person_id, row.kind, row.state, row.wanted_votes) for row, person in world.rows()],
        "kept": all(row.external for row, _ in world.rows()),
    }  # fmt: skip


def test_a_project_that_was_deleted_in_label_studio_is_made_and_filled_again(pushed: Any) -> None:
    gone = pushed.vote_project
    pushed.studio.projects.pop(gone)
    pushed.studio.tasks = {k: task for k, task in pushed.studio.tasks.items() if task["project"] != gone}
    with pytest.raises(ServiceError, match="run `annotator review setup`"):
        pushed.push()
    pushed.setup()
    report = pushed.push()
    assert sum(report.votes.created.values()) == len(pushed.rows())
    assert len(pushed.vote_tasks()) == len(pushed.rows())


def test_a_person_without_a_picture_is_kept_as_a_failure(world: Any) -> None:
    world.setup()
    with world.store.read() as session:
        image = session.scalars(select(ImageRow).order_by(ImageRow.id.desc())).first()
    Path(image.uri).rename(Path(image.uri).with_suffix(".gone"))
    report = world.push()
    assert report.whole.created == 4
    assert report.votes.failed > 0
    with world.store.read() as session:
        reasons = set(session.scalars(select(FailureRow.reason).where(FailureRow.stage == "review")))
    assert reasons == {"missing_file"}
    Path(image.uri).with_suffix(".gone").rename(image.uri)
    assert sum(world.push().votes.created.values()) == report.votes.failed
    with world.store.read() as session:
        assert session.scalars(select(FailureRow)).all() == []
        assert all(row.state is TaskState.OPEN for row in session.scalars(select(ReviewTaskRow)))


def test_missing_settings_say_what_to_set(world: Any) -> None:
    with pytest.raises(ConfigurationError, match="local_files_root"):
        world.with_settings(local_files_root=None).setup()
    with pytest.raises(ConfigurationError, match="label_studio_url"):
        world.with_settings(label_studio_url=None).push()
    with pytest.raises(ConfigurationError, match="LABEL_STUDIO_API_KEY"):
        world.with_settings(label_studio_api_key=None).pull()


def test_two_at_once_are_refused(world: Any) -> None:
    with alone(world.settings), pytest.raises(AnnotatorError, match="wait for it"):
        world.push()
