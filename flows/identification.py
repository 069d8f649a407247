"""`--robot auto`: the stage that finds out which of the robots at hand a video shows.

identify   masks -> identify.json
"""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

from flows.files import read_json, sha256_json, write_json
from flows.job import Job
from flows.progress import report
from flows.store import Product, code_version
from pose.camera import Camera

AUTO = "auto"
CODE = code_version("urdf", "pose", "flows/identification.py")


def at_hand() -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Catalogue robots whose files are on this machine, and those whose files would have to be fetched."""
    from urdf import catalogue, sources

    names = catalogue.list_robots()
    absent = tuple(n for n in names if any(sources.state(source) == "absent" for source in catalogue.sources_of(n)))
    return tuple(n for n in names if n not in absent), absent


def identify_key(job: Job, masks: Product) -> str:
    """Masks, camera, seed and the robots that compete."""
    return sha256_json(
        {"code": CODE, "masks": masks.digest, "camera": job.camera, "seed": job.seed, "robots": at_hand()[0]}
    )


def identify_stage(job: Job, masks: Path, out: Path) -> None:
    """Rank the robots at hand and write `identify.json`.

    Raises:
        FitError: no usable mask, or no robot at hand.
    """
    from pose.identify import identify
    from segmentation import MaskFolder

    names, absent = at_hand()
    shapes: Any = MaskFolder(masks / "masks")
    ranking = identify(
        shapes,
        names,
        camera=None if job.camera is None else Camera.from_dict(job.camera),
        seed=job.seed,
        progress=report,
    )
    write_json(
        out / "identify.json",
        {
            "robot": ranking.best.name,
            "confident": ranking.confident,
            "explained": ranking.explained,
            "margin": ranking.margin,
            "tied": ranking.tied,
            "frames": ranking.frames,
            # without the seconds, which differ from run to run
            "candidates": [asdict(c, dict_factory=_timeless) for c in ranking.candidates],
            "failed": ranking.skipped,
            "not_fetched": absent,
            "warnings": [*ranking.warnings(), *_left_out(absent, ranking.skipped)],
        },
    )


def _timeless(items: list[tuple[str, Any]]) -> dict[str, Any]:
    return {name: value for name, value in items if name != "seconds"}


def _left_out(absent: tuple[str, ...], failed: dict[str, str]) -> list[str]:
    out = []
    if absent:
        out.append(
            f"--robot auto did not try {', '.join(absent)}, whose files are not here: "
            f"`urdfit robots fetch {absent[0] if len(absent) == 1 else '--all'}` gets them"
        )
    out += [f"--robot auto could not try {name}: {reason}" for name, reason in failed.items()]
    return out


def load_identification(folder: Path) -> dict[str, Any]:
    """What `identify_stage` wrote."""
    return read_json(folder / "identify.json", "identification")
