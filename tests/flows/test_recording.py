import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from flows.job import robot_of
from flows.recording import class_image, new_stream, write_recording


def test_the_recording_opens_and_holds_everything(clip, clip_images, make_episode, tmp_path):
    from segmentation import MaskFolder

    viewer = Path(sys.executable).with_name("rerun")
    if not viewer.exists():
        pytest.skip("needs rerun's command")
    episode, robot = make_episode(), robot_of("panda")
    path = tmp_path / "scene.rrd"
    write_recording(path, episode, robot, clip_images, MaskFolder(clip.masks))
    subprocess.run([viewer, "rrd", "verify", path], check=True, capture_output=True)
    text = subprocess.run([viewer, "rrd", "print", path], check=True, capture_output=True, text=True).stdout
    rows = {}
    for count, entity in re.findall(r"with (\d+) rows .*? - (/[\w/]+) ", text):
        rows[entity] = rows.get(entity, 0) + int(count)
    drawn = {robot.link_names[i] for i in np.unique(robot.mesh.face_link)}
    for link in drawn:  # its mesh once, a transform for every frame with a robot
        assert rows.get(f"/world/robot/{link}", 0) >= 1 + int(episode.valid.sum()), link
    assert rows["/world/camera/image/mask"] == len(episode)
    assert rows["/world/camera/image"] >= len(episode) and rows["/quality/iou"] == len(episode)
    assert "/world/camera" in rows and "/joints/panda_joint1" in rows and "/gripper/open" in rows


def test_class_image():
    arm, gripper = np.zeros((2, 3, 4), np.uint8)
    arm[0], gripper[1] = 255, 255
    np.testing.assert_array_equal(
        class_image({"robot": arm | gripper, "arm": arm, "gripper": gripper})[:, 0], [1, 2, 0]
    )
    np.testing.assert_array_equal(class_image({"robot": arm | gripper})[:, 0], [1, 1, 0])


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="memory is read from /proc")
def test_recordings_that_ended_are_freed(tmp_path):
    """A worker writes thousands; Rerun by itself keeps all that was logged."""
    import rerun as rr

    points = np.random.default_rng(0).random((90_000, 3), np.float32)  # 1 MB

    def megabytes():
        return int(Path("/proc/self/statm").read_text().split()[1]) * 4096 / 1e6

    for number in range(40):
        if number == 10:
            before = megabytes()
        stream = new_stream(rr, "test", str(number))
        stream.save(str(tmp_path / "a.rrd"))
        stream.log("points", rr.Points3D(points), static=True)
        stream.flush()
        stream.disconnect()
    assert megabytes() - before < 15
