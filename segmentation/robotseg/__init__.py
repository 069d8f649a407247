"""RobotSeg (arXiv 2511.22950) and SAM 2 as video predictors, on top of the sam2 package, which is optional."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from segmentation.robotseg.behaviour import FAITHFUL, MENDED, Behaviour
    from segmentation.robotseg.build import build_robotseg, build_sam2
    from segmentation.robotseg.predictor import RobotSegPredictor

__all__ = ["FAITHFUL", "MENDED", "Behaviour", "RobotSegPredictor", "build_robotseg", "build_sam2"]
_HOME = {
    "FAITHFUL": "behaviour",
    "MENDED": "behaviour",
    "Behaviour": "behaviour",
    "RobotSegPredictor": "predictor",
    "build_robotseg": "build",
    "build_sam2": "build",
}


def __getattr__(name: str) -> Any:
    """Load on first use: sam2 is slow to import, and may not be there.

    Raises:
        ImportError: a package of the extra `robotseg` is missing; says what to install.
    """
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import importlib

    try:
        return getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)
    except ModuleNotFoundError as error:
        if error.name and error.name.split(".")[0] in ("sam2", "hydra", "omegaconf", "iopath"):
            raise ImportError(
                f"RobotSeg needs the package {error.name}, which is not installed: "
                'pip install "urdfit[robotseg]", then SAM2_BUILD_CUDA=0 pip install --no-deps --no-build-isolation '
                "sam2==1.1.0"
            ) from None
        raise
