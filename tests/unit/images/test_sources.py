"""What is offered from folders, files, CSV files and archives, and what is refused."""

from __future__ import annotations

import os
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from annotator.domain import Box, Gender, Truth
from annotator.errors import ImageError, InputError
from annotator.images.decode import probe
from annotator.images.sources import SourceItem, iter_sources, read_uri

Make = Callable[..., bytes]
HEADER = "img_name,age,gender,face_x0,face_y0,face_x1,face_y1,person_x0,person_y0,person_x1,person_y1\n"


def items(*sources: Path | str, **options: int) -> list[SourceItem]:
    return list(iter_sources([str(source) for source in sources], **options))


def reason_of(item: SourceItem) -> str:
    with pytest.raises(ImageError) as caught:
        item.read()
    return caught.value.reason


def test_a_folder_is_searched_to_the_bottom_in_order(tmp_path: Path) -> None:
    for name in ("b.jpg", "a/z.png", "a/y.JPG", "a/b/c", ".hidden.jpg", ".git/x.jpg", "notes.txt", "a/list.csv"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(name.encode())
    found = items(tmp_path)
    assert [item.name for item in found] == ["a/b/c", "a/y.JPG", "a/z.png", "b.jpg"]
    assert [item.read() for item in found] == [item.name.encode() for item in found]
    assert [read_uri(item.uri) for item in found] == [item.name.encode() for item in found]
    assert all(item.persons == () for item in found)


def test_links_to_folders_are_not_followed(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(b"x")
    (tmp_path / "loop").symlink_to(tmp_path)
    (tmp_path / "link.jpg").symlink_to(tmp_path / "a.jpg")
    (tmp_path / "dead.jpg").symlink_to(tmp_path / "nothing")
    found = items(tmp_path)
    assert [item.name for item in found] == ["a.jpg", "dead.jpg", "link.jpg"]
    assert reason_of(found[1]) == "missing_file"


def test_what_is_left_out_is_passed_over_also_through_a_link_to_the_folder(tmp_path: Path) -> None:
    for name in ("real/a.jpg", "real/own", "real/data/b.jpg", "real/database/c.jpg"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    (tmp_path / "link").symlink_to(tmp_path / "real")
    own = {tmp_path.resolve() / "real" / "own", tmp_path.resolve() / "real" / "data"}
    for folder in ("real", "link"):
        found = iter_sources([str(tmp_path / folder)], leave_out=own)
        assert [item.name for item in found] == ["a.jpg", "database/c.jpg"]
    (named,) = iter_sources([str(tmp_path / "real" / "data")], leave_out=own)
    assert named.name == "b.jpg"


def test_single_files_and_several_sources(tmp_path: Path) -> None:
    for name in ("a.jpg", "b.txt"):
        (tmp_path / name).write_bytes(name.encode())
    assert [item.name for item in items(tmp_path / "b.txt", tmp_path / "a.jpg")] == ["b.txt", "a.jpg"]


@pytest.mark.parametrize("source", ["nowhere", "s3://bucket/x", "https://example.org/a.jpg"])
def test_what_is_no_source_is_named(source: str) -> None:
    with pytest.raises(InputError, match=source.split("://")[0]):
        items(source)


def test_all_sources_are_checked_before_the_first_image(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(b"x")
    with pytest.raises(InputError):
        next(iter_sources([str(tmp_path / "a.jpg"), str(tmp_path / "missing")]))


def test_reading_has_its_reasons(tmp_path: Path) -> None:
    (tmp_path / "big.jpg").write_bytes(bytes(100))
    os.mkfifo(tmp_path / "pipe.jpg")
    (tmp_path / "gone.jpg").write_bytes(b"x")
    big, gone, pipe = items(tmp_path, max_bytes=99)
    Path(gone.uri).unlink()
    assert [reason_of(item) for item in (big, gone, pipe)] == ["too_many_bytes", "missing_file", "read_error"]
    with pytest.raises(ImageError, match="ftp"):
        read_uri("ftp://host/a.jpg")


def test_names_that_are_not_utf8(tmp_path: Path) -> None:
    try:
        Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff\xfe.jpg")).write_bytes(b"x")
    except OSError:
        pytest.skip("this file system takes only UTF-8 names")
    (item,) = items(tmp_path)
    item.name.encode("utf-8")
    item.uri.encode("utf-8")
    assert read_uri(item.uri) == b"x"


# ---------------------------------------------------------------------------------------------------- zip


def archive(path: Path, members: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for name, data in members.items():
            file.writestr(name, data)
    return path


def test_zip_members_are_read_where_they_lie(tmp_path: Path, make: Make) -> None:
    path = archive(
        tmp_path / "odd ! name.zip",
        {"b!.jpg": make("JPEG"), "a/ä.png": make("PNG"), "__MACOSX/b": b"", ".x.jpg": b"", "read.me.txt": b""},
    )
    found = items(path)
    assert [item.name for item in found] == ["a/ä.png", "b!.jpg"]
    assert [probe(read_uri(item.uri)).format for item in found] == ["PNG", "JPEG"]
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["odd ! name.zip"]


def test_unsafe_members_fail_alone(tmp_path: Path) -> None:
    path = tmp_path / "evil.zip"
    link = zipfile.ZipInfo("link.jpg")
    link.external_attr = 0o120777 << 16
    with zipfile.ZipFile(path, "w") as file:
        file.writestr(link, "/etc/passwd")
        for name in ("../out.jpg", "/abs.jpg", "a\\b.jpg", "C:evil.jpg", "good.jpg"):
            file.writestr(name, b"data")
    found = {item.name: item for item in items(path)}
    assert found.pop("good.jpg").read() == b"data"
    assert len(found) == 5
    assert {reason_of(item) for item in found.values()} == {"unsafe_path"}


def test_a_broken_member_fails_alone(tmp_path: Path) -> None:
    path = archive(tmp_path / "a.zip", {"bad.jpg": bytes(range(256)) * 20, "good.jpg": b"fine"})
    data = bytearray(path.read_bytes())
    data[60:80] = bytes(20)
    path.write_bytes(data)
    bad, good = items(path)
    assert reason_of(bad) == "read_error"
    assert good.read() == b"fine"


def test_zip_caps(tmp_path: Path) -> None:
    path = archive(tmp_path / "a.zip", {"a.jpg": bytes(5000)})
    (item,) = items(path, max_bytes=4999)
    assert reason_of(item) == "too_many_bytes"
    bomb = archive(tmp_path / "bomb.zip", {"a.jpg": bytes(1)})
    data = bomb.read_bytes()
    at = data.rindex(b"PK\x01\x02") + 24  # the directory claims 4 GB
    bomb.write_bytes(data[:at] + b"\xf0\xff\xff\xff" + data[at + 4 :])
    with pytest.raises(InputError, match="unpack"):
        items(bomb)


def test_what_is_no_zip(tmp_path: Path) -> None:
    (tmp_path / "a.zip").write_bytes(b"no archive")
    with pytest.raises(InputError, match=r"a\.zip"):
        items(tmp_path / "a.zip")


def test_a_changed_archive_is_opened_again(tmp_path: Path) -> None:
    path = archive(tmp_path / "a.zip", {"a.jpg": b"one"})
    (item,) = items(path)
    assert item.read() == b"one"
    archive(path, {"a.jpg": b"second"})
    assert item.read() == b"second"


# ---------------------------------------------------------------------------------------------------- LAGENDA CSV


def lagenda(folder: Path, *rows: str, header: str = HEADER) -> Path:
    path = folder / "people.csv"
    path.write_text(header + "".join(row + "\n" for row in rows), encoding="utf-8")
    return path


def test_csv_gives_people_by_image(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "a.jpg").write_bytes(b"A")
    (tmp_path / "b.jpg").write_bytes(b"B")
    path = lagenda(
        tmp_path,
        "b.jpg,34,F,1,2,3,4,0,0,10,20",
        "a.jpg,-1,-1,-1,-1,-1,-1,5,5,50,60",
        "gone.jpg,7,M,1,1,5,5,-1,-1,-1,-1",
        "b.jpg,-1,M,6,2,8,4,-1,-1,-1,-1",
        "a.jpg,0,-1,-5,300,100,500,-1,-1,-1,-1",
    )
    a, b, gone = items(path)
    assert (a.name, a.read(), b.name, b.read(), gone.name) == ("a.jpg", b"A", "b.jpg", b"B", "gone.jpg")
    assert reason_of(gone) == "missing_file"
    assert [(p.body, p.face, p.truth) for p in b.persons] == [
        (Box(0, 0, 10, 20), Box(1, 2, 3, 4), Truth(34.0, Gender.FEMALE)),
        (None, Box(6, 2, 8, 4), Truth(None, Gender.MALE)),
    ]
    assert [(p.body, p.face, p.truth) for p in a.persons] == [
        (Box(5, 5, 50, 60), None, Truth()),
        (None, Box(-5, 300, 100, 500), Truth(0.0, None)),
    ]


def test_csv_columns_by_name_in_any_order_and_some_missing(tmp_path: Path) -> None:
    path = lagenda(tmp_path, "9,x,1,2,3,4,a.jpg", header="face_y1,note,face_x0,face_y0,face_x1,age,img_name\n")
    (item,) = items(path)
    assert item.persons[0].face == Box(1, 2, 3, 9)
    assert item.persons[0].truth == Truth(4.0, None)
    (plain,) = items(lagenda(tmp_path, "a.jpg", header="img_name\n"))
    assert plain.persons == ()


def test_csv_blank_is_missing_and_a_byte_order_mark_is_no_name(tmp_path: Path) -> None:
    path = lagenda(tmp_path, "a.jpg,,,1,1,5,5,,,,", "", header="\ufeff" + HEADER)
    assert items(path)[0].persons[0].truth.is_empty


@pytest.mark.parametrize(
    ("row", "says"),
    [
        ("b.jpg,34,F,1,2,3", "6 values for 11"),
        ("b.jpg,old,F,1,2,3,4,-1,-1,-1,-1", "'old'"),
        ("b.jpg,131,F,1,2,3,4,-1,-1,-1,-1", "131"),
        ("b.jpg,-2,F,1,2,3,4,-1,-1,-1,-1", "-2"),
        ("b.jpg,nan,F,1,2,3,4,-1,-1,-1,-1", "nan"),
        ("b.jpg,25;32,F,1,2,3,4,-1,-1,-1,-1", "range"),
        ("b.jpg,34,X,1,2,3,4,-1,-1,-1,-1", "'X'"),
        ("b.jpg,34,F,1,2,,4,-1,-1,-1,-1", "face box"),
        ("b.jpg,34,F,9,2,3,4,-1,-1,-1,-1", "ends before"),
        ("b.jpg,34,F,-1,-1,-1,-1,-1,-1,-1,-1", "without a box"),
        (",34,F,1,2,3,4,-1,-1,-1,-1", "no image name"),
        ('b.jpg,34,"F,1,2,3,4,-1,-1,-1,-1', ""),
    ],
)
def test_a_broken_row_stops_with_its_line(row: str, says: str, tmp_path: Path) -> None:
    path = lagenda(tmp_path, "a.jpg,34,F,1,2,3,4,-1,-1,-1,-1", row)
    with pytest.raises(InputError) as caught:
        items(path)
    assert "people.csv, line 3" in str(caught.value)
    assert says in str(caught.value)


@pytest.mark.parametrize("header", ["name,age\n", "img_name,face_x0,face_y0\n", "img_name,age,age\n", ""])
def test_a_broken_header_is_named(header: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="line 1"):
        items(lagenda(tmp_path, "a.jpg,1,2", header=header))


def test_csv_that_is_no_text(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(HEADER.encode() + b"\xff\xfe\x00\n")
    with pytest.raises(InputError, match="UTF-8"):
        items(path)


def test_csv_names_stay_in_their_folder(tmp_path: Path) -> None:
    (tmp_path / "secret.jpg").write_bytes(b"x")
    (tmp_path / "set").mkdir()
    path = lagenda(
        tmp_path / "set", "../secret.jpg,-1,-1,1,1,5,5,-1,-1,-1,-1", "/etc/hostname,-1,-1,1,1,5,5,-1,-1,-1,-1"
    )
    assert [reason_of(item) for item in items(path)] == ["unsafe_path", "unsafe_path"]


def test_an_empty_box_is_a_missing_one(tmp_path: Path) -> None:
    path = lagenda(tmp_path, "a.jpg,30,F,5,5,5,9,0,0,9,9", "a.jpg,30,F,5,5,5,9,-1,-1,-1,-1")
    (item,) = items(path)
    assert [(p.face, p.body) for p in item.persons] == [(None, Box(0, 0, 9, 9))]
