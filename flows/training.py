"""Training a segmenter on whatever data there are; the folder of a run, and what it leaves there.

RUN/training.json   what was asked for      RUN/checkpoint.pt   where it stands
RUN/tensorboard/    curves and pictures     RUN/weights.pt      at the end, for `urdfit weights add`
"""

from __future__ import annotations

import fcntl
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from flows.errors import FlowError
from flows.files import make_folder, write_json

NETWORKS = ("compact", "robotseg")
STEPS = 10_000  # of the compact network
ROUNDS = 25  # through all data, for RobotSeg
WEIGHTS, ABOUT = "weights.pt", "training.json"
Log = Callable[[str], None]


@dataclass(frozen=True)
class TrainingJob:
    """What `urdfit train segmenter` was asked for.

    Attributes:
        network: compact or robotseg.
        data: folders, see `segmentation.training.readers.open_sources`. names: list of videos of VRS or RoboEngine.
        photos: pictures without robots that the compact network's robots are put in front of.
        start_from: weights to begin with. steps: None = the network's usual number.
        batch, width, height: None = the network's usual. accumulate: batches per update of the weights.
        features: folder of a vision transformer for RobotSeg's patch loss; None = its own encoder.
        tune: go on in small steps with `segmentation.training.tuning`. hdris: its panoramas. without: its share of
            samples without a robot. mix: weights and their share in the file in the end.
        shares: how often the compact network's samples come from each of `data`; empty = as many as it has pictures.
    """

    network: str
    data: tuple[Path, ...]
    names: Path | None = None
    photos: tuple[Path, ...] = ()
    start_from: str | None = None
    steps: int | None = None
    batch: int | None = None
    accumulate: int = 1
    width: int | None = None
    height: int | None = None
    features: Path | None = None
    device: str = "cpu"
    seed: int = 0
    shares: tuple[float, ...] = ()
    tune: bool = False
    hdris: tuple[Path, ...] = ()
    without: float = 0.3
    mix: tuple[str, float] | None = None


@dataclass(frozen=True)
class Trained:
    """The file of weights, and what the smoke test found: overlap, or the loss of the first and the last steps."""

    weights: Path
    overlap: float | None = None
    losses: tuple[float, float] | None = None


def train_segmenter(job: TrainingJob, out: Path, log: Log) -> Trained:
    """Train until the end, from where a run in `out` stands.

    Raises:
        FlowError: another run uses `out`. TrainingError, WeightsError, VideoError, MaskError: unusable data, weights,
        or an `out` of other settings.
    """
    from segmentation.training.export import save_weights
    from segmentation.training.loop import fit

    with sole_user(out):
        other = None if job.mix is None else _compact_weights(job.mix[0])  # unusable ones are found before the work
        task, loop, identity = (_compact if job.network == "compact" else _robotseg)(job, out, log)
        write_json(out / ABOUT, {"job": asdict(job), "loop": asdict(loop), "settings": identity})
        network = fit(task, out, loop, log, identity)
        if job.mix is not None and other is not None:
            _mix(network, other, job.mix[1])
        save_weights(network, out / WEIGHTS, half=job.network == "compact")
    return Trained(out / WEIGHTS)


def _compact(job: TrainingJob, out: Path, log: Log) -> tuple[Any, Any, dict[str, Any]]:
    from segmentation.network import RobotNet
    from segmentation.training.assets import load_panoramas, load_photos
    from segmentation.training.compact_task import CompactSettings, CompactTask
    from segmentation.training.loop import LoopSettings
    from segmentation.training.tuning import AVERAGE, TUNING, TuningTask

    sets, shares = [], []
    for folder, share in zip(job.data, job.shares or [None] * len(job.data)):
        found = _shard_sets(folder, job.names, out, log)
        sets += found
        pictures = max(1, sum(map(len, found)))
        shares += [float(len(s)) if share is None else share * len(s) / pictures for s in found]
    photos: Any = load_photos(job.photos)
    log(f"data: {sum(map(len, sets))} labelled pictures, {len(photos)} photos")
    usual = replace(TUNING if job.tune else CompactSettings(), seed=job.seed)
    settings = replace(
        usual, width=job.width or usual.width, height=job.height or usual.height, batch=job.batch or usual.batch
    )
    network = None
    if job.start_from is not None:
        network = RobotNet()
        network.load_state_dict(_compact_weights(job.start_from), strict=False)
    task: CompactTask
    loop = LoopSettings(job.steps or STEPS, accumulate=job.accumulate, seed=job.seed)
    if job.tune and network is not None:
        panoramas = load_panoramas(job.hdris)
        task = TuningTask(sets, photos, settings, network, shares, job.device, panoramas, job.without)
        loop = replace(loop, average=AVERAGE)
    else:
        task = CompactTask(sets, photos, settings, network, shares, job.device)
    more = {"tune": True, "without": job.without, "panoramas": len(job.hdris)} if job.tune else {}
    return task, loop, asdict(settings) | more | _data(job, [(shards.folders[0].name, len(shards)) for shards in sets])


def _compact_weights(name: str) -> dict[str, Any]:
    """The state dict of weights of the compact network, in single precision.

    Raises:
        WeightsError: not found, or of another network.
    """
    from segmentation.network import RobotNet
    from segmentation.robotseg.recognise import check, shapes

    state = _weights(name)
    check(state, "default", shapes(RobotNet().state_dict()))
    return {key: value.float() for key, value in state.items()}


def _mix(network: Any, other: dict[str, Any], share: float) -> None:
    """`share` of other weights and the rest of the network's own, put into the network."""
    state = network.state_dict()
    for key, value in state.items():
        if value.is_floating_point():
            value.lerp_(other[key].to(value), share)
    network.load_state_dict(state)


def _robotseg(job: TrainingJob, out: Path, log: Log) -> tuple[Any, Any, dict[str, Any]]:
    from segmentation.training.readers import open_sources

    sources = [source for folder in job.data for source in open_sources(folder, job.names, log)]
    for source in sources:
        log(f"data: {len(source)} {'pictures' if source.pictures else 'clips'} of parts in {source.name}")
    return robotseg_run(job, sources, log)


def robotseg_run(job: TrainingJob, sources: Sequence[Any], log: Log) -> tuple[Any, Any, dict[str, Any]]:
    """Task, loop settings and identity of a training of RobotSeg on these sources."""
    import segmentation.robotseg
    from segmentation.errors import WeightsError
    from segmentation.training.foundation import load_features
    from segmentation.training.let_batches import BatchSettings
    from segmentation.training.loop import LoopSettings

    try:
        _ = segmentation.robotseg.build_robotseg  # says what to install where sam2 is missing
    except ImportError as error:
        raise WeightsError(str(error)) from None
    from segmentation.training.robotseg_task import RobotSegSettings, RobotSegTask

    usual = BatchSettings()
    batches = replace(usual, size=job.width or usual.size, pictures=job.batch or usual.pictures)
    settings = RobotSegSettings(batches, seed=job.seed)
    if job.start_from is None:
        log("starts from random numbers: --start-from sam2.1_hiera_tiny.pt or robotseg.pt learns far faster")
    start = None if job.start_from is None else _weights(job.start_from)
    features = None if job.features is None else load_features(job.features, job.device)
    task = RobotSegTask(sources, settings, start=start, features=features, device=job.device)
    steps = job.steps or max(1, ROUNDS * task.batches.order.batches // job.accumulate)
    loop = LoopSettings(
        steps, accumulate=job.accumulate, clip=0.1, average=None, log_every=min(50, max(1, steps // 4)), seed=job.seed
    )
    return task, loop, settings.identity() | _data(job, [(Path(source.name).name, len(source)) for source in sources])


def _shard_sets(folder: Path, names: Path | None, out: Path, log: Log) -> list[Any]:
    """The shards of a folder; labelled videos and episodes are turned into some, below `out`."""
    from segmentation.training.converted import as_shards
    from segmentation.training.readers import open_sources
    from segmentation.training.shards import ShardSet
    from segmentation.training.sources import ShardSource

    sources = open_sources(folder, names, log)
    if any(isinstance(source, ShardSource) for source in sources):
        return [ShardSet(folder)]
    return [as_shards(s, out / "shards" / f"{folder.name}-{len(s)}", log) for s in sources]  # type: ignore[arg-type]


def _data(job: TrainingJob, counts: Sequence[tuple[str, int]]) -> dict[str, Any]:
    """What identifies the data and the start of a run."""
    counted = "; ".join(f"{name}: {count}" for name, count in counts)
    names = {"start_from": job.start_from, "features": job.features}
    return {"data": counted, "shares": " ".join(map(str, job.shares))} | {
        key: value and Path(value).name for key, value in names.items()
    }


def _weights(name: str) -> dict[str, Any]:
    """The state dict of a file, or of a name of `urdfit weights list`."""
    from segmentation.weights_store import find, read_weights

    return read_weights(find(name))


@contextmanager
def sole_user(out: Path) -> Iterator[None]:
    """Make the folder, and hold it against other trainings until the end, however that comes.

    Raises:
        FlowError: another one holds it.
    """
    make_folder(out)
    with open(out / ".lock", "w", encoding="ascii") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise FlowError(f"{out}: another training is at work there; wait, or give another folder") from None
        yield
