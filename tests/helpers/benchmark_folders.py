"""Benchmarks in the layouts that they are published in, made small: a dozen noisy images each."""

from __future__ import annotations

import csv
import json
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

import cv2
import numpy as np

HEADER = (
    "img_name", "age", "gender", "face_x0", "face_y0", "face_x1", "face_y1",
    "person_x0", "person_y0", "person_x1", "person_y1",
)  # fmt: skip
NOBODY = (-1, -1, -1, -1)


def picture(path: Path, width: int = 160, height: int = 200, seed: int | None = None) -> None:
    """A noisy JPEG that differs by its name."""
    rng = np.random.default_rng(sum(path.name.encode()) if seed is None else seed)
    path.parent.mkdir(parents=True, exist_ok=True)
    low, high = sorted(rng.integers(1, 255, 2).tolist())
    cv2.imwrite(str(path), rng.integers(low, high + 1, (height, width, 3), dtype=np.uint8))


def write_csv(path: Path, header: Sequence[str], rows: Sequence[Sequence[object]], delimiter: str = ",") -> Path:
    """A table."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, delimiter=delimiter)
        writer.writerow(header)
        writer.writerows(rows)
    return path


def annotation(path: Path, root: Path, rows: Sequence[tuple[str, object, str]]) -> Path:
    """An annotation file as the reference prepares it: people side by side with face and body, and a small stranger."""
    lines: list[Sequence[object]] = []
    people = Counter(name for name, _, _ in rows)
    for name, count in people.items():
        picture(root / name, 160 * count)
    place: Counter[str] = Counter()
    for name, age, gender in rows:
        x = 160 * place[name]
        place[name] += 1
        lines.append((name, age, gender, x + 60, 20, x + 100, 70, x + 10, 10, x + 150, 195))
        lines.append((name, -1, -1, 2, 2, 20, 20, *NOBODY))
    return write_csv(path, HEADER, lines)


def lagenda(folder: Path) -> None:
    """As downloaded: the annotation beside ``lag_benchmark/``."""
    rows = [(f"lag_benchmark/{n:04d}.jpg", 7 * n % 95, "FM"[n % 2]) for n in range(12)]
    annotation(folder / "lagenda_annotation.csv", folder, rows)


def imdb_clean(folder: Path) -> None:
    """By the reference's annotations with bodies, beside those of other splits."""
    rows = [(f"0{n}/nm{n}_rm1_1950-1-1_1990.jpg", 20 + n, "FM"[n % 2]) for n in range(6)]
    annotation(folder / "annotations" / "imdb_test_new.csv", folder / "imdb", rows)
    write_csv(folder / "annotations" / "imdb_train_new.csv", HEADER, [("not/there.jpg", 1, "M", *NOBODY, *NOBODY)])


def imdb_clean_original(folder: Path) -> None:
    """By IMDB-clean's own file: faces alone."""
    lines = []
    for n in range(6):
        name = f"0{n}/nm{n}.jpg"
        picture(folder / "imdb" / name)
        lines.append((name, "MF"[n % 2], 30 + n, 0.1, 1.5, 2.5, 60, 20, 100, 70))
    header = ("filename", "gender", "age", "head_roll", "head_yaw", "head_pitch", "x_min", "y_min", "x_max", "y_max")
    write_csv(folder / "csvs" / "imdb_test_new.csv", header, lines)


ADIENCE_LABELS = ("(0, 2)", "(25, 32)", "35", "(38, 48)", "None", "57", "(8, 23)", "(60, 100)")


def adience(folder: Path) -> None:
    """By the fold files alone."""
    header = ("user_id", "original_image", "face_id", "age", "gender", "x", "y", "dx", "dy", "tilt_ang")
    for fold in range(5):
        lines = []
        for n, age in enumerate(ADIENCE_LABELS[fold : fold + 4]):
            user, image = f"user@N0{fold}", f"pic{n}.jpg"
            picture(folder / "faces" / user / f"coarse_tilt_aligned_face.{fold}{n}.{image}", 120, 120)
            lines.append((user, image, f"{fold}{n}", age, ("f", "m", "u", "")[n % 4], 1, 2, 3, 4, 0))
        write_csv(folder / f"fold_{fold}_data.txt", header, lines, "\t")


def adience_annotated(folder: Path) -> None:
    """By the reference's annotations, the fold files beside them."""
    adience(folder)
    rows = []
    for path in sorted((folder / "faces").rglob("*.jpg")):
        rows.append((str(path.relative_to(folder / "faces")), "25;32", "M"))
    annotation(folder / "annotations" / "adience_annotations.csv", folder / "faces", rows)


def fairface(folder: Path) -> None:
    """By FairFace's own labels: images of 448 pixels with a margin."""
    lines = []
    for n, age in enumerate(("0-2", "3-9", "more than 70", "20-29", "50-59")):
        picture(folder / "fairface-img-margin125-trainval" / "val" / f"{n}.jpg", 448, 448)
        lines.append((f"val/{n}.jpg", age, ("Male", "Female")[n % 2], "East Asian", "True"))
    write_csv(folder / "fairface_label_val.csv", ("file", "age", "gender", "race", "service_test"), lines)
    write_csv(folder / "fairface_label_train.csv", ("file", "age", "gender", "race", "service_test"), [])


def fairface_annotated(folder: Path) -> None:
    """By the reference's validation annotations with bodies."""
    rows = [(f"val/{n}.jpg", age, "FM"[n % 2]) for n, age in enumerate(("0;2", "20;29", "70;120"))]
    annotation(folder / "annotations" / "val_annotations.csv", folder / "fairface-img-margin125-trainval", rows)
    write_csv(folder / "annotations" / "train_annotations.csv", HEADER, [("train/1.jpg", "0;2", "M", *NOBODY, *NOBODY)])


def cacd(folder: Path) -> None:
    """By the JSON of the facial age estimation benchmark; folder 2 is the test split."""
    _facebase(folder, "CACD2000", [0, 1, 2, 2, 2, 2], gender=False)


def cacd_annotated(folder: Path) -> None:
    """By the reference's annotations of the test split."""
    rows = [(f"{30 + n}_Some_Body_000{n}.jpg", 30 + n, "-1") for n in range(4)]
    annotation(folder / "annotations" / "cacd_test_annotations.csv", folder / "CACD2000", rows)


def agedb(folder: Path) -> None:
    """By the JSON of the facial age estimation benchmark; all folders count."""
    _facebase(folder, "AgeDB", list(range(10)))


def agedb_annotated(folder: Path) -> None:
    """By the reference's ten annotation files."""
    for fold in range(10):
        rows = [(f"{fold}_Some Body_{20 + fold}_f.jpg", 20 + fold, "F")]
        annotation(folder / "annotations" / f"agedb_{fold}_annotations.csv", folder / "AgeDB", rows)


def wild104(folder: Path) -> None:
    """As somebody who has the private set would put it."""
    rows = [(f"images/{n}.jpg", 40 + n, "M") for n in range(3)]
    annotation(folder / "annotations.csv", folder, rows)


def _facebase(folder: Path, name: str, folders: list[int], gender: bool = True) -> None:
    entries = []
    for n, split in enumerate(folders):
        image = f"{n}_Some Body_{40 + n}_m.jpg"
        picture(folder / name / image, 250, 250)
        entry: dict[str, object] = {"img_path": f"{name}/{name}/{image}", "age": 40 + n, "folder": split}
        entries.append(entry | ({"gender": ("M", "F", "U")[n % 3]} if gender else {}))
    (folder / f"{name}.json").write_text(json.dumps(entries))


Layout = Callable[[Path], None]

LAYOUTS: dict[str, tuple[str, Layout]] = {
    "lagenda": ("lagenda", lagenda),
    "nanolagenda": ("nanolagenda", lagenda),
    "imdb-clean": ("imdb-clean", imdb_clean),
    "imdb-clean original": ("imdb-clean", imdb_clean_original),
    "adience": ("adience", adience),
    "adience annotated": ("adience", adience_annotated),
    "fairface": ("fairface", fairface),
    "fairface annotated": ("fairface", fairface_annotated),
    "cacd": ("cacd", cacd),
    "cacd annotated": ("cacd", cacd_annotated),
    "agedb": ("agedb", agedb),
    "agedb annotated": ("agedb", agedb_annotated),
    "wild104": ("wild104", wild104),
}
"""Benchmark and layout by a name for tests."""
