"""Whatever a user gets wrong: one line on stderr that says what to do, exit code 1, nothing half-written."""

from __future__ import annotations

import errno
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from annotator.cli.errors import explain
from annotator.store.session import make_engine
from tests.helpers.pictures import write_pictures

Run = Callable[..., Any]
HEADER = "img_name,age,gender,face_x0,face_y0,face_x1,face_y1,person_x0,person_y0,person_x1,person_y1\n"


def one_line(done: Any) -> str:
    """The message of a command that could not do it."""
    assert done.code == 1
    assert done.out == ""
    lines = [line for line in done.err.splitlines() if not line.startswith("using the project")]
    assert len(lines) == 1, done.err
    assert lines[0].startswith("annotator: ")
    return str(lines[0])


def test_no_project(run: Run) -> None:
    assert "run `annotator init` first" in one_line(run("status"))


def test_a_missing_folder(run: Run, project: Path) -> None:
    assert "no such file or folder: nowhere" in one_line(run("ingest", "nowhere"))


def test_a_broken_row_names_its_line_and_writes_nothing(run: Run, project: Path) -> None:
    write_pictures(project / "in", 2)
    (project / "in" / "t.csv").write_text(
        HEADER + "p00000.png,-1,-1,1,1,9,9,0,0,20,20\np00001.png,200,M,1,1,9,9,0,0,9,9\n"
    )
    assert "line 3" in one_line(run("ingest", "in/t.csv"))
    assert "images       none" in run("status").out


def test_an_unknown_predictor_names_the_known_ones(run: Run, project: Path) -> None:
    message = one_line(run("prelabel", "--predictor", "gpt-9"))
    assert "unknown predictor 'gpt-9'; known are: demo-mivolo" in message


def test_a_database_that_is_newer(run: Run, project: Path) -> None:
    engine = make_engine(f"sqlite:///{project}/annotator.db")
    with engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    engine.dispose()
    for command in (("status",), ("ingest", "."), ("prelabel",), ("settle",), ("export", "out"), ("init", ".")):
        assert "newer version (9999); upgrade annotator" in one_line(run(*command))
    assert not (project / "out").exists()


def test_no_database_yet(run: Run, project: Path) -> None:
    (project / "annotator.db").unlink()
    assert "run `annotator init`" in one_line(run("status"))
    assert not (project / "annotator.db").exists()


def test_a_file_that_is_no_database(run: Run, project: Path) -> None:
    for file in project.glob("annotator.db*"):
        file.unlink()
    (project / "annotator.db").write_bytes(b"hello, I am a text file\n" * 100)
    assert "the database refused: file is not a database" in one_line(run("status"))


def test_a_server_that_is_not_there(run: Run, project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANNOTATOR_DATABASE_URL", "postgresql+psycopg://nobody:secret@127.0.0.1:1/none")
    message = one_line(run("status"))
    assert "cannot connect to the database" in message
    assert "secret" not in message


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("nonsense = 1", "setting 'nonsense'"),
        ("review_rate = 7", "setting 'review_rate'"),
        ("profile = ", "not valid TOML"),
        ('profile = "gigantic"', "unknown profile 'gigantic'; known are: "),
    ],
)
def test_wrong_settings(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, line: str, words: str) -> None:
    run("init", ".")
    monkeypatch.undo()
    monkeypatch.chdir(tmp_path)
    (tmp_path / "annotator.toml").write_text(line + "\n")
    assert words in one_line(run("prelabel"))


def test_missing_weights_name_the_command(run: Run, project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    monkeypatch.chdir(project)
    monkeypatch.setenv("ANNOTATOR_PROFILE", "paper")
    monkeypatch.setenv("ANNOTATOR_MODELS_DIR", str(project / "models"))
    monkeypatch.setenv("ANNOTATOR_DETECTOR", "given")
    assert "run `annotator models pull mivolo-v2-384`" in one_line(run("prelabel"))
    monkeypatch.delenv("ANNOTATOR_DETECTOR")
    assert "run `annotator models pull dfine-m`" in one_line(run("prelabel"))


def test_pulling_what_is_unknown_or_shipped(run: Run, project: Path) -> None:
    assert "unknown model 'x'; known are:" in one_line(run("models", "pull", "x"))
    assert "ship with annotator" in one_line(run("models", "pull", "demo-mivolo"))


def test_pulling_without_network(run: Run, project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import huggingface_hub
    from huggingface_hub.errors import LocalEntryNotFoundError

    def refuse(*_: object, **__: object) -> None:
        raise LocalEntryNotFoundError("An error happened while trying to locate the files on the Hub")

    monkeypatch.setenv("ANNOTATOR_MODELS_DIR", str(project / "models"))
    monkeypatch.setattr(huggingface_hub, "snapshot_download", refuse)
    done = run("models", "pull", "mivolo-v2-384")
    assert done.code == 1
    assert "cannot reach the Hugging Face hub for iitolstykh/mivolo_v2" in done.err.splitlines()[-1]
    assert not (project / "models" / "mivolo-v2-384").exists()


def test_a_split_that_is_none(run: Run, project: Path) -> None:
    message = one_line(run("export", "out", "--split", "train=.8,test=.8"))
    assert "1" in message
    assert not (project / "out").exists()


def test_nobody_to_export(run: Run, project: Path) -> None:
    assert "run `annotator prelabel`" in one_line(run("export", "out"))
    assert not (project / "out").exists()


def test_a_mistake_of_ours_is_one_line_too_and_a_traceback_when_asked(
    run: Run, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise KeyError("thing")

    monkeypatch.setattr("annotator.pipeline.status.status", broken)
    assert "internal error (KeyError: 'thing'); set ANNOTATOR_DEBUG=1" in one_line(run("status"))
    monkeypatch.setenv("ANNOTATOR_DEBUG", "1")
    with pytest.raises(KeyError):
        run("status")


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (OSError(errno.ENOSPC, "No space left on device", "/data/x"), "/data/x: no space is left"),
        (PermissionError(errno.EACCES, "Permission denied", "/data/x"), "/data/x: permission denied"),
        (OSError(errno.EROFS, "Read-only file system", "/data/x"), "may only be read"),
        (OSError(errno.EADDRINUSE, "Address already in use"), "choose another one with --port"),
        (OSError("strange"), "strange"),
        (ValueError("two\nlines"), "two lines"),
    ],
)
def test_what_the_system_says(error: Exception, words: str) -> None:
    assert words in explain(error)
    assert "\n" not in explain(error)
