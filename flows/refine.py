"""`urdfit train refine`: weights that learn from videos nobody labelled, by fitting the robot to their own masks.

A round: segment the videos, fit the robot, draw its silhouette in the frames whose fit can be trusted (see
`flows.refine_labels`), and train on these labels, mixed with rendered pictures so that nothing else is forgotten. The
next round begins with the better masks. It is self-training (Scudder 1965; Lee 2013, pseudo-labels), with the robot's
description as the judge of what is believed.

    DIR/refine.json               what was asked for
    DIR/rendered/                 shards of rendered pictures, unless --data gives some
    DIR/round_1/labels/*.tar      labelled frames of every video, with a .json about them
    DIR/round_1/training/         checkpoint, curves      DIR/round_1/weights.pt
    DIR/weights.pt, report.json   of the last round
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from flows.errors import FlowError, UsageError
from flows.files import atomic_path, make_folder, read_json, sha256_json, write_json
from flows.job import Job, make_job, open_source, robot_of
from flows.refine_labels import agreement, labelled_frames, trusted
from flows.run import run_stage
from flows.segmenting import segment_key
from flows.stages import fit_key
from flows.training import sole_user

ABOUT, REPORT, WEIGHTS = "refine.json", "report.json", "weights.pt"
RENDERED = 240  # pictures drawn where no shards are given
SHARE = 0.5  # of the samples are the videos' own
FEWEST = 4  # labelled frames in all: fewer are no training set
Log = Callable[[str], None]


@dataclass(frozen=True)
class RefineJob:
    """What `urdfit train refine` was asked for.

    Attributes:
        videos: files or folders of pictures. cameras: none, one for all, or one each (cam.json).
        robot: as everywhere, but not auto. weights: of the compact network, to begin with.
        rounds: how often to segment, fit and train. steps: updates in each.
        data: folders of rendered shards; photos: pictures without robots, put behind the robots.
    """

    videos: tuple[Path, ...]
    robot: str
    cameras: tuple[Path, ...] = ()
    weights: str = "default"
    rounds: int = 2
    steps: int = 300
    batch: int = 8
    data: tuple[Path, ...] = ()
    photos: tuple[Path, ...] = ()
    fps: float | None = None
    device: str = "cpu"
    seed: int = 0


def refine(job: RefineJob, out: Path, log: Log) -> dict[str, Any]:
    """Carry out the rounds, from where an interrupted run stands; returns the content of report.json.

    Raises:
        FlowError: `out` belongs to another job or is in use, or too few frames can be trusted to learn from.
        VideoError, RobotError, CameraError, WeightsError, TrainingError: unusable input.
    """
    jobs = _checked(job)
    with sole_user(out):
        _claim(job, out)
        rendered = job.data or (_render(job, out / "rendered", log),)
        weights, rounds = job.weights, []
        for number in range(1, job.rounds + 1):
            folder = make_folder(out / f"round_{number}")
            videos = [_label(replace(j, weights=weights), folder / "labels", log) for j in jobs]
            kept = sum(video["kept"] for video in videos)
            log(f"round {number}: {kept} of {sum(v['frames'] for v in videos)} frames can be trusted")
            if kept < FEWEST:
                raise FlowError(
                    f"only {kept} frames have a fit to be trusted (at least {FEWEST} are needed): "
                    f"{_reasons(videos)}; give the camera, other --weights, or more video"
                )
            _train(job, number, weights, folder, rendered, log)
            weights = str(folder / WEIGHTS)
            rounds.append({"round": number, "videos": videos, "mask_iou": _mean(videos, "mask_iou")})
        after = [_compare(replace(j, weights=weights), out / f"round_{job.rounds}" / "labels") for j in jobs]
        with atomic_path(out / WEIGHTS) as temporary:
            shutil.copyfile(weights, temporary)
        report = {"robot": job.robot, "rounds": rounds, "mask_iou_after": float(np.nanmean(after))}
        write_json(out / REPORT, report)
    return report


def _checked(job: RefineJob) -> list[Job]:
    """One job a video, every input looked at before any work.

    Raises:
        UsageError: cameras that do not belong to the videos, or a robot to be found out.
    """
    if job.robot == "auto":
        raise UsageError("--robot auto: name the robot; labels are drawn from its description")
    if len(job.cameras) not in (0, 1, len(job.videos)):
        raise UsageError(
            f"{len(job.cameras)} cameras for {len(job.videos)} videos: give none, one for all, or one each"
        )
    cameras: list[Path | None] = [None] * len(job.videos)
    if job.cameras:
        cameras = list(job.cameras * (len(job.videos) if len(job.cameras) == 1 else 1))
    _network(job.weights)
    return [
        make_job(v, job.robot, camera=c, weights=job.weights, fps=job.fps, seed=job.seed)
        for v, c in zip(job.videos, cameras)
    ]


def _claim(job: RefineJob, out: Path) -> None:
    """Make sure that the folder is this job's own.

    Raises:
        FlowError: it was begun with other settings.
    """
    settings = {key: str(value) for key, value in asdict(job).items() if key not in ("rounds", "device")}
    if (out / ABOUT).exists():
        old = read_json(out / ABOUT)
        other = [key for key in settings if not isinstance(old, dict) or old.get(key) != settings[key]]
        if other:
            raise FlowError(
                f"{out}: was begun with other {', '.join(other)}; give another folder, or the same settings"
            )
    write_json(out / ABOUT, settings)


def _render(job: RefineJob, folder: Path, log: Log) -> Path:
    from segmentation.training.assets import Sources
    from segmentation.training.data import DataSettings, make_data

    log(f"renders {RENDERED} pictures of {job.robot}")
    sources = Sources((job.robot,), tuple(job.photos))
    make_data(DataSettings(sources, RENDERED, width=480, height=360, seed=job.seed), folder)
    return folder


def _label(job: Job, folder: Path, log: Log) -> dict[str, Any]:
    """Segment, fit and label one video; what is known of it is kept beside its shard, which is written before."""
    from flows.fit_files import load_trajectory
    from segmentation import MaskFolder
    from segmentation.training.shards import write_shard

    clip = _clip(job)
    about = folder / f"{clip}.json"
    if about.exists():
        return read_json(about)
    assert job.robot is not None
    robot = robot_of(job.robot)
    masks = run_stage("segment", segment_key(job), job, (), {})
    try:
        fit = run_stage("fit", fit_key(job, masks, robot), job, (str(masks.folder),), {})
    except FlowError as error:  # no frame is explained: nothing to learn here, perhaps in the other videos
        log(str(error))
        frames = len(read_json(masks.folder / "frames.json")["time_s"])
        return {"video": job.video, "frames": frames, "kept": 0, "left_out": {"no fit": frames}, "mask_iou": None}
    trajectory = load_trajectory(fit.folder)
    trust = trusted(robot, trajectory)
    agreements: list[float] = []

    def samples():
        source = open_source(job.video, job.fps)
        for sample, iou in labelled_frames(
            robot, str(job.robot), trajectory, trust, source, MaskFolder(masks.folder / "masks"), clip
        ):
            agreements.append(iou)
            yield sample

    if trust.keep.any():
        write_shard(folder / f"{clip}.tar", samples())
    summary = {
        "video": job.video,
        "frames": len(trust.keep),
        "kept": int(trust.keep.sum()),
        "left_out": trust.left_out,
        "fit_iou": float(np.nanmedian(trajectory.iou)),
        "sigma_px": float(np.median(trust.sigma_px[trust.keep])) if trust.keep.any() else None,
        "mask_iou": float(np.mean(agreements)) if agreements else None,
        "warnings": list(trajectory.warnings),
    }
    write_json(about, summary)
    return summary


def _clip(job: Job) -> str:
    """A name for the frames of a video: its own, and what tells it from another of that name."""
    stem = re.sub(r"[^A-Za-z0-9]+", "-", Path(job.video).stem).strip("-")[:40] or "video"
    return f"{stem}-{sha256_json(job.video)[:8]}"


def _train(job: RefineJob, number: int, start: str, folder: Path, rendered: tuple[Path, ...], log: Log) -> None:
    """Train from weights `start` to folder/weights.pt, unless they are there."""
    from segmentation.training.assets import load_photos
    from segmentation.training.compact_task import CompactSettings, CompactTask
    from segmentation.training.export import save_weights
    from segmentation.training.loop import LoopSettings, fit
    from segmentation.training.shards import ShardSet

    if (folder / WEIGHTS).exists():
        return
    settings = CompactSettings(batch=job.batch, rate=3e-4, encoder_rate=1e-4, warmup=20, seed=job.seed + number)
    sets = [ShardSet(folder / "labels"), ShardSet(list(rendered))]
    photos: Any = load_photos(job.photos)
    task = CompactTask(sets, photos, settings, _network(start), (SHARE, 1 - SHARE), job.device)
    loop = LoopSettings(job.steps, average=0.98, seed=job.seed + number)
    network = fit(task, folder / "training", loop, log, asdict(settings) | {"pictures": sum(map(len, sets))})
    save_weights(network, folder / WEIGHTS, half=True)


def _network(weights: str) -> Any:
    """The compact network with these weights, ready to be trained on.

    Raises:
        WeightsError: weights of another network, or none.
    """
    from segmentation.network import RobotNet
    from segmentation.robotseg.recognise import check, shapes
    from segmentation.weights_store import find, read_weights

    network = RobotNet()
    state = read_weights(find(weights))
    check(state, "default", shapes(network.state_dict()))
    network.load_state_dict({key: value.float() for key, value in state.items()}, strict=False)
    return network


def _compare(job: Job, labels: Path) -> float:
    """Mean IoU of these weights' masks with the last labels of a video; NaN where it has none."""
    from segmentation import MaskFolder
    from segmentation.training.shards import ShardSet, decode

    shard = labels / f"{_clip(job)}.tar"
    if not shard.exists():
        return float("nan")
    masks = MaskFolder(run_stage("segment", segment_key(job), job, (), {}).folder / "masks")
    samples = ShardSet(shard.parent)
    mine = (s for s in (samples[i] for i in range(len(samples))) if s.clip == _clip(job))
    return float(np.mean([agreement(decode(s)[1], masks[s.frame]["robot"]) for s in mine]))


def _reasons(videos: list[dict[str, Any]]) -> str:
    counts: dict[str, int] = {}
    for video in videos:
        for reason, count in video["left_out"].items():
            counts[reason] = counts.get(reason, 0) + count
    return ", ".join(f"{reason} {count}" for reason, count in counts.items())


def _mean(videos: list[dict[str, Any]], key: str) -> float | None:
    values = [v[key] for v in videos if v.get(key) is not None]
    return float(np.mean(values)) if values else None
