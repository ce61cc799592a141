from __future__ import annotations

import json
import os
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import numpy as np
import pytest
import typer.main
from PIL import Image

from annotator.cli.app import app
from annotator.settings import Settings
from tests.helpers.pictures import write_broken, write_pictures

Run = Callable[..., Any]
ROOT = Path(__file__).parents[3]


def commands() -> dict[str, click.Command]:
    """Every command and sub-command by its full name."""
    found: dict[str, click.Command] = {}

    def walk(prefix: str, command: Any) -> None:
        for name, child in getattr(command, "commands", {}).items():
            walk(f"{prefix} {name}".strip(), child)
        if not getattr(command, "commands", None):
            found[prefix] = command

    walk("", typer.main.get_command(app))
    return found


def test_the_commands_of_the_contract_are_there() -> None:
    wanted = {"init", "ingest", "prelabel", "settle", "export", "explain", "serve", "status", "demo", "report"}
    tables = {"vote", "triage", "score"}
    review = {"review setup", "review push", "review pull", "review decide", "review status", "doctor"}
    assert wanted | tables | review | {"models list", "models pull"} <= set(commands())


@pytest.mark.parametrize("name", commands())
def test_every_command_has_help_with_an_example(run: Run, name: str) -> None:
    shown = run(*name.split(), "--help")
    assert shown.code == 0
    assert f"Example: annotator {name}" in " ".join(shown.out.split())
    for parameter in commands()[name].params:
        assert getattr(parameter, "help", "") or isinstance(parameter, click.Argument), parameter.name


def test_help_is_quick() -> None:
    """Nothing heavy is loaded to print help: that is what would make it slow."""
    code = (
        "import sys; sys.argv = ['annotator', '--help']\n"
        "from annotator.cli import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "heavy = {'torch', 'transformers', 'numpy', 'sqlalchemy', 'PIL', 'pydantic', 'scipy', 'cv2', 'httpx'}\n"
        "print('LOADED', sorted(heavy & set(sys.modules)))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert "LOADED []" in done.stdout


def test_version(run: Run) -> None:
    shown = run("--version")
    assert shown.code == 0
    assert shown.out.startswith("annotator 0.")


def test_init_writes_settings_that_mean_the_defaults(run: Run, tmp_path: Path) -> None:
    done = run("init", "x")
    assert done.code == 0
    text = (tmp_path / "x" / "annotator.toml").read_text()
    assert tomllib.loads(text) == {"profile": "demo"}
    uncommented = "\n".join(
        line.removeprefix("# ")
        for line in text.splitlines()
        if " = " in line and "..." not in line and "ANNO" not in line
    )
    given = tomllib.loads(uncommented)
    assert Settings(**given).model_dump() == Settings().model_dump()
    for name in Settings.model_fields:
        assert name in text or name == "root" or f"ANNOTATOR_{name.upper()}" in text


def test_init_keeps_what_is_there(run: Run, tmp_path: Path) -> None:
    run("init", "x")
    config = tmp_path / "x" / "annotator.toml"
    config.write_text('profile = "demo"\nseed = 7\n')
    again = run("init", "x")
    assert again.code == 0
    assert config.read_text().endswith("seed = 7\n")
    assert again.out.count("kept") == 2


def test_the_main_job(run: Run, tmp_path: Path) -> None:
    write_pictures(tmp_path / "in", 18)
    write_broken(tmp_path / "in", 4)
    run("init", "x")
    ingested = run("ingest", "in")
    assert ingested.code == 0
    assert "using the project in x/" in ingested.err
    assert "18 new images, 0 known already\n4 could not be read" in ingested.out
    labelled = run("prelabel")
    assert labelled.code == 0
    assert "18 images pre-labelled, 36 people on them" in labelled.out
    shown = run("status")
    assert shown.out.count("failed ingest  broken") == 4
    assert "images       18 done" in shown.out
    settled = json.loads(run("settle", "--json").out)
    assert list(settled["labels"]) == ["accepted"]
    exported = run("export", "out", "--format", "lagenda")
    assert exported.code == 0
    assert len((tmp_path / "out" / "annotations.csv").read_text().splitlines()) == 37
    before = (tmp_path / "out" / "manifest.json").read_bytes()
    assert "0 new images, 18 known already" in run("ingest", "in").out
    assert "0 images pre-labelled" in run("prelabel").out
    assert json.loads(run("settle", "--json").out)["changed"] == 0
    assert run("export", "out").code == 0
    assert (tmp_path / "out" / "manifest.json").read_bytes() == before
    assert (
        "0 labels: none that --source, --since and the like leave" in run("export", "new", "--since", "2099-01-01").out
    )


def test_json_says_the_same(run: Run, project: Path) -> None:
    write_pictures(project / "in", 5)
    write_broken(project / "in", 1)
    ingested = json.loads(run("ingest", "in", "--json").out)
    assert (ingested["new"], list(ingested["failed"].values())) == (5, [1])
    labelled = json.loads(run("prelabel", "--json", "--limit", 3).out)
    assert (labelled["images"], labelled["people"], labelled["triage"]["people"]) == (3, 6, 6)
    status = json.loads(run("status", "--json").out)
    assert status["images"] == {"done": 3, "pending": 2}
    assert status["failed"][0]["name"] == "broken000.png"
    assert sum(status["predictions"]["mean@1"].values()) == 6
    models = json.loads(run("models", "list", "--json").out)
    assert {"demo-mivolo", "mivolo-v2-384"} <= {row["name"] for row in models}


def test_explain_tells_the_story(run: Run, project: Path) -> None:
    write_pictures(project / "in", 2)
    for command in (("ingest", "in"), ("prelabel",), ("settle",)):
        assert run(*command).code == 0
    import hashlib

    digest = hashlib.sha256((project / "in" / "p00000.png").read_bytes()).hexdigest()
    shown = run("explain", f"{digest[:16]}-01")
    assert shown.code == 0
    for words in ("p00000.png", "mean@1: ok", "other@1: ok", "fused", "mean@1 said", "halves@1 found 2", "label"):
        assert words in shown.out
    story = json.loads(run("explain", f"{digest[:16]}-01", "--json").out)
    assert story["person"]["index"] == 1
    crop = run("explain", f"{digest[:16]}-01", "--crop", "person.jpg")
    with Image.open(project / "in" / "p00000.png") as picture, Image.open(project / "person.jpg") as saved:
        width, height = picture.size
        assert saved.size == (round(width / 2 * 1.15), height)  # the right half, and what is left of it
        inside = np.asarray(picture)[:, width // 2 :].mean()
        assert np.asarray(saved)[:, saved.size[0] - width // 2 :].mean() == pytest.approx(inside, abs=3)
    assert "crop     person.jpg" in crop.out
    (project / "in" / "p00000.png").write_bytes((project / "in" / "p00001.png").read_bytes())
    for wrong in (("--crop", "person.bmp"), ("--crop", "again.jpg")):
        refused = run("explain", f"{digest[:16]}-01", *wrong)
        assert (refused.code, refused.err.count("\n")) == (1, 1)
        assert not (project / wrong[1]).exists()
    unknown = run("explain", "nobody-00")
    assert (unknown.code, unknown.err.count("\n")) == (1, 1)


def test_project_by_name_from_elsewhere(run: Run, tmp_path: Path) -> None:
    run("init", "a")
    run("init", "b")
    several = run("status")
    assert several.code == 1
    assert "several projects here (a, b); name one with --project" in several.err
    assert run("--project", "a", "status").code == 0


def test_plain_progress_where_there_is_no_terminal(run: Run, project: Path) -> None:
    write_pictures(project / "in", 3)
    assert "images read: 3" in run("ingest", "in").err


def test_wrong_usage_is_two(run: Run) -> None:
    assert run("prelabel", "--limit", "many").code == 2
    assert run("ingest").code == 2
    assert run("nonsense").code == 2
    assert run("export", "out", "--format", "wrong").code == 2


def test_a_reader_that_went_away_is_no_error_message(project: Path) -> None:
    done = subprocess.run(
        f"{sys.executable} -m annotator.cli status | head -c 1",
        shell=True,
        capture_output=True,
        text=True,
        cwd=project,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        check=False,
    )
    assert "Traceback" not in done.stderr


def test_doctor_ends_with_1_where_something_is_wrong(run: Run, project: Path) -> None:
    healthy = run("doctor")
    assert healthy.code == 0
    assert healthy.out.splitlines()[-1] == "no problems found"
    (project / "annotator.db").unlink()
    sick = run("doctor")
    assert sick.code == 1
    assert f"problem database: there is no {project / 'annotator.db'}; run annotator init" in sick.out
    assert sick.out.splitlines()[-1] == "1 problem found"
    told = json.loads(run("doctor", "--json").out)
    assert told["problems"] == 1
    assert told["findings"][0] | {"what": ""} == {
        "area": "database", "level": "problem", "what": "", "mend": "run annotator init",
    }  # fmt: skip
