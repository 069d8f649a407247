"""Load an exported data set with the real `lerobot` and compare what it gives with what is in the files.

lerobot needs Python >= 3.12 and an older torch than this project, so it lives in an environment of its own:

    python3.12 -m venv lerobot-env && lerobot-env/bin/pip install "lerobot[dataset]==0.6.1"     # about 5 GB
    lerobot-env/bin/python tests/compat/check_lerobot.py DATASET [--resume-copy FOLDER]

Prints what was checked; exits with 1 at the first difference. With --resume-copy the data set is copied there and
lerobot itself records one more episode into it, which must then load together with ours.
"""

import argparse
import shutil
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import torch
from lerobot.datasets.lerobot_dataset import LeRobotDataset


def rows_of(root: Path) -> dict[str, np.ndarray]:
    tables = [pq.read_table(p) for p in sorted(root.glob("data/*/*.parquet"))]
    return {name: np.concatenate([np.array(t[name].to_pylist()) for t in tables]) for name in tables[0].column_names}


def pictures_of(root: Path, key: str) -> list[np.ndarray]:
    """All pictures of a camera in the order of episodes, decoded from the start of each file."""
    import av

    found = []
    for path in sorted((root / "videos" / key).glob("*/*.mp4")):
        with av.open(str(path)) as container:
            found += [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    return found


def check(root: Path) -> LeRobotDataset:
    data = LeRobotDataset("local/checked", root=root)
    rows = rows_of(root)
    assert len(data) == len(rows["index"]) == data.meta.total_frames, "number of frames"
    assert (rows["index"] == np.arange(len(data))).all(), "index counts the frames"
    keys = data.meta.video_keys
    pictures = {key: pictures_of(root, key) for key in keys}
    worst = 0.0
    for i in range(len(data)):
        item = data[i]
        for name, column in rows.items():
            value = item[name].numpy()
            assert np.array_equal(value.ravel(), np.asarray(column[i], value.dtype).ravel(), equal_nan=True), (name, i)
        assert isinstance(item["task"], str) and item["task"], "task"
        for key in keys:  # the picture that lerobot seeks by time is the one that belongs to the row
            shown = item[key].numpy().transpose(1, 2, 0) * 255
            worst = max(worst, float(np.abs(shown - pictures[key][i]).mean()))
    assert worst < 1.5, f"a picture differs by {worst:.2f} of 255 on average"
    for feature, stats in data.meta.stats.items():
        if feature in rows:
            table = np.asarray(rows[feature], float).reshape(len(data), -1)
            np.testing.assert_allclose(stats["mean"], table.mean(0), rtol=1e-4, atol=1e-5, err_msg=feature)
            np.testing.assert_allclose(stats["std"], table.std(0), rtol=1e-3, atol=1e-4, err_msg=feature)
            np.testing.assert_allclose(stats["min"], table.min(0), rtol=1e-5, atol=1e-6, err_msg=feature)
        if feature in keys:
            assert stats["mean"].shape == (3, 1, 1) and 0 <= stats["min"].min() <= stats["max"].max() <= 1, feature
    step = 1 / data.meta.fps
    windows = {"action": [0.0, step, 2 * step]} | {key: [-step, 0.0] for key in keys}
    batch = next(
        iter(torch.utils.data.DataLoader(LeRobotDataset("local/checked", root=root, delta_timestamps=windows), 4))
    )
    assert batch["action"].shape[:2] == (4, 3), batch["action"].shape
    print(
        f"{root}: {data.meta.total_episodes} episodes, {len(data)} frames, {len(data.meta.features)} features, "
        f"pictures within {worst:.2f} of 255; windows of a DataLoader: action {tuple(batch['action'].shape)}"
    )
    return data


def record_one_more(root: Path) -> None:
    """lerobot's own writer resumes the data set."""
    before = LeRobotDataset("local/checked", root=root)
    features, count = before.meta.features, before.meta.total_episodes
    data = LeRobotDataset.resume("local/checked", root=root)
    for t in range(5):
        frame = {"task": "recorded by lerobot"}
        for name, feature in features.items():
            if name in ("timestamp", "frame_index", "episode_index", "index", "task_index"):
                continue
            shape = tuple(feature["shape"])
            kind = {"video": np.uint8, "bool": bool}.get(feature["dtype"], np.float32)
            frame[name] = np.full(shape, t % 2, kind)
        data.add_frame(frame)
    data.save_episode()
    data.finalize()
    after = LeRobotDataset("local/checked", root=root)
    assert after.meta.total_episodes == count + 1 and len(after) == len(before) + 5
    assert after[len(after) - 1]["task"] == "recorded by lerobot" and after[0]["task"] == before[0]["task"]
    print(f"{root}: lerobot has recorded one more episode; {len(after)} frames")


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("dataset", type=Path)
    parser.add_argument("--resume-copy", type=Path)
    arguments = parser.parse_args()
    check(arguments.dataset)
    if arguments.resume_copy:
        shutil.copytree(arguments.dataset, arguments.resume_copy)
        record_one_more(arguments.resume_copy)
