"""Masks of robots in video: readers, mask folders, the built-in segmenter, metrics."""

from segmentation.errors import MaskError, VideoError, WeightsError
from segmentation.masks import MaskFolder, write_mask
from segmentation.metrics import boundary_f, jaccard
from segmentation.segmenter import Segmenter, load_segmenter
from segmentation.video import Frame, VideoReader, open_video

__all__ = [
    "Frame",
    "MaskError",
    "MaskFolder",
    "Segmenter",
    "VideoError",
    "VideoReader",
    "WeightsError",
    "boundary_f",
    "jaccard",
    "load_segmenter",
    "open_video",
    "write_mask",
]
