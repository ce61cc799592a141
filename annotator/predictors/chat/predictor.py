"""The chat predictor: crops out, answers in, every request in the ledger."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from annotator.domain import Gender, Prediction, PredictionStatus
from annotator.endpoint import Endpoint
from annotator.errors import ServiceError
from annotator.predictors.base import PersonView, Pixels
from annotator.predictors.chat.client import ANSWER_PATTERN, Capabilities, ChatClient, Reply, Unanswered
from annotator.predictors.chat.ledger import AnswerLedger
from annotator.predictors.chat.limits import Limits
from annotator.predictors.chat.logprobs import age_distribution, female_probability
from annotator.predictors.llava.crops import crop_person
from annotator.predictors.llava.parsing import parse_answer
from annotator.predictors.llava.preprocess import preprocess
from annotator.predictors.llava.processor_files import CHAT_TEMPLATE
from annotator.predictors.llava.prompt import QUESTION

_JPEG_QUALITY = 95
_LOST = (
    "the request left, but its answer was lost (the run was interrupted, or another one is waiting for it); it may "
    "have been paid, so it is not sent again: to ask once more set retry_lost = true in "
    "[chat.{name}] and run `annotator prelabel --retry-failed`"
)


@dataclass(frozen=True, slots=True)
class Crop:
    """An encoded crop; ``data`` is ``None`` where the person has no usable box. ``used`` says which crop it is."""

    data: bytes | None
    media_type: str
    key: str
    used: str


class ChatPredictor:
    """Age and gender by asking an OpenAI-compatible server as arXiv 2403.02302 does.

    Raises:
        ConfigurationError: the key is not set, or a cap cannot hold.
    """

    notice: str | None = None

    def __init__(self, name: str, endpoint: Endpoint, ledger_path: Path, *, transport: Any = None) -> None:
        endpoint.check()
        self.name = name
        prompt = hashlib.sha256(f"{QUESTION}|{endpoint.kind}|{endpoint.crop}|{endpoint.detail}".encode()).hexdigest()
        self.version = f"{name}@{endpoint.model}-{prompt[:12]}"
        self.batch_size = 4 * endpoint.concurrency
        self._endpoint, self._transport = endpoint, transport
        self._ledger = AnswerLedger(ledger_path, self.version)
        self._limits = Limits(endpoint, self._ledger)
        self._client: ChatClient | None = None

    def prepare(self, view: PersonView) -> Crop:
        """The crop as it will be sent: a full-size JPEG, or a lossless padded square for a server of one's own."""
        found = crop_person(view, self._endpoint.crop)
        if found is None:
            return Crop(None, "", "", "")
        pixels, used = found
        if self._endpoint.kind == "self-hosted":
            data, media_type = _encode(preprocess(pixels, self._endpoint.image_side), ".png"), "image/png"
        else:
            data, media_type = _encode(pixels, ".jpg"), "image/jpeg"
        return Crop(data, media_type, hashlib.sha256(data + self.version.encode()).hexdigest(), used)

    def predict(self, batch: Sequence[Crop]) -> list[Prediction]:
        """One prediction per crop, in order; equal crops are asked once."""
        unique = {crop.key: crop for crop in batch if crop.data is not None}
        if unique and self._client is None:
            self._client = ChatClient(self._endpoint, self._probe(), self._transport)
        with ThreadPoolExecutor(self._endpoint.concurrency, thread_name_prefix="chat") as pool:
            answers = dict(zip(unique, pool.map(self._one, unique.values()), strict=True))
        return [_with_crop(answers[crop.key], crop) if crop.data is not None else self._no_evidence() for crop in batch]

    def close(self) -> None:
        """Close the ledger."""
        self._ledger.close()

    def _one(self, crop: Crop) -> Prediction:
        stored = self._ledger.find(crop.key)
        if stored is not None and stored.state == "sent" and self._endpoint.retry_lost:
            self._ledger.release(crop.key)
            stored = None
        if stored is not None:
            return (
                self._failed(_LOST.format(name=self.name))
                if stored.answer is None
                else self._read(Reply.from_json(stored.answer))
            )
        reason = self._limits.refusal()
        if reason is not None:
            return self._failed(reason)
        try:
            return self._ask(crop)
        finally:
            self._limits.done()

    def _ask(self, crop: Crop) -> Prediction:
        client, data = self._client, crop.data
        if client is None or data is None:
            raise ValueError("predict() opens the client and leaves out people without a crop")
        self._limits.wait()
        if not self._ledger.begin(crop.key):
            return self._failed(_LOST.format(name=self.name))
        try:
            reply = client.ask(data, crop.media_type)
        except Unanswered as error:
            if not error.maybe_paid:
                self._ledger.release(crop.key)
            return self._failed(str(error))
        self._ledger.finish(crop.key, reply.as_json(), self._endpoint.cost(reply.input_tokens, reply.output_tokens))
        return self._read(reply)

    def _read(self, reply: Reply) -> Prediction:
        details: dict[str, Any] = {"raw_text": reply.text, "served_by": reply.model, "tokens": reply.input_tokens}
        if reply.refusal is not None:
            details["parser_rule"] = reply.refusal
            return self._empty(PredictionStatus.REFUSED, "the model refused to answer", details)
        parsed = parse_answer(reply.text)
        details["parser_rule"] = parsed.rule
        if parsed.age is None and parsed.gender is None:
            return self._empty(parsed.status, f"no usable answer ({parsed.rule})", details)
        ages = age_distribution(reply.tokens)
        if ages is not None:
            details |= {"age_mean": ages.mean, "age_median": ages.median, "age_mass": ages.mass}
        female = female_probability(reply.tokens)
        if female is None and parsed.gender is not None:
            female = 1.0 if parsed.gender is Gender.FEMALE else 0.0
            details["gender_is_hard"] = True
        return Prediction(
            self.name, self.version, parsed.status, parsed.age, ages.sd if ages else None, female, details=details
        )

    def _probe(self) -> Capabilities:
        """What the server understands: OpenAI's is known, one's own is asked with a grey square."""
        if self._endpoint.kind == "openai":
            return Capabilities(logprobs=True)
        grey = _encode(_grey(self._endpoint.image_side), ".png")
        base = {"add_special_tokens": True, "chat_template": CHAT_TEMPLATE}
        structured = {**base, "structured_outputs": {"regex": ANSWER_PATTERN}}
        reasons = []
        for logprobs, extra in ((True, structured), (False, structured), (True, base), (False, base), (False, {})):
            capabilities = Capabilities(logprobs, extra)
            try:
                ChatClient(self._endpoint, capabilities, self._transport).ask(grey, "image/png")
            except Unanswered as error:
                if not error.rejected:
                    raise
                reasons.append(str(error))
            else:
                return capabilities
        raise ServiceError(f"{self._endpoint.base_url} answers no form of the question; the plain one: {reasons[-1]}")

    def _no_evidence(self) -> Prediction:
        return self._empty(PredictionStatus.NO_EVIDENCE, f"no usable {self._endpoint.crop} crop", {})

    def _failed(self, reason: str) -> Prediction:
        return self._empty(PredictionStatus.FAILED, reason, {})

    def _empty(self, status: PredictionStatus, reason: str, details: dict[str, Any]) -> Prediction:
        return Prediction(self.name, self.version, status, reason=reason, details=details)


def _with_crop(prediction: Prediction, crop: Crop) -> Prediction:
    return replace(prediction, details={**prediction.details, "inputs": crop.used, "request": crop.key})


def _encode(pixels: Pixels, extension: str) -> bytes:
    quality = [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY] if extension == ".jpg" else []
    ok, data = cv2.imencode(extension, cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR), quality)
    if not ok:
        raise ValueError(f"cannot encode a crop of shape {pixels.shape} as {extension}")
    return bytes(data.tobytes())


def _grey(side: int) -> Pixels:
    return np.full((side, side, 3), 127, dtype=np.uint8)
