"""Running a predictor over people: preparation on threads, full batches, one person's failure stays theirs."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import Any

from annotator.domain import Prediction, PredictionStatus
from annotator.pipeline.halving import Halving
from annotator.predictors.base import PersonView, Predictor

BATCHES_AHEAD = 2
"""How many batches of prepared people there are at most, that of the model included."""


def predictions(
    predictor: Predictor, views: Sequence[PersonView], pool: ThreadPoolExecutor
) -> Iterator[list[Prediction]]:
    """One prediction for each view, in order, given batch by batch as they come out.

    While the model works on one batch the next is prepared. A person whose preparation or prediction raises gets
    ``failed`` with the reason; when a whole batch raises, it is halved until the culprit is alone. A lack of memory
    makes ``predictor.batch_size`` smaller for the rest of the run.
    """
    left = iter(views)
    prepared: deque[Future[Any]] = deque()
    while True:
        _prepare(predictor, left, prepared, pool)
        if not prepared:
            return
        batch = [prepared.popleft() for _ in range(min(predictor.batch_size, len(prepared)))]
        _prepare(predictor, left, prepared, pool, less=1)
        yield _predict_futures(predictor, batch)


def _prepare(
    predictor: Predictor,
    left: Iterator[PersonView],
    prepared: deque[Future[Any]],
    pool: ThreadPoolExecutor,
    less: int = 0,
) -> None:
    """Has so many people prepared that ``prepared`` holds the batches that may be ahead."""
    wanted = (BATCHES_AHEAD - less) * predictor.batch_size - len(prepared)
    prepared.extend(pool.submit(predictor.prepare, view) for view in islice(left, max(0, wanted)))


def _predict_futures(predictor: Predictor, prepared: Sequence[Future[Any]]) -> list[Prediction]:
    errors = [future.exception() for future in prepared]
    inputs = [future.result() for future, error in zip(prepared, errors, strict=True) if error is None]
    answers = iter(predict_batch(predictor, inputs))
    return [failed(predictor, error) if error is not None else next(answers) for error in errors]


def predict_batch(predictor: Predictor, inputs: Sequence[Any]) -> list[Prediction]:
    """One prediction for each prepared person; what raises is halved as `predictions` says."""
    halving: Halving[Any, Prediction] = Halving(predictor.predict, predictor.batch_size)
    results = halving.run(inputs)
    predictor.batch_size = halving.size
    return [result if isinstance(result, Prediction) else failed(predictor, result) for result in results]


def failed(predictor: Predictor, error: BaseException) -> Prediction:
    """What is said of a person on whom a predictor raised."""
    reason = f"{type(error).__name__}: {error}"
    return Prediction(predictor.name, predictor.version, PredictionStatus.FAILED, reason=reason)
