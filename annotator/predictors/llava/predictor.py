"""LLaVA-type models as a predictor of age and gender."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, cast, get_args

import numpy as np
import torch

from annotator.domain import Gender, Prediction, PredictionStatus
from annotator.errors import UnknownName, WeightsInvalid
from annotator.predictors.base import PersonView
from annotator.predictors.device import arithmetic, pick_device
from annotator.predictors.llava.checkpoint import load_llava, load_tokenizer
from annotator.predictors.llava.crops import check_crop, crop_person
from annotator.predictors.llava.parsing import ParsedAnswer, parse_answer
from annotator.predictors.llava.prompt import (
    QUESTION,
    answer_text,
    build_prompt,
    end_tokens,
    find_template,
    usual_template,
)
from annotator.predictors.llava.scoring import Score, TreeScorer
from annotator.predictors.llava.tree import AgeGender, answer_tree, summarise
from annotator.predictors.llava.vision import Sight, vision_of
from annotator.predictors.versions import llava_suffix
from annotator.predictors.weights import version_of, weights_digest

Answer = Literal["median", "greedy"]
"""Which estimate ``age`` is: the distribution's median, or the answer at temperature 0 (the paper's estimator)."""


@dataclass(frozen=True, slots=True, eq=False)
class Prepared:
    """One person, ready for the model: ``sight`` is ``None`` where nothing can be seen.

    ``source`` says what is on it: ``body``, ``face``, ``no-face``, or ``nothing``. ``width`` and ``height`` are those
    of the crop before it was resized.
    """

    sight: Sight | None
    source: str
    width: int = 0
    height: int = 0


class LlavaPredictor:
    """A LLaVA-1.5, ShareGPT4V or LLaVA-NeXT model in the llava-hf layout, scored over the tree of all answers in one
    pass.

    Where the model's own greedy answer leaves the tree ("I cannot ...", a range) that answer is generated to its end
    and parsed: it then decides the age, and a refusal has none. Otherwise ``age`` is the distribution's median, or the
    greedy answer with ``answer="greedy"``.

    Args:
        path: the folder of the weights.
        name: the predictor's name; ``version`` adds the weights' digest and each setting that is not the default.
        device: ``auto``, ``cpu``, ``cuda`` or ``cuda:N``.
        dtype: ``auto`` (bfloat16 on a GPU, float32 on a CPU), ``float32``, ``bfloat16`` or ``float16``.
        batch_size: people for one call.
        notice: a caveat to show with every prediction.
        answer: ``median`` or ``greedy``.
        template: the conversation around the question, one of `annotator.predictors.llava.prompt.TEMPLATES`; by default
            the one that the folder's chat template is of.
        crop: ``body``, ``face`` or ``no-face``.
        full_tree: whether an age of several digits counts in the distribution only with its ``]`` (271 tokens are then
            fed instead of 37). The greedy answer is the model's own, to its end, with either tree.
        quantisation: ``4bit`` or ``8bit``, of the language model only; needs the extra ``quantisation``.
        device_map: how to spread the model over GPUs (``auto``, ``balanced``, or device by module) instead of
            ``device``.

    Raises:
        WeightsMissing: ``path`` holds no weights.
        WeightsInvalid: the weights or the tokenizer do not fit.
        ConfigurationError: an argument is not known.
    """

    def __init__(
        self,
        path: Path | str,
        *,
        name: str = "llava",
        device: str = "auto",
        dtype: str = "auto",
        batch_size: int = 16,
        notice: str | None = None,
        answer: str = "median",
        template: str | None = None,
        crop: str = "body",
        full_tree: bool = False,
        quantisation: str | None = None,
        device_map: str | Mapping[str, int | str] | None = None,
    ) -> None:
        if answer not in get_args(Answer):
            raise UnknownName("answer", answer, get_args(Answer))
        self.name, self.notice, self.batch_size = name, notice, batch_size
        self.answer = cast("Answer", answer)
        self.template = find_template(template or usual_template(Path(path)))
        self.full_tree = full_tree
        place = pick_device(device)
        number = arithmetic(dtype, on_gpu=place.type == "cuda", best="bfloat16")
        self._weights = version_of(name, weights_digest(Path(path)))
        self._arithmetic = (number, quantisation)
        self._show(crop)
        self._tokenizer = load_tokenizer(path)
        self._model = load_llava(
            path,
            dtype=getattr(torch, number),
            device=str(place),
            quantisation=quantisation,
            device_map=device_map,
        )
        self._vision = vision_of(self._model.config)
        self._scorer = self._make_scorer()

    def _make_scorer(self) -> TreeScorer:
        config = self._model.config
        prompt = build_prompt(self._tokenizer, self.template.name, QUESTION, config.image_token_index)
        tree = answer_tree(self._tokenizer, self.template.name, QUESTION, full=self.full_tree)
        highest = max(*prompt.ids(1), int(tree.tokens.max()), int(tree.columns.max()))
        if highest >= config.text_config.vocab_size:
            raise WeightsInvalid(f"the tokenizer has token {highest}, the model only {config.text_config.vocab_size}")
        return TreeScorer(self._model, prompt, tree, ends=end_tokens(self._tokenizer, self.template))

    def showing(self, crop: str) -> LlavaPredictor:
        """The same model in memory, shown other crops; its version says so.

        Raises:
            UnknownName: there is no such crop.
        """
        other = copy.copy(self)
        other._show(crop)
        return other

    def _show(self, crop: str) -> None:
        self.crop = check_crop(crop)
        tree = "full" if self.full_tree else "prefix"
        self.version = self._weights + llava_suffix(self.answer, self.template.name, crop, tree, *self._arithmetic)

    def prepare(self, view: PersonView) -> Prepared:
        """The person's crop as the vision tower sees it, not yet normalised."""
        found = crop_person(view, self.crop)
        if found is None:
            return Prepared(None, "nothing")
        pixels, source = found
        return Prepared(self._vision.look(pixels), source, pixels.shape[1], pixels.shape[0])

    def predict(self, batch: Sequence[Prepared]) -> list[Prediction]:
        """One prediction for each prepared person, in order; ``no_evidence`` where there was nothing to see."""
        scores = iter(self._score([one.sight for one in batch if one.sight is not None]))
        return [self._nothing() if one.sight is None else self._prediction(one, next(scores)) for one in batch]

    def _score(self, sights: Sequence[Sight]) -> list[Score]:
        if not sights:
            return []
        return self._scorer.score(self._vision.gather(sights, self._model.device, self._model.dtype))

    def _nothing(self) -> Prediction:
        wanted = {"body": "body or face", "face": "face", "no-face": "body"}[self.crop]
        reason = f"no {wanted} box that holds a pixel of the image"
        return Prediction(self.name, self.version, PredictionStatus.NO_EVIDENCE, reason=reason)

    def _prediction(self, person: Prepared, score: Score) -> Prediction:
        summary = summarise(score.log_probabilities, self._scorer.tree.answers)
        text = self._text(score)
        parsed = parse_answer(text)
        details = self._details(person, score, summary, text, parsed)
        if parsed.age is None:
            reason = f"{parsed.rule.replace('_', ' ')}: {_shorten(text)}"
            probability = summary.format_probability
            return Prediction(
                self.name, self.version, parsed.status, format_probability=probability, reason=reason, details=details
            )
        follows_text = self.answer == "greedy" or score.generated is not None
        return Prediction(
            predictor=self.name,
            version=self.version,
            status=parsed.status,
            age=parsed.age if follows_text else summary.median,
            age_sd=summary.sd if score.generated is None else None,
            female_probability=_agreeing(summary.female_probability, parsed.gender if follows_text else None),
            format_probability=summary.format_probability,
            details=details,
        )

    def _text(self, score: Score) -> str:
        """The model's greedy answer in words."""
        if score.generated is None:
            return answer_text(*score.greedy)
        text: str = self._tokenizer.decode(score.generated, skip_special_tokens=True)
        return text.split(self.template.stop)[0].strip()

    def _details(
        self, person: Prepared, score: Score, summary: AgeGender, text: str, parsed: ParsedAnswer
    ) -> dict[str, Any]:
        return {
            "text": text,
            "rule": parsed.rule,
            "in_format": score.generated is None,
            "answer": self.answer,
            "greedy_age": parsed.age,
            "greedy_gender": parsed.gender,
            "mean_age": round(summary.mean, 4),
            "median_age": summary.median,
            "female_probability": round(summary.female_probability, 6),
            "template": self.template.name,
            "input": person.source,
            "crop_size": [person.width, person.height],
            "tree": "full" if self.full_tree else "short",
        }


def _agreeing(female_probability: float, gender: Gender | None) -> float:
    """P(female), held on the side of the gender that the answer names."""
    if gender is Gender.FEMALE:
        return max(female_probability, 0.5)
    if gender is Gender.MALE:
        return min(female_probability, float(np.nextafter(0.5, 0)))
    return female_probability


def _shorten(text: str, length: int = 120) -> str:
    """``text`` on one line, cut to ``length`` characters."""
    line = " ".join(text.split())
    return line if len(line) <= length else line[: length - 3] + "..."
