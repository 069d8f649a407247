"""A twin as a Prefect flow: a task a stage (and a camera), with retries and results kept across runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from flows.prefect_flow import _OPTIONS as TASK_OPTIONS
from flows.store import Product, open_product
from flows.twin_job import TwinJob, make_twin_job
from flows.twin_run import check_scene_out, run_twin, run_twin_stage

from prefect import flow, task  # isort: skip  (flows.prefect_flow sets Prefect's environment)


def _work(stage: str, key: str, job: TwinJob, folders: tuple[str, ...], seconds: dict[str, float]) -> str:
    return str(run_twin_stage(stage, key, job, folders, seconds).folder)


@task(name="twin", task_run_name="twin-{stage}", **TASK_OPTIONS)
def run_stage(stage: str, key: str, job: TwinJob, folders: tuple[str, ...], seconds: dict[str, float]) -> str:
    """One stage: segment (of one camera), place, fuse, objects or scene."""
    return _work(stage, key, job, folders, seconds)


def _run_task(stage: str, key: str, job: TwinJob, folders: tuple[str, ...], seconds: dict[str, float]) -> Product:
    """Run a stage as a task; what Prefect remembers counts only while the files are there and undamaged."""
    product = open_product(run_stage(stage, key, job, folders, seconds))
    if product is None:
        product = open_product(run_stage.with_options(refresh_cache=True)(stage, key, job, folders, seconds))
    assert product is not None
    return product


@flow(name="urdfit-twin", flow_run_name="{rig}", validate_parameters=False)
def build_twin(rig: str | Path, robot: str | Path | None, out: str | Path, **options: Any) -> Path:
    """From a rig to a scene folder, which is returned; options as in `flows.twin_job.TwinJob`."""
    check_scene_out(out)
    return run_twin(make_twin_job(rig, robot, **options), out, _run_task)
