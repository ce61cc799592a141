"""The tables that users bring, in every form that they come in."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from annotator.errors import InputError, StorageError
from annotator.tables import read_table, write_tables

COLUMNS = ("person_id", "age", "gender")

Parsed = tuple[list[str], list[float], list[int]]


def parse(path: Path) -> Parsed:
    table = read_table(path, COLUMNS)
    names = table.names("person_id").to_pylist()
    return names, table.numbers("age", 0, 130).tolist(), table.genders("gender").tolist()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "people.csv"


@pytest.mark.parametrize(
    "content",
    [
        b"person_id,age,gender\np1,30.5,female\np2,,male\n",
        b"\xef\xbb\xbfperson_id,age,gender\r\np1,30.5,female\r\np2,,male\r\n",
        b"person_id;age;gender\np1;30,5;female\np2;;male\n",
        b"person_id\tage\tgender\np1\t30.5\tF\np2\tNaN\tM",
        b"gender,person_id,note,age\nFemale,p1,x,3.05e1\nMALE,p2,y,NULL\n",
        b"\n\nperson_id , age, gender\n\n p1 ,30.5 , f\n\n\np2,NA,m\n\n",
        b'"person_id","age","gender"\n"p1","30.5","female"\n"p2","","male"\n',
        b"person_id,age,gender\rp1,30.5,female\rp2,,male\r",
    ],
    ids=["plain", "windows", "semicolons", "tabs", "reordered", "spaces", "quoted", "old-mac"],
)
def test_every_form_is_read_alike(file: Path, content: bytes) -> None:
    file.write_bytes(content)
    names, ages, genders = parse(file)
    assert names == ["p1", "p2"]
    assert ages[0] == 30.5
    assert np.isnan(ages[1])
    assert genders == [1, 0]


def test_names_are_text(file: Path) -> None:
    file.write_text('person_id,age,gender\n001,1,\n1,2,\n"a,b",3,\nnull,4,\né,5,\n', encoding="utf-8")
    assert parse(file)[0] == ["001", "1", "a,b", "null", "é"]


@pytest.mark.parametrize(
    ("rows", "line", "problem"),
    [
        ("p1,999,f\n", 2, "age 999 is not between 0 and 130"),
        ("p1,30,f\np2,-1,f\n", 3, "age -1 is not between 0 and 130; leave it empty"),
        ("p1,30,f\n\np2,inf,f\n", 4, "age inf is not between"),
        ("p1,thirty,f\n", 2, "age 'thirty' is not a number"),
        ("p1,3 0,f\n", 2, "age '3 0' is not a number"),
        ("p1,30,x\n", 2, "unknown gender 'x'"),
        (",30,f\n", 2, "person_id is empty"),
        ("p1,30\n", 2, "2 fields where the header has 3"),
        ("p1,30,f\np2,3,0,f\n", 3, "4 fields where the header has 3"),
        ('p0,1,f\n"p1\n,30,f\np2,3,f\n', 5, "fields where the header has 3"),
        ('"p\n1",30,f\n', 3, "person_id holds a line break"),
        ("p\x001,30,f\n", 2, "control character"),
    ],
)
def test_a_bad_row_is_named_by_its_line(file: Path, rows: str, line: int, problem: str) -> None:
    file.write_text("person_id,age,gender\n" + rows)
    with pytest.raises(InputError) as caught:
        parse(file)
    message = str(caught.value)
    assert message.startswith(f"{file}, line {line}: ")
    assert problem in message
    assert "\n" not in message


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", "is empty"),
        (b"\xef\xbb\xbf\n \n", "is empty"),
        (b"person_id,age\np1,3\n", "has no column gender; it needs person_id, age, gender"),
        (b"person_id,age,gender,age\np1,3,f,4\n", "has the column age twice"),
        ("person_id,age,gender\np1,3,f\n".encode("utf-16"), "is UTF-16; save it as UTF-8"),
        (b"person_id,age,gender\np1,3,f\ncaf\xe9,4,f\n", "line 3: not UTF-8"),
        (b"\x89PNG\r\n\x1a\n\x00", "has no column"),
    ],
    ids=["empty", "blank", "missing", "twice", "utf16", "latin1", "picture"],
)
def test_a_file_that_is_none_is_refused(file: Path, content: bytes, problem: str) -> None:
    file.write_bytes(content)
    with pytest.raises(InputError, match=problem):
        parse(file)


def test_a_header_alone_has_no_rows(file: Path) -> None:
    for content in ("person_id,age,gender", "person_id,age,gender\r\n\r\n"):
        file.write_text(content)
        assert parse(file) == ([], [], [])


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match=r"cannot read .*gone\.csv: No such file"):
        read_table(tmp_path / "gone.csv", COLUMNS)
    with pytest.raises(StorageError, match="Is a directory"):
        read_table(tmp_path, COLUMNS)


def test_repeats_name_both_lines(file: Path) -> None:
    file.write_text("person_id,age,gender\na,1,f\nb,2,f\nc,3,f\nb,4,f\na,5,f\n")
    table = read_table(file, COLUMNS)
    keys = np.array([0, 1, 2, 1, 0])
    with pytest.raises(InputError, match="line 5: already in line 3"):
        table.refuse_repeats(keys, np.arange(5), "already in {}")
    table.refuse_repeats(keys[:3], np.arange(3), "already in {}")


names = st.text(st.characters(codec="utf-8", exclude_categories=("Cc", "Cs", "Zs", "Zl", "Zp")), min_size=1)


@settings(max_examples=20, deadline=None)
@given(rows=st.lists(st.tuples(names, st.none() | st.integers(0, 130), st.sampled_from([None, "female", "male"]))))
def test_what_is_written_is_read_back(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[str, int | None, str | None]]
) -> None:
    path = tmp_path_factory.mktemp("tables") / "x.csv"
    ages = np.array([np.nan if age is None else age for _, age, _ in rows], dtype=float)
    write_tables({path: {"person_id": [name for name, _, _ in rows], "age": ages, "gender": [g for _, _, g in rows]}})
    read = parse(path)
    assert read[0] == [name for name, _, _ in rows]
    assert np.array_equal(read[1], ages, equal_nan=True)
    assert read[2] == [{None: -1, "female": 1, "male": 0}[gender] for _, _, gender in rows]


def test_all_files_are_written_or_none(tmp_path: Path) -> None:
    good, bad = tmp_path / "good.csv", tmp_path / "nowhere" / "bad.csv"
    good.write_text("as before\n")
    with pytest.raises(StorageError, match=r"cannot write .*bad\.csv"):
        write_tables({good: {"a": [1]}, bad: {"a": [1]}})
    assert good.read_text() == "as before\n"
    assert list(tmp_path.iterdir()) == [good]


def test_only_plain_files_are_replaced(tmp_path: Path) -> None:
    fifo, link, real = tmp_path / "fifo", tmp_path / "link.csv", tmp_path / "real.csv"
    os.mkfifo(fifo)
    for place in (fifo, tmp_path):
        with pytest.raises(StorageError, match="not a file"):
            write_tables({tmp_path / "other.csv": {"a": [1]}, place: {"a": [1]}})
    assert fifo.is_fifo()
    assert not (tmp_path / "other.csv").exists()
    link.symlink_to(real)
    write_tables({link: {"a": [1]}})
    assert link.is_symlink()
    assert real.read_text() == "a\n1\n"


def test_a_full_disk_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(StorageError, match="No space left on device"):
        write_tables({tmp_path / "x.csv": {"a": [1, 2]}})
    assert list(tmp_path.iterdir()) == []
