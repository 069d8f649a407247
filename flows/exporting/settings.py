"""What to export and how, and what becomes of an episode."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from flows.errors import UsageError
from flows.exporting.action_extraction import ExtractionSettings
from flows.exporting.action_quality import QualityLimits
from flows.exporting.features import SPACES

KEPT, DROPPED, KNOWN, FAILED = "kept", "dropped", "already there", "failed"


@dataclass(frozen=True)
class ExportSettings:
    """What to export and how.

    Attributes:
        space: joint or ee, see `flows.exporting.features`.
        binary_gripper: in ee actions the gripper's state, 0 or 1, in the place of its opening.
        cam: name of the camera. size: (width, height) of pictures, None = the first recording's.
        images, masks: whether to write them.
        task: what the robot does, in words; None takes the episode's own.
        keep_all: also what the judgement drops, as long as it has segments.
        append: to a data set that is there.
        videos: folder where recordings lie that are no longer where they were.
    """

    space: str = "joint"
    binary_gripper: bool = False
    cam: str = "camera"
    size: tuple[int, int] | None = None
    images: bool = True
    masks: bool = True
    task: str | None = None
    keep_all: bool = False
    append: bool = False
    videos: Path | None = None
    extraction: ExtractionSettings = field(default_factory=ExtractionSettings)
    limits: QualityLimits = field(default_factory=QualityLimits)

    def __post_init__(self) -> None:
        if self.space not in SPACES:
            raise UsageError(f"--space {self.space}: expected {' or '.join(SPACES)}")
        if self.binary_gripper and self.space != "ee":
            raise UsageError("--binary-gripper: only for --space ee; joint actions are targets")
        if not self.cam.isidentifier():
            raise UsageError(f"--cam {self.cam!r}: expected a name of letters, digits and underscores")


@dataclass(frozen=True)
class Outcome:
    """What became of an episode: kept, dropped, already there or failed, with the reason; its score and rows."""

    folder: Path
    state: str
    reason: str = ""
    score: float = float("nan")
    rows: int = 0
