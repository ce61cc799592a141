"""Which predictor suits one's own photos: the evaluation of a control set, and the speed of each predictor here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from annotator.evaluation.advice import Candidate, Ensemble, advice_grid, advise
from annotator.evaluation.grid import Grid
from annotator.evaluation.measuring import age_loss
from annotator.pipeline.evaluate.benchmark import Evaluation, Request
from annotator.pipeline.evaluate.ensembles import ENSEMBLE, FITTED
from annotator.pipeline.evaluate.speed import measure_speed
from annotator.pipeline.evaluate.variants import Spec
from annotator.pipeline.halving import free_memory
from annotator.pipeline.watch import SILENT, Watch
from annotator.settings import Settings


@dataclass(frozen=True, slots=True)
class Recommendation:
    """One table and one sentence, for each kind of input that was asked for."""

    inputs: str
    grid: Grid
    sentence: str


def recommend(
    result: Evaluation, specs: Sequence[Spec], request: Request, settings: Settings, *, watch: Watch = SILENT
) -> list[Recommendation]:
    """Measures each predictor's speed in a process of its own and weighs it against accuracy and the ensemble's gain.

    ``specs`` are those of the variants that were evaluated, in their order. Whoever holds these should let them go
    first: a model that is in memory twice takes what the measured one may need.

    Raises:
        WeightsInvalid, ConfigurationError: a predictor cannot be loaded.
    """
    free_memory()
    watch.begin("predictors timed", sum(not one.remote for one in specs))
    candidates: dict[str, list[Candidate]] = {}
    for number, variant in enumerate(specs):
        speed = None
        if not variant.remote:
            speed = measure_speed(
                variant.name, variant.inputs, result.loaded.people, settings, crops=request.crops, answer=request.answer
            )
            watch.step()
        loss = age_loss(result.run.truths, result.answers[number])
        candidates.setdefault(variant.inputs, []).append(
            Candidate(result.rows[number], loss, result.run.truths.image, speed)
        )
    return [_one(result, inputs, found, request.seed) for inputs, found in candidates.items()]


def _one(result: Evaluation, inputs: str, candidates: list[Candidate], seed: int) -> Recommendation:
    ensemble = _ensemble(result, inputs)
    unit = "years" if result.run.truths.classes is None else "classes"
    return Recommendation(
        inputs, advice_grid(candidates, ensemble, seed), advise(candidates, ensemble, unit=unit, seed=seed)
    )


def _ensemble(result: Evaluation, inputs: str) -> Ensemble | None:
    """The cross-fitted one where the control set was large enough to fit it, else that by published errors."""
    found = {row.predictor: number for number, row in enumerate(result.rows) if row.inputs == inputs}
    number = found.get(FITTED, found.get(ENSEMBLE))
    if number is None:
        return None
    return Ensemble(result.rows[number], age_loss(result.run.truths, result.answers[number]))
