"""The doctor's look at what lies around a project."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch
from pydantic import SecretStr

from annotator.pipeline import doctor
from annotator.pipeline.doctor import examine
from annotator.pipeline.findings import Finding, Level
from annotator.settings import Settings


@pytest.fixture
def settings(blank_sqlite: Path, tmp_path: Path) -> Settings:
    shutil.copy(blank_sqlite, tmp_path / "annotator.db")
    return Settings(root=tmp_path)


def found(settings: Settings, area: str) -> Finding:
    return next(one for one in examine(settings) if one.area == area)


def test_a_sound_project_has_no_problem(settings: Settings) -> None:
    findings = examine(settings)
    assert {one.area for one in findings} == {"database", "weights", "device", "disk", "Label Studio"}
    assert not [one for one in findings if one.level is Level.PROBLEM]
    assert found(settings, "Label Studio").level is Level.NOTE
    assert "demo-mivolo, demo-mllm" in found(settings, "weights").what


def test_no_database_and_one_that_is_none(settings: Settings) -> None:
    file = settings.root / "annotator.db"
    file.unlink()
    assert found(settings, "database").mend == "run annotator init"
    file.write_text("not a database, whatever it is called" * 100)
    assert found(settings, "database").level is Level.PROBLEM
    nowhere = settings.model_copy(update={"database_url": "postgresql+psycopg://u:secret@127.0.0.1:1/x"})
    broken = found(nowhere, "database")
    assert broken.level is Level.PROBLEM
    assert "secret" not in broken.what + broken.mend


def test_weights_that_are_missing(settings: Settings) -> None:
    paper = settings.model_copy(update={"profile": "paper", "detector": "given", "models_dir": settings.root / "none"})
    missing = found(paper, "weights")
    assert missing.level is Level.PROBLEM
    assert "annotator models pull" in missing.what


def test_a_gpu_that_is_not_there(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    missing = found(settings.model_copy(update={"device": "cuda"}), "device")
    assert missing.level is Level.PROBLEM
    assert "device = " in missing.mend


def test_a_full_disk(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "FREE_GIGABYTES", 1e9)
    assert found(settings, "disk").mend == "free some space"


def test_a_label_studio_that_is_half_set_or_not_there(settings: Settings) -> None:
    half = settings.model_copy(update={"label_studio_url": "http://127.0.0.1:1"})
    assert "ANNOTATOR_LABEL_STUDIO_API_KEY" in found(half, "Label Studio").what
    whole = Settings(root=settings.root, label_studio_url="http://127.0.0.1:1", label_studio_api_key="a" * 40)
    assert "check label_studio_url" in found(whole, "Label Studio").mend


def test_a_broker_that_does_not_answer_is_found(settings: Settings) -> None:
    assert "broker" not in {one.area for one in examine(settings)}
    there = settings.model_copy(update={"broker_url": SecretStr("redis://:hush@127.0.0.1:1/0")})
    assert found(there, "broker").level is Level.PROBLEM
    assert "hush" not in repr(examine(there))
