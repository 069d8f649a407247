"""The main job as a Prefect flow of four tasks (five with `--robot auto`), with retries and results kept across runs.

Works offline on Prefect's embedded SQLite. A task's cache key is the hash of what its result depends on; its
result is only the folder in the store where the files are, so that nothing large passes through Prefect.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from flows.errors import user_errors
from flows.files import cache_folder, sha256_json
from flows.job import Job, make_job
from flows.run import check_out, run_job, run_stage
from flows.store import Product, open_product

os.environ.setdefault("DO_NOT_TRACK", "1")
os.environ.setdefault("PREFECT_SERVER_ANALYTICS_ENABLED", "false")
# a slow machine needs more than Prefect's 20 s to start the embedded server
os.environ.setdefault("PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS", "120")
os.environ.setdefault("PREFECT_LOCAL_STORAGE_PATH", str(cache_folder() / "prefect-results"))

from prefect import flow, task
from prefect.context import TaskRunContext

RETRIES = 2


def _cache_key(context: TaskRunContext, parameters: dict[str, Any]) -> str:
    """The stage, the hash of what goes in (the code's version included), and which store holds the files."""
    store = sha256_json(str(cache_folder().absolute()))[:8]
    return f"urdfit-{parameters['stage']}-{parameters['key']}-{store}"


def _worth_retrying(task: Any, run: Any, state: Any) -> bool:
    """A wrong input stays wrong: only errors of the machine (memory, disk) are tried again."""
    try:
        state.result()
    except user_errors():
        return False
    except Exception:
        return True
    return True


_OPTIONS: dict[str, Any] = {
    "cache_key_fn": _cache_key,
    "persist_result": True,
    "retries": RETRIES,
    "retry_delay_seconds": 1,
    "retry_condition_fn": _worth_retrying,
}


def _work(stage: str, key: str, job: Job, folders: tuple[str, ...], seconds: dict[str, float]) -> str:
    return str(run_stage(stage, key, job, folders, seconds).folder)


@task(name="segment", **_OPTIONS)
def segment(stage: str, key: str, job: Job, folders: tuple[str, ...], seconds: dict[str, float]) -> str:
    """Masks of every frame."""
    return _work(stage, key, job, folders, seconds)


@task(name="identify", **_OPTIONS)
def identify(stage: str, key: str, job: Job, folders: tuple[str, ...], seconds: dict[str, float]) -> str:
    """Which robot it is."""
    return _work(stage, key, job, folders, seconds)


@task(name="fit", **_OPTIONS)
def fit(stage: str, key: str, job: Job, folders: tuple[str, ...], seconds: dict[str, float]) -> str:
    """Camera and joints from the masks."""
    return _work(stage, key, job, folders, seconds)


@task(name="actions", **_OPTIONS)
def actions(stage: str, key: str, job: Job, folders: tuple[str, ...], seconds: dict[str, float]) -> str:
    """End-effector poses, gripper and actions."""
    return _work(stage, key, job, folders, seconds)


@task(name="report", **_OPTIONS)
def report(stage: str, key: str, job: Job, folders: tuple[str, ...], seconds: dict[str, float]) -> str:
    """Overlay video, HTML report, Rerun recording."""
    return _work(stage, key, job, folders, seconds)


TASKS = {"segment": segment, "identify": identify, "fit": fit, "actions": actions, "report": report}


def _run_task(stage: str, key: str, job: Job, folders: tuple[str, ...], seconds: dict[str, float]) -> Product:
    """Run a stage as a task; what Prefect remembers counts only while the files are there and undamaged."""
    run = TASKS[stage]
    product = open_product(run(stage, key, job, folders, seconds))
    if product is None:
        product = open_product(run.with_options(refresh_cache=True)(stage, key, job, folders, seconds))
    assert product is not None
    return product


@flow(name="urdfit-episode", flow_run_name="{video}", validate_parameters=False)
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
    return run_job(job, out, _run_task)
