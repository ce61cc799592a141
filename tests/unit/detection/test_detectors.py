"""Detectors: labels by name, thresholds, duplicates, batches, and weights that do not fit."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file
from transformers import DFineConfig, DFineForObjectDetection, HGNetV2Config, RTDetrImageProcessor

from annotator.detection.combined import CombinedDetector
from annotator.detection.given import given_people
from annotator.detection.huggingface import HuggingFaceDetector
from annotator.detection.labels import kinds_by_label
from annotator.detection.suppress import Thresholds, refine
from annotator.detection.yolo import YoloDetector
from annotator.domain import Box, Detection, Gender, Truth
from annotator.errors import ConfigurationError, WeightsInvalid, WeightsMissing
from annotator.images.items import GivenPerson
from annotator.predictors.base import Pixels
from annotator.predictors.digests import file_digest

EVERYTHING = Thresholds(person=0.0, face=0.0, duplicate_iou=0.999)


def tiny_config(labels: dict[int, str]) -> DFineConfig:
    backbone = HGNetV2Config(
        stem_channels=[3, 8, 8],
        stage_in_channels=[8, 16, 16, 16],
        stage_mid_channels=[8, 8, 8, 8],
        stage_out_channels=[16, 16, 16, 16],
        stage_num_blocks=[1, 1, 1, 1],
        stage_numb_of_layers=[1, 1, 1, 1],
        hidden_sizes=[16, 16, 16, 16],
        depths=[1, 1, 1, 1],
        embedding_size=8,
        out_indices=[2, 3, 4],
    )
    return DFineConfig(
        backbone_config=backbone,
        encoder_in_channels=[16, 16, 16],
        encoder_hidden_dim=16,
        encoder_ffn_dim=16,
        encoder_attention_heads=2,
        hidden_expansion=0.5,
        depth_mult=0.34,
        d_model=16,
        decoder_in_channels=[16, 16, 16],
        decoder_ffn_dim=16,
        decoder_layers=2,
        decoder_attention_heads=2,
        num_queries=10,
        max_num_bins=8,
        lqe_hidden_dim=8,
        id2label=labels,
        label2id={name: number for number, name in labels.items()},
    )


def build(folder: Path, labels: dict[int, str], seed: int = 0) -> Path:
    torch.manual_seed(seed)
    model = DFineForObjectDetection(tiny_config(labels)).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "class_embed" in name:  # else one label wins everywhere
                parameter.normal_(0, 1)
    model.save_pretrained(folder)
    RTDetrImageProcessor(size={"height": 64, "width": 64}).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp("detector"), {0: "bicycle", 1: "Face", 2: "PERSON"})


def pictures(*shapes: tuple[int, int]) -> list[Pixels]:
    rng = np.random.default_rng(3)
    return [rng.integers(0, 255, (*shape, 3), dtype=np.uint8) for shape in shapes]


def test_boxes_equal_those_of_the_model_itself(weights: Path) -> None:
    """At the model's own size nothing is resized, so the raw outputs are an oracle."""
    (image,) = pictures((64, 64))
    detector = HuggingFaceDetector(weights, name="tiny", thresholds=EVERYTHING, device="cpu")
    model = DFineForObjectDetection.from_pretrained(weights).eval()
    with torch.inference_mode():
        outputs = model(torch.from_numpy(image).permute(2, 0, 1)[None].float() / 255)
    scores = outputs.logits[0].sigmoid()
    centre = outputs.pred_boxes[0] * 64
    expected = {}
    for (x, y, w, h), row in zip(centre.tolist(), scores.tolist(), strict=True):
        box = Box(x - w / 2, y - h / 2, x + w / 2, y + h / 2).clipped(64, 64)
        expected.update({("face", round(row[1], 4)): box, ("person", round(row[2], 4)): box})
    (found,) = detector.detect([image])
    assert found
    for item in found:
        box = expected[item.kind, round(item.score, 4)]
        assert item.box.as_tuple() == pytest.approx(box.as_tuple(), abs=0.05)
    assert [item.score for item in found] == sorted((item.score for item in found), reverse=True)


def test_batches_and_strange_pictures(weights: Path) -> None:
    images = pictures((64, 64), (40, 200), (1, 1), (3, 900), (900, 2))
    together = HuggingFaceDetector(weights, name="tiny", thresholds=EVERYTHING, batch_size=3, device="cpu").detect(
        images
    )
    alone = HuggingFaceDetector(weights, name="tiny", thresholds=EVERYTHING, batch_size=1, device="cpu").detect(images)
    assert len(together) == len(alone) == 5
    for image, many, one in zip(images, together, alone, strict=True):
        assert [item.score for item in many] == pytest.approx([item.score for item in one], abs=1e-4)
        height, width = image.shape[:2]
        assert all(item.box.clipped(width, height) == item.box for item in many)
    assert HuggingFaceDetector(weights, name="tiny").detect([]) == []


def test_thresholds_by_kind_and_version(weights: Path) -> None:
    images = pictures((64, 64))
    all_found = HuggingFaceDetector(weights, name="tiny", thresholds=EVERYTHING).detect(images)[0]
    kind = all_found[0].kind
    scores = sorted(item.score for item in all_found if item.kind == kind)
    middle = len(scores) // 2
    least = (scores[middle - 1] + scores[middle]) / 2
    some = HuggingFaceDetector(
        weights, name="tiny", thresholds=Thresholds(**{"person": 1.0, "face": 1.0, "duplicate_iou": 0.999, kind: least})
    )
    assert [item.score for item in some.detect(images)[0]] == scores[middle:][::-1]
    assert some.version.startswith("tiny@")
    assert some.version != HuggingFaceDetector(weights, name="tiny").version
    assert some.kinds == {"face", "person"}


def test_two_folders_make_one_detector(tmp_path: Path) -> None:
    person = HuggingFaceDetector(build(tmp_path / "p", {0: "person", 1: "dog"}), name="p", thresholds=EVERYTHING)
    face = HuggingFaceDetector(
        build(tmp_path / "f", {0: "face", 1: "x"}, seed=1), name="f", thresholds=EVERYTHING, notice="drawn faces only"
    )
    both = CombinedDetector("pair", [person, face])
    images = pictures((64, 64), (50, 90))
    assert [{item.kind for item in found} for found in both.detect(images)] == [{"person", "face"}] * 2
    assert both.notice == "drawn faces only"
    assert person.version in both.version
    assert face.version in both.version


def test_weights_that_do_not_fit(weights: Path, tmp_path: Path) -> None:
    with pytest.raises(WeightsMissing):
        HuggingFaceDetector(tmp_path / "nowhere", name="x")
    with pytest.raises(WeightsInvalid, match="neither people nor faces"):
        HuggingFaceDetector(build(tmp_path / "dogs", {0: "dog", 1: "cat"}), name="x")
    lame = tmp_path / "lame"
    shutil.copytree(weights, lame)
    tensors = load_file(lame / "model.safetensors")
    gone = next(name for name in tensors if "enc_score_head.weight" in name)
    save_file(
        {name: value for name, value in tensors.items() if name != gone}, lame / "model.safetensors", {"format": "pt"}
    )
    with pytest.raises(WeightsInvalid, match="enc_score_head"):
        HuggingFaceDetector(lame, name="x")
    (lame / "config.json").write_text(json.dumps({"model_type": "no-such", "id2label": {"0": "person"}}))
    with pytest.raises(WeightsInvalid):
        HuggingFaceDetector(lame, name="x")
    with pytest.raises(ConfigurationError, match="toaster"):
        HuggingFaceDetector(weights, name="x", device="toaster")


def test_labels_by_name() -> None:
    assert kinds_by_label({3: "human-face", 5: "Pedestrian", 0: "__background__"}, "m") == {3: "face", 5: "person"}
    with pytest.raises(WeightsInvalid, match="some folder"):
        kinds_by_label({}, "some folder")


def detections(*rows: tuple[float, float, str, float]) -> list[Detection]:
    return [Detection(Box(x, 0, x + width, 10), kind, score) for x, width, kind, score in rows]


def test_duplicates_are_dropped_within_a_kind() -> None:
    found = detections((0, 10, "person", 0.8), (1, 10, "person", 0.9), (1, 10, "face", 0.5), (5, 10, "person", 0.7))
    kept = refine(found, Thresholds(), 100, 100)
    assert [(item.kind, item.score) for item in kept] == [("person", 0.9), ("person", 0.7), ("face", 0.5)]


rows = st.lists(
    st.tuples(st.floats(-20, 120), st.floats(0, 60), st.sampled_from(["person", "face"]), st.floats(0, 1)), max_size=12
)


@given(found=rows, seed=st.randoms(use_true_random=False))
def test_refining_is_stable_and_final(found: list[tuple[float, float, str, float]], seed: Any) -> None:
    items = detections(*found)
    once = refine(items, Thresholds(), 100, 10)
    assert refine(once, Thresholds(), 100, 10) == once
    seed.shuffle(items)
    assert refine(items, Thresholds(), 100, 10) == once
    for number, item in enumerate(once):
        for other in once[:number]:
            assert item.kind != other.kind or item.box.iou(other.box) <= 0.7


def test_given_people_are_clipped_and_numbered() -> None:
    truth = Truth(30.0, Gender.MALE)
    given_boxes = [
        GivenPerson(Box(-5, -5, 50, 50), Box(700, 0, 800, 10), truth),
        GivenPerson(None, Box(900, 0, 950, 10)),
        GivenPerson(None, Box(600, 470, 650, 490)),
    ]
    first, second = given_people("ab" * 32, given_boxes, 640, 480)
    assert (first.person_id, first.body, first.face, first.truth) == ("ab" * 8 + "-00", Box(0, 0, 50, 50), None, truth)
    assert (second.person_id, second.face) == ("ab" * 8 + "-01", Box(600, 470, 640, 480))


class FakeYolo:
    """What ultralytics gives: results with tensors, one for each picture."""

    names: ClassVar[dict[int, str]] = {0: "person", 1: "face"}

    def __init__(self, path: str) -> None:
        self.path = path

    def predict(self, images: Sequence[Pixels], **options: Any) -> list[SimpleNamespace]:
        assert options["conf"] == 0.4
        return [
            SimpleNamespace(
                boxes=SimpleNamespace(
                    xyxy=torch.tensor([[0.0, 0.0, float(image[0, 0, 0]), 9.0], [1.0, 1.0, 5.0, 5.0]]),
                    cls=torch.tensor([0.0, 1.0]),
                    conf=torch.tensor([0.9, 0.6]),
                )
            )
            for image in images
        ]


@pytest.fixture
def yolo_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("YOLO_OFFLINE", "YOLO_AUTOINSTALL"):
        monkeypatch.setenv(name, "true")
    path = tmp_path / "yolo.pt"
    path.write_bytes(b"weights")
    return path


def test_yolo_results_become_detections(yolo_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ultralytics", SimpleNamespace(YOLO=FakeYolo))
    detector = YoloDetector(yolo_file, name="mivolo-yolo", trusted_sha256=file_digest(yolo_file), batch_size=2)
    image = np.zeros((10, 60, 3), np.uint8)
    image[..., 2] = 33  # blue in RGB, the first channel in BGR
    found = detector.detect([image] * 3)
    assert [[(item.kind, item.box.x1) for item in items] for items in found] == [[("person", 33.0), ("face", 5.0)]] * 3
    assert detector.version.startswith("mivolo-yolo@")


def test_yolo_without_the_extra_names_its_licence(yolo_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ultralytics", None)
    with pytest.raises(ConfigurationError, match=r"AGPL-3\.0.*pip install 'annotator\[yolo\]'"):
        YoloDetector(yolo_file, name="y", trusted_sha256=file_digest(yolo_file))


def test_a_pickle_is_loaded_only_when_it_is_trusted(yolo_file: Path) -> None:
    with pytest.raises(WeightsInvalid, match=file_digest(yolo_file)):
        YoloDetector(yolo_file, name="y", trusted_sha256=None)
    with pytest.raises(WeightsInvalid, match="not the trusted file"):
        YoloDetector(yolo_file, name="y", trusted_sha256="0" * 64)
    with pytest.raises(WeightsMissing):
        YoloDetector(yolo_file.with_name("gone.pt"), name="y", trusted_sha256=None)
