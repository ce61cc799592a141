"""Running a predictor over people: preparation on threads, full batches, one person's failure stays theirs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from annotator.domain import Prediction, PredictionStatus
from annotator.predictors.base import PersonView, Predictor


def predictions(
    predictor: Predictor, views: Sequence[PersonView], pool: ThreadPoolExecutor
) -> Iterator[list[Prediction]]:
    """One prediction for each view, in order, given batch by batch as they come out.

    A person whose preparation or prediction raises gets ``failed`` with the reason; when a whole batch raises, it is
    halved until the culprit is alone (which also helps when the batch was too large for the memory).
    """
    prepared = [pool.submit(predictor.prepare, view) for view in views]
    for start in range(0, len(prepared), predictor.batch_size):
        yield _predict_futures(predictor, prepared[start : start + predictor.batch_size])


def _predict_futures(predictor: Predictor, prepared: Sequence[Future[Any]]) -> list[Prediction]:
    results: list[Prediction | None] = []
    inputs = []
    for future in prepared:
        error = future.exception()
        results.append(_failed(predictor, error) if isinstance(error, Exception) else None)
        if error is None:
            inputs.append(future.result())
    answers = iter(_predict(predictor, inputs))
    return [result if result is not None else next(answers) for result in results]


def _predict(predictor: Predictor, inputs: Sequence[Any]) -> list[Prediction]:
    if not inputs:
        return []
    try:
        answers = predictor.predict(inputs)
        if len(answers) != len(inputs):
            raise RuntimeError(f"{len(answers)} answers for {len(inputs)} people")
    except Exception as error:  # noqa: BLE001 - whatever a model raises is this batch's trouble alone
        if len(inputs) == 1:
            return [_failed(predictor, error)]
        half = len(inputs) // 2
        return _predict(predictor, inputs[:half]) + _predict(predictor, inputs[half:])
    return answers


def _failed(predictor: Predictor, error: BaseException) -> Prediction:
    reason = f"{type(error).__name__}: {error}"
    return Prediction(predictor.name, predictor.version, PredictionStatus.FAILED, reason=reason)
