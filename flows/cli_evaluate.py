"""`urdfit evaluate`: masks, episodes and twins against the truth, and the segmentation benchmark."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from flows.terminal import print_table, table

if TYPE_CHECKING:
    from segmentation.scoring import Score

SHOWN = 40  # rows of single videos in the terminal; --out has them all

evaluate = typer.Typer(help="Compare results with the truth.", no_args_is_help=True)
PartsOpt = Annotated[
    list[str] | None, typer.Option("--part", help="robot, arm, gripper or all; may be given more than once.")
]


@evaluate.command("masks", epilog="Example: urdfit evaluate masks episode/masks truth_masks --out scores.csv")
def evaluate_masks_command(
    predicted: Annotated[Path, typer.Argument(metavar="PRED", help="Masks of one video, or a folder of videos.")],
    truth: Annotated[
        Path, typer.Argument(metavar="GT", help="True masks, laid out in the same way or as VRS does (mask_gt).")
    ],
    out: Annotated[
        Path | None, typer.Option("--out", "-o", metavar="FILE", help="CSV with a row a video and part.")
    ] = None,
    part: PartsOpt = None,
    missing_empty: Annotated[
        bool, typer.Option("--missing-empty", help="Frames without a predicted mask count as empty.")
    ] = False,
    by_order: Annotated[
        bool, typer.Option("--by-order", help="Match masks in natural order, not by name or number.")
    ] = False,
    skip_ends: Annotated[
        bool, typer.Option("--skip-ends", help="Leave out the first and last labelled frame, as DAVIS does.")
    ] = False,
) -> None:
    """Region overlap J and boundary F (DAVIS) of masks as fractions: per video, and over videos.

    A folder has PNGs in robot/, arm/, gripper/ or in VRS's 002/, 000/, 001/, or directly (= robot); non-zero is
    inside. The frames are those of GT, which may be sparse, matched by name or number. A frame counts from the first
    one on that shows the part in GT or PRED. The exit code is 1 if a video could not be scored.
    """
    from flows.mask_scores import score_masks, write_scores
    from flows.progress import progress_bars
    from flows.protocol_run import parts_of

    parts = parts_of(part or [])
    with progress_bars():
        scores = score_masks(
            predicted, truth, parts, missing_empty=missing_empty, by_order=by_order, skip_ends=skip_ends
        )
    if out is not None:
        write_scores(out, scores)
    show_scores(scores)


@evaluate.command(
    "protocol", epilog="Example: urdfit evaluate protocol VRS/test --weights robotseg.pt --mode 3C --part all --out 3c"
)
def evaluate_protocol_command(
    dataset: Annotated[
        Path, typer.Argument(metavar="DATASET", help="Folder with image/ and mask_gt/ (VRS) or mask/ (RoboEngine).")
    ],
    out: Annotated[
        Path, typer.Option("--out", "-o", metavar="DIR", help="Folder for masks and scores; an old run goes on there.")
    ],
    weights: Annotated[
        str, typer.Option("--weights", metavar="W", help="Segmenter: a name or a weights file.")
    ] = "default",
    mode: Annotated[
        str,
        typer.Option("--mode", help="AU none, 1C / 3C clicks, BB box, OI clicks and corrections in mid-video."),
    ] = "AU",
    part: PartsOpt = None,
    video: Annotated[
        list[str] | None, typer.Option("--video", metavar="NAME", help="Only this video; may be repeated.")
    ] = None,
    split: Annotated[str, typer.Option("--split", help="Sub-folder to look in where DATASET has no image/.")] = "test",
    guided: Annotated[
        bool | None,
        typer.Option("--guided/--no-guided", help="Draw outlines to edges of the picture. Default: for VRS only."),
    ] = None,
    device: Annotated[str, typer.Option("--device", help="cpu or cuda.")] = "cpu",
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress bars and no summary.")] = False,
) -> None:
    """The RobotSeg benchmark: prompt every video as the mode says, propagate, score.

    Prompts are made from the truth on the first frame that shows the part. Writes masks, results_<part>.csv and a
    file a video to DIR; a run that was stopped goes on where it was. A video that fails does not stop the others;
    the exit code is 1 then.
    """
    from flows.errors import UsageError
    from flows.progress import progress_bars
    from flows.protocol_run import parts_of, run_protocol
    from flows.protocol_weights import find_weights
    from segmentation.protocol import MODES, Prompting

    if mode.upper() not in MODES:
        raise UsageError(f"--mode {mode}: expected {', '.join(MODES)}")
    parts = parts_of(part or ["robot"])
    found = find_weights(weights, device)
    found.check(mode.upper())
    with progress_bars(quiet):
        result = run_protocol(
            dataset, out, found.load, found.identity, prompting=Prompting(mode.upper()), parts=parts, guided=guided,
            names=video or (), split=split,
        )  # fmt: skip
    if not quiet:
        speed = f" at {result.frames / result.seconds:.2f} frames/s" if result.seconds else ""
        filtered = ", outlines filtered (--no-guided leaves them)" if result.guided else ""
        taken = f", {result.reused} videos from an earlier run" if result.reused else ""
        typer.echo(
            f"{mode.upper()} with {found.identity['name']}: {result.frames} frames propagated{speed},"
            f" prompts {result.prompt_seconds:.1f} s{filtered}{taken}"
        )
        typer.echo(f"results: {out}")
    show_scores(result.scores, quiet)


@evaluate.command("pose", epilog="Example: urdfit evaluate pose episode truth.json")
def evaluate_pose_command(
    episode: Annotated[Path, typer.Argument(metavar="EPISODE", help="Episode folder.")],
    truth: Annotated[Path, typer.Argument(metavar="TRUTH", help="truth.json.")],
) -> None:
    """Errors of joints, camera, gripper and end effector."""
    from flows.demo import pose_rows
    from flows.episode import load_episode
    from flows.evaluation import evaluate_pose, load_truth

    rows = table("quantity", "value")
    for row in pose_rows(evaluate_pose(load_episode(episode), *load_truth(truth))):
        rows.add_row(*row)
    print_table(rows)


@evaluate.command("twin", epilog="Example: urdfit evaluate twin scene truth --out errors.json")
def evaluate_twin_command(
    scene: Annotated[Path, typer.Argument(metavar="SCENE", help="Scene folder, as urdfit twin writes it.")],
    truth: Annotated[Path, typer.Argument(metavar="TRUTH", help="Scene folder of the truth.")],
    out: Annotated[Path | None, typer.Option("--out", "-o", metavar="FILE", help="JSON with all figures.")] = None,
    region: Annotated[
        str | None,
        typer.Option("--region", metavar="X0,Y0,Z0,X1,Y1,Z1", help="Only this box, metres. Default: the truth's."),
    ] = None,
) -> None:
    """Errors of surface, objects and cameras. Only what some camera saw at some time is asked for."""
    from flows.twin_scores import evaluate_twin, twin_rows, write_twin_errors

    errors = evaluate_twin(scene, truth, region)
    if out is not None:
        write_twin_errors(out, errors)
    rows = table("quantity", "value")
    for row in twin_rows(errors):
        rows.add_row(*row)
    print_table(rows)


def show_scores(scores: list[Score], quiet: bool = False) -> None:
    """A table of scores, and a line on stderr for every video that could not be scored; exit code 1 for such."""
    from rich.markup import escape

    from flows.mask_scores import FAILED
    from segmentation.scoring import GLOBAL

    failed = [s for s in scores if s.note.startswith(FAILED)]
    single = [s for s in scores if s.video != GLOBAL and s not in failed]
    means = [s for s in scores if s.video == GLOBAL]
    one_video = len({s.video for s in scores if s.video != GLOBAL}) == 1
    if not quiet and (single or not failed):
        rows = table("video", "part", "frames", "J", "F", "J&F", "")
        for s in single[:SHOWN]:
            rows.add_row(escape(s.video), s.part, str(s.frames), *_figures(s), escape(s.note))
        if len(single) > SHOWN:
            rows.add_row(f"... {len(single) - SHOWN} more")
        rows.add_section()
        shown = {s.part for s in single}
        for s in (m for m in means if not one_video or m.part not in shown):
            rows.add_row(f"mean of {s.videos} videos", s.part, str(s.frames), *_figures(s), s.note)
        print_table(rows)
    for s in failed:
        typer.echo("urdfit: error: " + " ".join(f"{s.video}, {s.part}: {s.note}".split()), err=True)
    if failed:
        raise typer.Exit(1)


def _figures(score: Score) -> list[str]:
    return ["-" if math.isnan(v) else f"{v:.3f}" for v in (score.jaccard, score.boundary, score.both)]
