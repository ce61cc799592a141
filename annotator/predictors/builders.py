"""From weights on this machine to a model that is loaded when it is needed, one function for each family."""

from __future__ import annotations

import hashlib
from collections.abc import Callable

from annotator.detection.base import Detector
from annotator.endpoint import Endpoint
from annotator.model_options import ModelOptions
from annotator.predictors.base import Predictor
from annotator.predictors.device import arithmetic, is_on_gpu
from annotator.predictors.lazy import Lazy
from annotator.predictors.llava.prompt import usual_template
from annotator.predictors.places import Place
from annotator.predictors.versions import llava_suffix, mivolo_suffix
from annotator.predictors.weights import version_of, weights_digest
from annotator.settings import Settings


def build_detector(place: Place, settings: Settings) -> Lazy[Detector]:
    """The detector at ``place``.

    Raises:
        WeightsMissing: there are no weights.
    """
    if place.family == "yunet":
        return _yunet(place)
    return _huggingface(place, settings) if place.family == "huggingface" else _yolo(place, settings)


def build_predictor(place: Place, settings: Settings) -> Lazy[Predictor]:
    """The predictor at ``place``.

    Raises:
        WeightsMissing: there are no weights.
    """
    return _mivolo(place, settings) if place.family == "mivolo" else _llava(place, settings)


def _detector(place: Place, load: Callable[[], Detector]) -> Lazy[Detector]:
    from annotator.detection.suppress import Thresholds

    digest = weights_digest(place.path)
    version = f"{version_of(place.name, digest)}-{Thresholds().tag}"
    return Lazy(place.name, version, load, notice=place.notice, digest=digest)


def _huggingface(place: Place, settings: Settings) -> Lazy[Detector]:
    def load() -> Detector:
        from annotator.detection.huggingface import HuggingFaceDetector

        return HuggingFaceDetector(
            place.path,
            name=place.name,
            device=settings.device,
            batch_size=place.options.batch_size or 8,
            notice=place.notice,
        )

    return _detector(place, load)


def _yunet(place: Place) -> Lazy[Detector]:
    def load() -> Detector:
        from annotator.detection.yunet import YunetDetector

        return YunetDetector(place.path, name=place.name, notice=place.notice)

    return _detector(place, load)


def _yolo(place: Place, settings: Settings) -> Lazy[Detector]:
    def load() -> Detector:
        from annotator.detection.yolo import YoloDetector

        return YoloDetector(
            place.path,
            name=place.name,
            trusted_sha256=settings.yolo_sha256,
            device=settings.device,
            batch_size=place.options.batch_size or 8,
            notice=place.notice,
        )

    return _detector(place, load)


def combine(parts: list[Lazy[Detector]]) -> Lazy[Detector]:
    """Several detectors as one that finds what any of them does."""
    from annotator.detection.combined import CombinedDetector, combined_version

    name = "+".join(part.name for part in parts)
    notice = " ".join(dict.fromkeys(part.notice for part in parts if part.notice)) or None

    def load() -> Detector:
        return CombinedDetector(name, [part.get() for part in parts])

    digest = hashlib.sha256("".join(str(part.digest) for part in parts).encode()).hexdigest()
    version = combined_version(name, [part.version for part in parts])
    return Lazy(name, version, load, notice=notice, digest=digest)


def _mivolo(place: Place, settings: Settings) -> Lazy[Predictor]:
    options = place.options

    def load() -> Predictor:
        from annotator.predictors.mivolo.predictor import MiVOLOPredictor

        return MiVOLOPredictor(
            place.path,
            name=place.name,
            device=settings.device,
            batch_size=options.batch_size,
            notice=place.notice,
            inputs=options.inputs,
            crops=options.crops,
            dtype=options.dtype,
            compiled=options.compiled,
        )

    suffix = mivolo_suffix(options.inputs, _dtype(options, settings, "float16"), options.crops)
    return _predictor(place, load, suffix)


def _llava(place: Place, settings: Settings) -> Lazy[Predictor]:
    options = place.options
    template = options.template or usual_template(place.path)

    def load() -> Predictor:
        from annotator.predictors.llava.predictor import LlavaPredictor

        return LlavaPredictor(
            place.path,
            name=place.name,
            device=settings.device,
            dtype=options.dtype,
            batch_size=options.batch_size or 16,
            notice=place.notice,
            answer=options.answer,
            template=template,
            crop=options.crop,
            full_tree=options.tree == "full",
            quantisation=options.quantisation,
            device_map=options.device_map,
        )

    dtype = _dtype(options, settings, "bfloat16")
    suffix = llava_suffix(options.answer, template, options.crop, options.tree, dtype, options.quantisation)
    return _predictor(place, load, suffix)


def _predictor(place: Place, load: Callable[[], Predictor], suffix: str) -> Lazy[Predictor]:
    digest = weights_digest(place.path)
    return Lazy(place.name, version_of(place.name, digest) + suffix, load, notice=place.notice, digest=digest)


def _dtype(options: ModelOptions, settings: Settings, best: str) -> str:
    """The dtype that a predictor will choose."""
    return arithmetic(options.dtype, on_gpu=is_on_gpu(settings.device), best=best)


def build_chat(name: str, endpoint: Endpoint, settings: Settings) -> Lazy[Predictor]:
    """The predictor behind an endpoint of the settings."""
    from annotator.predictors.chat.predictor import ChatPredictor

    model = ChatPredictor(name, endpoint, settings.path(settings.data_dir) / "answers" / f"{name}.db")
    return Lazy(name, model.version, lambda: model, notice=model.notice)
