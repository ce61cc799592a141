"""The benchmarks by name: what to get and from where, how many people were published, how the folder is read."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from annotator.errors import UnknownName
from annotator.evaluation.classes import CLASS_RANGES
from annotator.protocols import folders
from annotator.protocols.people import People

DEMO_TRUTH = "truth.csv"
"""The annotations of the drawn benchmark, in LAGENDA columns."""

REFERENCE = "https://github.com/WildChlamydia/MiVOLO#dataset"


@dataclass(frozen=True, slots=True)
class Benchmark:
    """One benchmark.

    ``get`` says what to download, ``layout`` what the folder then holds. ``counts`` are published; their names are
    those of `annotator.protocols.checks.count`. ``classes`` is the scheme of its ages, ``None`` where they are years.
    ``private`` sets were never published. Nothing is downloaded by this project.
    """

    name: str
    title: str
    get: str
    layout: tuple[str, ...]
    read: Callable[[Path], People]
    counts: Mapping[str, int] = field(default_factory=dict)
    classes: str | None = None
    private: bool = False
    folder: str | None = None
    note: str = ""

    @property
    def place(self) -> str:
        """The name of its folder under the folder of all benchmarks."""
        return self.folder or self.name


def _by_class(scheme: str, *counts: int) -> dict[str, int]:
    return {f"age {name}": count for name, count in zip(CLASS_RANGES[scheme], counts, strict=True)}


def _by_fold(*counts: int) -> dict[str, int]:
    return {f"fold {number}": count for number, count in enumerate(counts)}


LAGENDA = Benchmark(
    "lagenda", "LAGENDA test set",
    f"images and annotation of LAGENDA (CC BY 2.0 pictures of Open Images): {REFERENCE}",
    ("lagenda_annotation.csv", "lag_benchmark/*.jpg"),
    folders.read_lagenda, {"images": 67_159, "people": 84_192},
)  # fmt: skip

BENCHMARKS = (
    LAGENDA,
    Benchmark(
        "nanolagenda", "NanoLAGENDA", "nothing of its own: 200 people of each five-year group of LAGENDA up to 90",
        LAGENDA.layout, folders.read_lagenda, LAGENDA.counts, folder="lagenda",
        note="the paper drew 3,062 people that are not published, so another list is drawn here",
    ),
    Benchmark(
        "imdb-clean", "IMDB-clean test split",
        "images by the scripts of https://github.com/yiminglin-ai/imdb-clean, and the annotations with bodies of "
        f"{REFERENCE}; without them its own csvs/ give faces alone",
        ("imdb/00 ... 99/*.jpg", "annotations/*test*.csv or csvs/imdb_test_new.csv"),
        folders.read_imdb, {"people": 56_086},
    ),
    Benchmark(
        "adience", "Adience, five folds",
        "faces.tar.gz and the five fold files of https://talhassner.github.io/home/projects/Adience/Adience-data.html, "
        f"and the annotations of {REFERENCE}; without them a face is its whole crop",
        ("faces/<user>/coarse_tilt_aligned_face.*.jpg", "fold_0_data.txt ... fold_4_data.txt",
         "annotations/adience_annotations.csv"),
        folders.read_adience,
        {"people": 18_662, "female": 9_372, "male": 8_120,
         **_by_class("adience", 2_509, 2_140, 2_293, 1_791, 5_589, 2_490, 909, 901)},
        classes="adience", note="of 26,580 photos 19,370 are in the folds, 708 of them without age and gender",
    ),
    Benchmark(
        "fairface", "FairFace validation, margin 125",
        "images with margin 1.25 and labels of https://github.com/joojs/fairface, and the annotations with bodies of "
        f"{REFERENCE}; without them a face is [125, 125, width - 125, height - 125]",
        ("fairface-img-margin125-trainval/val/*.jpg", "annotations/val_annotations.csv or fairface_label_val.csv"),
        folders.read_fairface_folder,
        {"people": 10_954, "female": 5_162, "male": 5_792,
         **_by_class("fairface", 199, 1_356, 1_181, 3_300, 2_330, 1_353, 796, 321, 118)},
        classes="fairface",
    ),
    Benchmark(
        "cacd", "CACD test split",
        "images of https://bcsiriuschen.github.io/CARC/ and CACD2000.json of "
        "https://github.com/paplhjak/Facial-Age-Estimation-Benchmark-Databases (or the reference's annotations)",
        ("CACD2000/*.jpg", "annotations/cacd_test_annotations.csv or CACD2000.json"), folders.read_cacd,
        note="the size of the test split is not published with the paper",
    ),
    Benchmark(
        "agedb", "AgeDB, all ten splits",
        "images of https://ibug.doc.ic.ac.uk/resources/agedb/ and AgeDB.json of "
        "https://github.com/paplhjak/Facial-Age-Estimation-Benchmark-Databases (or the reference's annotations)",
        ("AgeDB/*.jpg", "annotations/agedb_0_annotations.csv ... or AgeDB.json"), folders.read_agedb,
        {"people": 16_488, "female": 6_700, "male": 9_788,
         **_by_fold(1701, 1721, 1615, 1619, 1626, 1643, 1634, 1596, 1676, 1657)},
    ),
    Benchmark(
        "wild104", "Wild104", "nothing: the paper's set is private; who has it puts it here in LAGENDA columns",
        ("annotations.csv", "images/"), lambda folder: folders.read_own(folder / "annotations.csv", None),
        {"people": 104}, private=True,
    ),
    Benchmark(
        "demo", "drawn figures", "nothing: 100 pictures that the demo's models have not seen are drawn when it is run",
        (DEMO_TRUTH, "figures-*.jpg"), lambda folder: folders.read_own(folder / DEMO_TRUTH, None),
    ),
    Benchmark(
        "custom", "own data", "nothing: any CSV in LAGENDA columns, given by --annotations",
        ("annotations.csv", "images/"), lambda folder: folders.read_own(folder / "annotations.csv", None),
    ),
)  # fmt: skip
"""In the order of `annotator evaluate --list`."""

_BY_NAME = {benchmark.name: benchmark for benchmark in BENCHMARKS}


def find_benchmark(name: str) -> Benchmark:
    """The benchmark of that name.

    Raises:
        UnknownName: there is none.
    """
    if name not in _BY_NAME:
        raise UnknownName("benchmark", name, list(_BY_NAME))
    return _BY_NAME[name]
