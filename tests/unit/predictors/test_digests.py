"""Large weights are read once; whatever changes is read again."""

import hashlib
import json
import os

import pytest

from annotator.predictors import digests
from annotator.predictors.digests import file_digest, memory_file
from annotator.predictors.weights import weights_digest

LONG_AGO = 1_600_000_000


@pytest.fixture
def weights(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(digests, "LARGE", 4)
    monkeypatch.setattr(digests, "SETTLED_NS", -1)
    file = tmp_path / "model.bin"
    file.write_bytes(b"some weights")
    return file


@pytest.fixture
def reads(monkeypatch):
    """Names of the files that were read to the end."""
    seen, read = [], digests._read
    monkeypatch.setattr(digests, "_read", lambda path: seen.append(path.name) or read(path))
    return seen


def sha256(data):
    return hashlib.sha256(data).hexdigest()


def test_a_file_is_read_once(weights, reads):
    for _ in range(3):
        assert weights_digest(weights) == sha256(b"some weights")
    assert reads == ["model.bin"]


def test_fresh_reads_again(weights, reads):
    weights_digest(weights)
    assert weights_digest(weights, fresh=True) == file_digest(weights) == sha256(b"some weights")
    assert len(reads) == 3


def test_other_content_of_the_same_size_and_time_is_read_again(weights, reads):
    os.utime(weights, (LONG_AGO, LONG_AGO))
    weights_digest(weights)
    weights.write_bytes(b"evil weights")
    os.utime(weights, (LONG_AGO, LONG_AGO))
    assert weights_digest(weights) == sha256(b"evil weights")
    other = weights.with_name("other")
    other.write_bytes(b"much weights")
    other.replace(weights)
    assert weights_digest(weights) == sha256(b"much weights")


def test_what_has_just_changed_is_not_remembered(weights, reads, monkeypatch):
    monkeypatch.setattr(digests, "SETTLED_NS", 3_600_000_000_000)
    weights_digest(weights)
    weights_digest(weights)
    assert len(reads) == 2
    assert not memory_file().exists()


def test_small_files_leave_nothing_behind(weights, reads, monkeypatch):
    monkeypatch.setattr(digests, "LARGE", 1000)
    weights_digest(weights)
    assert not memory_file().exists()


def test_files_that_are_gone_are_forgotten(weights, reads):
    weights_digest(weights)
    second = weights.with_name("second.bin")
    second.write_bytes(b"more weights")
    weights.unlink()
    weights_digest(second)
    assert list(json.loads(memory_file().read_text()).values()) == [sha256(b"more weights")]


@pytest.mark.parametrize("content", ["", "[1]", "no json", '{"a": 1}'])
def test_a_damaged_memory_is_no_memory(weights, reads, content):
    memory_file().parent.mkdir(parents=True)
    memory_file().write_text(content)
    assert weights_digest(weights) == sha256(b"some weights")
    weights_digest(weights)
    assert reads == ["model.bin"]


def test_without_a_place_to_remember_it_still_works(weights, reads, monkeypatch, tmp_path):
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert weights_digest(weights) == sha256(b"some weights")
