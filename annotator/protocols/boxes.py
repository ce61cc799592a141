"""Boxes that follow from an image's size, for data sets that come as face crops (the reference's preparation tools)."""

from __future__ import annotations

from dataclasses import dataclass

from annotator.domain import Box


@dataclass(frozen=True, slots=True)
class BoxRule:
    """A face box inside a margin, and the whole image as the body box where ``whole_body``.

    The margin is ``pixels``, or ``share`` of the width and of the height, truncated to whole pixels.
    """

    pixels: int = 0
    share: float = 0.0
    whole_body: bool = False

    def face(self, width: int, height: int) -> Box:
        """The face on an image of that size.

        >>> BoxRule(pixels=125).face(448, 448).as_tuple(), BoxRule(share=0.2).face(250, 249).as_tuple()
        ((125, 125, 323, 323), (50, 49, 200, 200))
        """
        x, y = self.pixels + int(self.share * width), self.pixels + int(self.share * height)
        return Box(x, y, width - x, height - y)

    def body(self, width: int, height: int) -> Box | None:
        """The body on an image of that size."""
        return Box(0, 0, width, height) if self.whole_body else None


FAIRFACE = BoxRule(pixels=125)
"""FairFace's images with margin 125 are 448 pixels wide and high."""

ADIENCE = BoxRule()
"""Adience's coarse crops are faces as a whole."""

CACD = BoxRule(share=0.2, whole_body=True)
AGEDB = BoxRule(share=0.1, whole_body=True)
