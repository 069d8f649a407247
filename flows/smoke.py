"""`urdfit train segmenter --smoke`: a training that needs no data and must succeed."""

from __future__ import annotations

from pathlib import Path

from flows.errors import FlowError
from flows.training import WEIGHTS, Log, Trained, TrainingJob, robotseg_run, sole_user

FALL = 0.8  # of the loss before is what may be left after


def smoke_test(network: str, out: Path, log: Log) -> Trained:
    """Learn eight rendered pictures by heart (compact), or take a few steps on three rendered clips (robotseg).

    A stopped test goes on where it was.

    Raises:
        FlowError: the masks overlap too little, or the loss does not fall: training is broken here.
    """
    with sole_user(out):
        return (_compact if network == "compact" else _robotseg)(out, log)


def _compact(out: Path, log: Log) -> Trained:
    from segmentation.training.export import save_weights
    from segmentation.training.loop import LoopSettings, fit
    from segmentation.training.smoke import ENOUGH, STEPS, ByHeart, smoke_pictures

    log("renders eight pictures")
    task = ByHeart(smoke_pictures())
    loop = LoopSettings(STEPS["compact"], average=0.9, save_every=20, log_every=20)
    network = fit(task, out, loop, log)
    overlap = task.overlap(network)
    if overlap <= ENOUGH:
        raise FlowError(f"eight pictures were not learnt: J {overlap:.3f}, expected more than {ENOUGH}")
    save_weights(network, out / WEIGHTS, half=True)
    return Trained(out / WEIGHTS, overlap=overlap)


def _robotseg(out: Path, log: Log) -> Trained:
    from segmentation.training.export import save_weights
    from segmentation.training.loop import fit
    from segmentation.training.smoke import SIDE, STEPS, OneBatch, smoke_clips
    from segmentation.training.sources import ShardSource

    log("renders three clips")
    clips = smoke_clips(out / "clips")
    job = TrainingJob("robotseg", (out / "clips",), steps=STEPS["robotseg"], width=SIDE)
    task, loop, identity = robotseg_run(job, [ShardSource(clips, pictures=False)], log)
    same = OneBatch(task)
    network = fit(same, out, loop, log, identity)
    first, last = same.loss_before_and_after()
    if last > FALL * first:
        raise FlowError(f"the loss does not fall: {first:.2f} before, {last:.2f} after")
    save_weights(network, out / WEIGHTS)
    return Trained(out / WEIGHTS, losses=(first, last))
