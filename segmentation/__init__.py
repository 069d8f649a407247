"""Masks of robots in video: readers, mask folders, the built-in segmenter, metrics."""

from typing import TYPE_CHECKING, Any

from segmentation.errors import MaskError, PromptError, VideoError, WeightsError
from segmentation.frames import Frames, open_frames
from segmentation.masks import MaskFolder, write_mask
from segmentation.metrics import boundary_f, jaccard
from segmentation.prompts import Prompt, parse_prompts
from segmentation.segmenter import Segmenter, load_segmenter
from segmentation.video import Frame, VideoReader, open_video

if TYPE_CHECKING:
    from segmentation.robotseg import RobotSegPredictor, build_robotseg

__all__ = [
    "Frame",
    "Frames",
    "MaskError",
    "MaskFolder",
    "Prompt",
    "PromptError",
    "RobotSegPredictor",
    "Segmenter",
    "VideoError",
    "VideoReader",
    "WeightsError",
    "boundary_f",
    "build_robotseg",
    "jaccard",
    "load_segmenter",
    "open_frames",
    "open_video",
    "parse_prompts",
    "write_mask",
]


def __getattr__(name: str) -> Any:
    """RobotSeg needs the optional package sam2; see `segmentation.robotseg`."""
    if name in ("RobotSegPredictor", "build_robotseg"):
        import segmentation.robotseg

        return getattr(segmentation.robotseg, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
