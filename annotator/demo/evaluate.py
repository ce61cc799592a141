"""``python -m annotator.demo.evaluate``: how well the demo models do on drawn pictures that they never saw.

Detection is scored over boxes at an IoU of .5; the predictors and the ensemble over people who were found, from the
boxes that the detector gave. Nothing but the picture goes in.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from annotator.demo import weights_dir
from annotator.demo.figures import DrawnPerson, draw_image, read_back
from annotator.detection.base import Detector
from annotator.detection.pairing import pair
from annotator.domain import Box, Evidence, Fused, Gender, Person, Prediction
from annotator.ensemble.fusion import fuse
from annotator.predictors.base import PersonView, Pixels, Predictor

EVALUATION_SEED = 20_240_302
"""Far from every training seed."""

ENSEMBLE = "ensemble"
MATCH_IOU = 0.5
_CHUNK = 32


@dataclass(frozen=True, slots=True)
class KindScore:
    """Found boxes of one kind: true ones among all drawn (recall) and among all found (precision)."""

    drawn: int
    found: int
    matched: int

    @property
    def recall(self) -> float:
        """Share of drawn boxes that were found."""
        return self.matched / self.drawn if self.drawn else float("nan")

    @property
    def precision(self) -> float:
        """Share of found boxes that are there."""
        return self.matched / self.found if self.found else float("nan")


@dataclass(frozen=True, slots=True)
class AgeScore:
    """One predictor on people who were found: ``people`` with an age, MAE in years, share of right genders."""

    people: int
    silent: int
    mae: float
    gender_accuracy: float


@dataclass(frozen=True, slots=True)
class Scores:
    """Everything that was measured."""

    pictures: int
    person: KindScore
    face: KindScore
    predictors: dict[str, AgeScore]
    correlation: float | None

    def table(self) -> str:
        """The figures as text, with what they were measured on."""
        lines = [f"{self.pictures} unseen drawn pictures (drawn figures only)"]
        for name, kind in (("person", self.person), ("face", self.face)):
            counts = f"({kind.drawn} drawn, {kind.found} found)"
            lines.append(f"{name:12} recall {kind.recall:.3f}  precision {kind.precision:.3f}  {counts}")
        for name, score in self.predictors.items():
            counts = f"({score.people} people, {score.silent} without an answer)"
            lines.append(f"{name:12} MAE {score.mae:.2f}  gender {score.gender_accuracy:.3f}  {counts}")
        if self.correlation is not None:
            lines.append(f"correlation of the two models' errors: {self.correlation:.2f}")
        return "\n".join(lines)


@dataclass(frozen=True, slots=True)
class Found:
    """A person that was found on a picture, and who it is in truth, if anybody."""

    view: PersonView
    truth: DrawnPerson | None


def load_models(folder: Path | None = None) -> tuple[Detector, list[Predictor]]:
    """The demo detector and predictors from ``folder``, or the shipped ones."""
    from annotator.detection.huggingface import HuggingFaceDetector
    from annotator.predictors.llava.predictor import LlavaPredictor
    from annotator.predictors.mivolo.predictor import MiVOLOPredictor

    def place(name: str) -> Path:
        return weights_dir(name) if folder is None else folder / name

    detector = HuggingFaceDetector(place("demo-detector"), name="demo-detector", device="cpu")
    mivolo = MiVOLOPredictor(place("demo-mivolo"), name="demo-mivolo", device="cpu", batch_size=32)
    mllm = LlavaPredictor(place("demo-mllm"), name="demo-mllm", device="cpu", batch_size=16)
    return detector, [mivolo, mllm]


def match(found: Sequence[Box], drawn: Sequence[Box], least: float = MATCH_IOU) -> list[int | None]:
    """For each found box, in order of preference, the drawn box that it takes: the one of highest IoU still free.

    Example:
        >>> match([Box(0, 0, 10, 10), Box(50, 0, 60, 10)], [Box(1, 0, 11, 10)])
        [0, None]
    """
    free = set(range(len(drawn)))
    owners: list[int | None] = []
    for box in found:
        best = max(free, key=lambda number: box.iou(drawn[number]), default=None)
        if best is not None and box.iou(drawn[best]) >= least:
            free.discard(best)
            owners.append(best)
        else:
            owners.append(None)
    return owners


def evaluate(
    detector: Detector,
    predictors: Sequence[Predictor],
    *,
    pictures: int,
    seed: int = EVALUATION_SEED,
    progress: Callable[[int], None] | None = None,
) -> Scores:
    """Draw ``pictures`` unseen pictures, run everything on them, and compare with what was drawn."""
    counts = np.zeros((2, 3), int)
    people: list[tuple[str, DrawnPerson, list[Prediction], PersonView]] = []
    for start in range(0, pictures, _CHUNK):
        drawn = [_picture(seed, index) for index in range(start, min(start + _CHUNK, pictures))]
        found = _find(detector, drawn, counts)
        known = [(f"picture-{start + number}", item) for number, items in enumerate(found) for item in items]
        answers = [_predict(predictor, [item.view for _, item in known]) for predictor in predictors]
        for row, (group, item) in enumerate(known):
            if item.truth is not None:
                people.append((group, item.truth, [answer[row] for answer in answers], item.view))
        if progress:
            progress(min(start + _CHUNK, pictures))
    person, face = (KindScore(*(int(value) for value in row)) for row in counts)
    return Scores(pictures, person, face, _age_scores(people, [p.name for p in predictors]), _correlation(people))


def _picture(seed: int, index: int) -> tuple[Pixels, list[DrawnPerson]]:
    pixels, people = draw_image(seed, index)
    return read_back(pixels), people


def _find(
    detector: Detector, drawn: Sequence[tuple[Pixels, list[DrawnPerson]]], counts: np.ndarray
) -> list[list[Found]]:
    """Detect on each picture, add to ``counts`` (kind x drawn, found, matched), and pair faces with bodies."""
    result = []
    detections = detector.detect([pixels for pixels, _ in drawn])
    for (pixels, people), boxes in zip(drawn, detections, strict=True):
        for row, kind in enumerate(("person", "face")):
            there = [p.body for p in people] if kind == "person" else [p.face for p in people if p.face is not None]
            seen = [item.box for item in boxes if item.kind == kind]
            hits = sum(owner is not None for owner in match(seen, there))
            counts[row] += (len(there), len(seen), hits)
        height, width = pixels.shape[:2]
        pairs = [(body, face) for body, face, _, _ in pair(boxes, width, height)]
        owners = match([body or Box(0, 0, 0, 0) for body, _ in pairs], [person.body for person in people])
        views = _views(pixels, pairs)
        result.append(
            [Found(view, None if owner is None else people[owner]) for view, owner in zip(views, owners, strict=True)]
        )
    return result


def _views(pixels: Pixels, pairs: Sequence[tuple[Box | None, Box | None]]) -> list[PersonView]:
    views = []
    for number, (body, face) in enumerate(pairs):
        others = tuple(box for k, both in enumerate(pairs) if k != number for box in both if box is not None)
        views.append(PersonView(Person.make_id("0" * 16, number), pixels, body, face, others))
    return views


def _predict(predictor: Predictor, views: Sequence[PersonView]) -> list[Prediction]:
    answers: list[Prediction] = []
    for start in range(0, len(views), predictor.batch_size):
        answers += predictor.predict([predictor.prepare(view) for view in views[start : start + predictor.batch_size]])
    return answers


def _age_scores(
    people: Sequence[tuple[str, DrawnPerson, list[Prediction], PersonView]], names: Sequence[str]
) -> dict[str, AgeScore]:
    truths = [truth for _, truth, _, _ in people]
    scores = {
        name: _age_score(truths, [(p[number].age, p[number].gender) for _, _, p, _ in people])
        for number, name in enumerate(names)
    }
    fused: Sequence[Fused] = fuse([_evidence(str(row), *person) for row, person in enumerate(people)])
    scores[ENSEMBLE] = _age_score(truths, [(opinion.age, opinion.gender) for opinion in fused])
    return scores


def _evidence(name: str, group: str, _: DrawnPerson, predictions: list[Prediction], view: PersonView) -> Evidence:
    face, body = (None if box is None else box.height for box in (view.face, view.body))
    return Evidence(name, group, tuple(predictions), face_height=face, body_height=body)


def _age_score(truths: Sequence[DrawnPerson], answers: Sequence[tuple[float | None, Gender | None]]) -> AgeScore:
    pairs = list(zip(truths, answers, strict=True))
    errors = [abs(age - truth.age) for truth, (age, _) in pairs if age is not None]
    right = [gender is truth.gender for truth, (_, gender) in pairs if gender is not None]
    if not errors or not right:
        return AgeScore(0, len(pairs), float("nan"), float("nan"))
    return AgeScore(len(errors), len(pairs) - len(errors), float(np.mean(errors)), float(np.mean(right)))


def _correlation(people: Sequence[tuple[str, DrawnPerson, list[Prediction], PersonView]]) -> float | None:
    """Correlation of the first two predictors' errors, over people whom both gave an age."""
    errors = [
        (p[0].age - truth.age, p[1].age - truth.age)
        for _, truth, p, _ in people
        if len(p) > 1 and p[0].age is not None and p[1].age is not None
    ]
    return float(np.corrcoef(np.array(errors).T)[0, 1]) if len(errors) > 2 else None


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m annotator.demo.evaluate", description=__doc__)
    parser.add_argument("--pictures", type=int, default=500)
    parser.add_argument("--seed", type=int, default=EVALUATION_SEED)
    parser.add_argument(
        "--weights", type=Path, default=None, help="folder of demo-* folders instead of the shipped ones"
    )
    options = parser.parse_args(arguments)
    detector, predictors = load_models(options.weights)
    scores = evaluate(detector, predictors, pictures=options.pictures, seed=options.seed)
    sys.stdout.write(scores.table() + "\n")


if __name__ == "__main__":
    main()
