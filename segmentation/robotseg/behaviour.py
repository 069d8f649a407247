"""What the original RobotSeg does that one may want otherwise."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Behaviour:
    """The defaults are the original's, which released weights were trained with.

    Attributes:
        edges: "canny" (the original where kornia is installed) or "sobel" (where it is not).
        edges_of_normalised: look for edges in the normalised picture and divide it by 255 when one value exceeds 1.5,
            which nearly switches the edges off on any frame with a bright pixel. False: in the RGB picture.
        binary_first_memory: the memory of an automatic or clicked frame is made of its mask cut at 0, as users see it.
            False: automatic frames remember probabilities, like all tracked ones.
        time_by_length: in videos shorter than 16 frames the time of object pointers is counted in parts of the video.
        random_start: the prompt generator starts its search at a random token; False makes runs repeatable.
        fill_holes: holes of at most so many pixels in the 256x256 mask are filled (the original: 8 with its CUDA
            extension, else 0).
        keep_corrections: a prompted frame that is corrected after tracking stays corrected. False: the correction is
            shown, but tracking goes on from the mask before it.
    """

    edges: str = "canny"
    edges_of_normalised: bool = True
    binary_first_memory: bool = True
    time_by_length: bool = True
    random_start: bool = True
    fill_holes: int = 0
    keep_corrections: bool = False


FAITHFUL = Behaviour()
MENDED = Behaviour(
    edges_of_normalised=False,
    binary_first_memory=False,
    time_by_length=False,
    random_start=False,
    keep_corrections=True,
)
