"""Command line of the training engine.

    python -m segmentation.training render --photos DIR --textures DIR --hdris DIR --objects DIR \\
        --robot panda=4 --robot my.urdf --out SHARDS --count 400
    python -m segmentation.training label --pictures DIR --link panda_link8 --cameras cam0 cam1 --out SHARDS
    python -m segmentation.training train --shards SHARDS --photos DIR --out RUN --minutes 60
    python -m segmentation.training mount --arm arm.urdf --tool gripper.urdf --flange tool0 --out both.urdf
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import torch


def main() -> None:
    """Entry point; `--help` lists the options."""
    parser = argparse.ArgumentParser(prog="python -m segmentation.training", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)  # fmt: skip
    commands = parser.add_subparsers(dest="command", required=True)
    render = commands.add_parser("render", help="render shards of labelled pictures")
    train = commands.add_parser("train", help="train on shards, also while they are being rendered")
    mount = commands.add_parser("mount", help="put another gripper on an arm")
    for command in (render, train):
        command.add_argument("--photos", type=Path, nargs="*", default=[], help="folders of photos without robots")
        command.add_argument("--out", type=Path, required=True)
        command.add_argument("--seed", type=int, default=0)
    render.add_argument("--textures", type=Path, nargs="*", default=[], help="folders of material photos")
    render.add_argument("--hdris", type=Path, nargs="*", default=[], help="folders of .exr or .hdr panoramas")
    render.add_argument("--objects", type=Path, nargs="*", default=[], help="folders of object meshes")
    render.add_argument("--robot", action="append", required=True, help="load_robot name or path, =WEIGHT behind it")
    render.add_argument("--count", type=int, default=100, help="shards")
    train.add_argument("--shards", type=Path, required=True)
    train.add_argument("--minutes", type=float, default=60)
    train.add_argument("--batch", type=int, default=8)
    train.add_argument("--size", type=int, nargs=2, default=(352, 256), metavar=("WIDTH", "HEIGHT"))
    train.add_argument("--rate", type=float, default=1.2e-3)
    train.add_argument("--start-from", type=Path)
    train.add_argument("--threads", type=int, default=2)
    for name in ("arm", "tool", "out"):
        mount.add_argument(f"--{name}", type=Path, required=True)
    mount.add_argument("--flange", required=True, help="link of the arm that carries the tool")
    mount.add_argument("--drop", help="link to remove with everything below it")
    label = commands.add_parser("label", help="label real pictures from known cameras and end-effector poses")
    label.add_argument("--pictures", type=Path, required=True, help="folder with calib_and_poses.json")
    label.add_argument("--robot", default="panda")
    label.add_argument("--link", required=True, help="the link whose pose was recorded")
    label.add_argument("--cameras", nargs="+", required=True, help="cameras whose pictures are trained on")
    label.add_argument("--out", type=Path, required=True, help="folder of shards")
    options = parser.parse_args()
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]

    if options.command == "mount":
        from segmentation.training.mount import mount as join

        print(join(options.arm, options.tool, options.flange, options.out, drop=options.drop))
    elif options.command == "label":
        from segmentation.training.posed import label_posed_pictures
        from urdf import load_robot

        robot = load_robot(options.robot)
        print(label_posed_pictures(options.pictures, robot, options.link, options.cameras, options.out), "pictures")
    elif options.command == "render":
        from segmentation.training.assets import load_assets
        from segmentation.training.npz_shards import render_shards

        assets = load_assets(options.photos, options.textures, options.hdris, options.objects, options.robot)
        for path in render_shards(assets, options.out, options.count, options.seed):
            print(path, flush=True)
    else:
        from segmentation.training.assets import load_photos
        from segmentation.training.train import TrainSettings
        from segmentation.training.train import train as run

        torch.set_num_threads(options.threads)
        width, height = options.size
        settings = TrainSettings(
            minutes=options.minutes,
            width=width,
            height=height,
            batch=options.batch,
            rate=options.rate,
            encoder_rate=options.rate / 4,
            seed=options.seed,
        )
        run(options.shards, options.out, load_photos(options.photos), settings, start_from=options.start_from)


if __name__ == "__main__":
    main()
