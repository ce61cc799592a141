"""YuNet by OpenCV, with a network of the same outputs that takes bright squares for faces (tests/data/yunet)."""

from pathlib import Path

import numpy as np
import pytest

from annotator.detection.suppress import Thresholds
from annotator.detection.yunet import YunetDetector
from annotator.errors import WeightsInvalid, WeightsMissing
from annotator.predictors.registry import open_detector
from annotator.settings import Settings

BRIGHT = Path(__file__).parents[2] / "data" / "yunet" / "bright.onnx"


@pytest.fixture(scope="module")
def detector():
    return YunetDetector(BRIGHT, name="bright", notice="squares only")


def picture(height, width, *squares):
    """Black, with white squares of 64 pixels at (left, top)."""
    image = np.zeros((height, width, 3), np.uint8)
    for left, top in squares:
        image[top : top + 64, left : left + 64] = 255
    return image


def corners(found):
    return [[round(value) for value in item.box.as_tuple()] for item in found]


def test_faces_are_found_where_they_are(detector):
    found = detector.detect([picture(300, 400, (96, 64), (256, 192)), picture(50, 50), picture(256, 256, (32, 96))])
    assert sorted(corners(found[0])) == [[96, 64, 160, 128], [256, 192, 320, 256]]
    assert found[1] == []
    assert corners(found[2]) == [[32, 96, 96, 160]]
    assert {item.kind for one in found for item in one} == {"face"}
    assert found[2][0].score == pytest.approx(1)


def test_boxes_are_in_pixels_of_the_picture_at_every_size(detector):
    large = np.kron(picture(600, 640, (64, 128)), np.ones((4, 4, 1), np.uint8))
    assert corners(detector.detect([large])[0])[0] == [256, 512, 512, 768]


def test_a_face_too_large_for_the_first_look_is_found_by_the_second(detector):
    portrait = np.zeros((640, 640, 3), np.uint8)
    portrait[128:256, 128:256] = 255
    found = detector.detect([portrait])[0]
    assert [128, 128, 256, 256] in corners(found)


@pytest.mark.parametrize("shape", [(1, 1), (1, 3000), (3000, 1), (641, 639)])
def test_pictures_of_any_shape_pass(detector, shape):
    assert isinstance(detector.detect([np.full((*shape, 3), 7, np.uint8)])[0], list)


def test_views_and_read_only_pictures_pass(detector):
    read_only = picture(200, 200, (64, 64))
    read_only.flags.writeable = False
    assert corners(detector.detect([read_only[:, ::-1]])[0])


def test_the_threshold_is_part_of_the_version(detector):
    strict = YunetDetector(BRIGHT, name="bright", thresholds=Thresholds(face=0.99))
    grey = picture(200, 200, (64, 64)) // 2
    assert detector.detect([grey])[0]
    assert not strict.detect([grey])[0]
    assert strict.version == detector.version.replace("f0.4", "f0.99")


def test_the_registry_reads_it_by_family(tmp_path, detector):
    lazy = open_detector(f"demo-detector+yunet:{BRIGHT}", Settings(models_dir=tmp_path, device="cpu"))
    assert lazy.get().version == lazy.version
    assert lazy.name == "demo-detector+bright"
    assert [96, 64, 160, 128] in corners(lazy.get().detect([picture(300, 400, (96, 64))])[0])


def test_what_is_no_network_is_refused(tmp_path):
    with pytest.raises(WeightsMissing, match="there is no file"):
        YunetDetector(tmp_path / "none.onnx", name="x")
    (tmp_path / "broken.onnx").write_bytes(b"nothing of the kind")
    with pytest.raises(WeightsInvalid, match="no YuNet model that OpenCV reads"):
        YunetDetector(tmp_path / "broken.onnx", name="x")
