import numpy as np
import pytest
from PIL import Image

from annotator.demo.figures import draw_image
from annotator.demo.sheet import ACCEPTED, REVIEW, SheetPerson, SheetPicture, draw_sheet, write_sheet
from annotator.domain import Box, Gender, ReviewReason, Truth


def picture(index: int, *, review: bool) -> SheetPicture:
    pixels, people = draw_image(21, index)
    reasons = (ReviewReason.AGE_DISAGREEMENT,) if review else ()
    shown = [
        SheetPerson(p.body, p.face, p.age + 0.4, p.gender, review, reasons, Truth(p.age, p.gender)) for p in people
    ]
    return SheetPicture(pixels, f"{index}.jpg", tuple(shown))


def count(page: np.ndarray, color: tuple[int, int, int]) -> int:
    return int((page == np.array(color)).all(axis=2).sum())


def test_flagged_people_are_orange_and_accepted_ones_green():
    calm = draw_sheet([picture(0, review=False)], title="t")
    flagged = draw_sheet([picture(0, review=True)], title="t")
    assert count(calm, ACCEPTED) > 10 * count(calm, REVIEW)
    assert count(flagged, REVIEW) > 10 * count(flagged, ACCEPTED)


def test_rows_and_columns_hold_all_pictures():
    few = draw_sheet([picture(0, review=False)] * 3, title="t", columns=3)
    more = draw_sheet([picture(0, review=False)] * 4, title="t", columns=3)
    assert few.shape[1] == more.shape[1]
    assert more.shape[0] > few.shape[0] * 1.5


def test_people_without_anything_known_are_drawn_too():
    pixels, _ = draw_image(21, 0)
    strange = [
        SheetPerson(None, None, None, None),
        SheetPerson(Box(-5, -5, 4000, 4000), None, None, Gender.MALE, True, (ReviewReason.NO_FACE,)),
        SheetPerson(None, Box(0, 0, 3, 3), 130.0, None),
    ]
    page = draw_sheet([SheetPicture(pixels, "odd.jpg", tuple(strange))], title="t", notice="n")
    assert page.dtype == np.uint8
    assert count(page, REVIEW) > 100


def test_a_sheet_is_written_in_the_format_of_its_suffix(tmp_path):
    for name, kind in (("a.png", "PNG"), ("b.jpg", "JPEG")):
        write_sheet(tmp_path / "new" / name, [picture(0, review=False)], title="t")
        with Image.open(tmp_path / "new" / name) as page:
            assert page.format == kind


def test_an_empty_sheet_is_refused():
    with pytest.raises(ValueError, match="at least one picture"):
        draw_sheet([], title="t")
