"""The main job without Prefect: segment, fit, actions, report, each from the store where nothing changed."""

from __future__ import annotations

import errno
import os
import secrets
import shutil
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

from flows.episode import episode_json, load_episode
from flows.errors import FlowError
from flows.files import atomic_folder, make_folder, write_json
from flows.identification import AUTO, identify_key, identify_stage, load_identification
from flows.job import Job, make_job, robot_of
from flows.segmenting import segment_key, segment_stage
from flows.stages import (
    actions_key,
    actions_stage,
    copy_products,
    fit_key,
    fit_stage,
    report_key,
    report_stage,
)
from flows.store import MANIFEST, Product, keep, open_product, product_folder, prune


class Runner(Protocol):
    """How a stage is carried out: here plainly, in `flows.prefect_flow` as a task."""

    def __call__(
        self, stage: str, key: str, job: Job, folders: tuple[str, ...], seconds: dict[str, float]
    ) -> Product: ...


def run_stage(stage: str, key: str, job: Job, folders: tuple[str, ...], seconds: dict[str, float]) -> Product:
    """Carry out one stage, or take its product from the store.

    Args:
        stage: segment, identify, fit, actions or report.
        key: hash of all its result depends on.
        folders: the folders of the stages before it.
        seconds: of the stages before it, for the report.
    """
    inputs = [Path(folder) for folder in folders]
    work: dict[str, Callable[[Path], None]] = {
        "segment": lambda out: segment_stage(job, out),
        "identify": lambda out: identify_stage(job, inputs[0], out),
        "fit": lambda out: fit_stage(job, inputs[0], out),
        "actions": lambda out: actions_stage(job, inputs[0], inputs[1], out),
        "report": lambda out: report_stage(job, inputs[0], inputs[2], out, seconds),
    }
    return keep(stage, key, work[stage])


class NotStored(Exception):
    """A stage would have to be carried out."""


def stored_stage(stage: str, key: str, job: Job, folders: tuple[str, ...], seconds: dict[str, float]) -> Product:
    """The product of a stage that an earlier run left in the store.

    Raises:
        NotStored: there is none.
    """
    product = open_product(product_folder(stage, key))
    if product is None:
        raise NotStored(stage)
    return product


def run_job(job: Job, out: str | Path, runner: Runner = run_stage, *, report: bool = True) -> Path:
    """Run the stages of a job and put the episode folder at `out`; returns `out`.

    Raises:
        FlowError: `out` cannot be used, and whatever the stages raise.
    """
    out = check_out(out)
    assert job.robot is not None
    seconds: dict[str, float] = {}

    def run(stage: str, key: str, *before: Product) -> Product:
        product = runner(stage, key, job, tuple(str(p.folder) for p in before), dict(seconds))
        seconds[stage] = product.seconds
        return product

    masks = run("segment", segment_key(job))
    if job.robot == AUTO:
        found = load_identification(run("identify", identify_key(job, masks), masks).folder)
        job = replace(job, robot=found["robot"], identification=found)
    robot = robot_of(str(job.robot))
    fit = run("fit", fit_key(job, masks, robot), masks)
    actions = run("actions", actions_key(job, masks, fit, robot), masks, fit)
    products = [masks, actions]
    if report:
        products.append(run("report", report_key(job, masks, actions), masks, fit, actions))
    publish([p.folder for p in products], out, seconds)
    prune()
    return out


def check_out(out: str | Path) -> Path:
    """The absolute output folder, once it is clear that writing an episode there harms nothing.

    Raises:
        FlowError: it is a file, holds other files than an episode, or its parent cannot be written to.
    """
    out = Path(out).absolute()
    if out.exists():
        if not out.is_dir():
            raise FlowError(f"{out}: is a file; give a folder for the episode")
        if not (out / "episode.json").exists() and any(out.iterdir()):
            raise FlowError(f"{out}: holds other files and no episode; give a new or an empty folder")
    check_writable(out)
    return out


def check_writable(out: Path) -> None:
    """Can a folder be written?

    Raises:
        FlowError: its nearest parent that exists is a file, or not writable.
    """
    parent = out
    while not parent.exists():
        parent = parent.parent
    if not parent.is_dir() or not os.access(parent, os.W_OK):
        raise FlowError(f"{out}: cannot be written ({parent} is {'not writable' if parent.is_dir() else 'a file'})")


def publish(folders: list[Path], out: Path, seconds: dict[str, float]) -> None:
    """Put an episode folder together beside `out` and swap it in; other files of an older one stay."""
    try:
        with atomic_folder(out) as temporary:
            _fill(folders, temporary, seconds)
            if out.is_dir():
                for entry in out.iterdir():
                    if entry.name not in EPISODE_FILES and not (temporary / entry.name).exists():
                        keep_entry(entry, temporary / entry.name)
    except (OSError, FlowError) as error:
        cause = error if isinstance(error, OSError) else error.__cause__
        if isinstance(cause, OSError) and cause.errno == errno.ENOSPC:
            raise
        if not out.is_dir():
            raise
        _publish_in_place(folders, out, seconds)  # a mount point cannot be swapped


EPISODE_FILES = ("masks", "trajectory.parquet", "overlay.mp4", "report.html", "scene.rrd", "episode.json")


def _fill(folders: list[Path], target: Path, seconds: dict[str, float]) -> None:
    copy_products(folders, target)
    episode = replace(load_episode(target), seconds=seconds)
    write_json(target / "episode.json", episode_json(episode))


def keep_entry(entry: Path, target: Path) -> None:
    """Link (or copy, where links do not work) a file or folder that is none of ours into the new folder."""

    def link(source: Any, destination: Any) -> None:
        try:
            os.link(source, destination)
        except OSError:
            shutil.copy2(source, destination)

    if entry.is_dir() and not entry.is_symlink():
        shutil.copytree(entry, target, copy_function=link, symlinks=True)
    else:
        link(entry, target)


def _publish_in_place(folders: list[Path], out: Path, seconds: dict[str, float]) -> None:
    """Within `out` itself: `episode.json` goes first and comes last, so that nothing half-new looks whole."""
    temporary = make_folder(out / f".{secrets.token_hex(4)}.tmp")
    try:
        _fill(folders, temporary, seconds)
        (out / "episode.json").unlink(missing_ok=True)
        for name in EPISODE_FILES:
            old, new = out / name, temporary / name
            if old.is_dir():
                os.rename(old, temporary / f"{name}.old")
            if new.exists():
                os.replace(new, old)
            elif old.exists():
                old.unlink()
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def run_episode(
    video: str | Path,
    robot: str | Path,
    out: str | Path,
    *,
    camera: str | Path | dict[str, Any] | None = None,
    weights: str = "default",
    prompts: Iterable[tuple[str, str]] = (),
    masks: str | Path | None = None,
    joints: str | Path | None = None,
    solve: str | list[str] | None = None,
    fps: float | None = None,
    seed: int = 0,
    edges: bool = True,
    depth: str | Path | None = None,
    depth_scale: float = 0.001,
) -> Path:
    """From a video of a robot to an episode folder, which is returned; arguments as in `flows.job.Job`."""
    check_out(out)
    job = make_job(
        video,
        robot,
        camera=camera,
        weights=weights,
        prompts=prompts,
        masks=masks,
        joints=joints,
        solve=solve,
        fps=fps,
        seed=seed,
        edges=edges,
        depth=depth,
        depth_scale=depth_scale,
    )
    return run_job(job, out)


__all__ = ["MANIFEST", "open_product", "product_folder", "run_episode", "run_job"]
