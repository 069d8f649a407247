import numpy as np
import pytest

from flows import sample
from flows.demo import run_demo
from flows.drawing import link_vertices
from flows.errors import FlowError
from flows.files import read_json
from flows.job import robot_of


def test_the_sample_moves_every_joint_smoothly_within_limits():
    robot = robot_of("panda")
    q, opening = sample.sample_motion()
    assert len(q) >= 60 and (q >= robot.lower).all() and (q <= robot.upper).all()
    assert (np.ptp(q[:, :7], axis=0) > np.deg2rad(20)).all() and np.ptp(opening) > 0.05
    speed = np.abs(np.diff(q, axis=0)) * sample.FPS
    assert (speed <= robot.velocity).all()
    np.testing.assert_allclose(robot.gripper.opening(q), opening, atol=1e-12)


def test_the_whole_arm_stays_in_view():
    robot, camera = robot_of("panda"), sample.sample_camera()
    for q in sample.sample_motion()[0][::7]:
        points = link_vertices(robot, q) @ camera.T_cam_base[:3, :3].T + camera.T_cam_base[:3, 3]
        uv = camera.project(points)
        assert points[:, 2].min() > 0.3 and uv.min() > 5 and (uv.max(0) < np.array(sample.SIZE) - 5).all()


def test_the_demo_uses_no_truth_but_k(clip, fakes, quick_report, cache, tmp_path, monkeypatch):
    from flows.run import run_episode

    monkeypatch.setattr(sample, "SIZE", (160, 120))
    monkeypatch.setattr(sample, "FOCAL", sample.FOCAL / 4)
    monkeypatch.setattr(sample, "FRAMES", 8)
    given = {}

    def run(video, robot, out, **options):
        given.update(options)
        return run_episode(video, robot, out, **options)

    result = run_demo(tmp_path / "demo", run)
    assert set(given) == {"camera"} and read_json(given["camera"])["T_cam_base"] is None
    assert {p.name for p in (tmp_path / "demo").iterdir()} == {
        "demo.mp4",
        "cam.json",
        "truth.json",
        "truth_masks",
        "episode",
    }
    assert set(result["masks"]) == {"robot", "arm", "gripper"} and "render" in result["seconds"]
    assert np.rad2deg(result["pose"].median_joint) < 1e-6  # the stand-in fit knows the truth
    video = (tmp_path / "demo" / "demo.mp4").read_bytes()
    (tmp_path / "demo" / "demo.mp4").unlink()
    monkeypatch.setattr("pose.shading.render_color", None)  # the second time nothing is drawn
    run_demo(tmp_path / "demo", run)
    assert (tmp_path / "demo" / "demo.mp4").read_bytes() == video and fakes.fit == 1
    (tmp_path / "demo" / "mine.txt").touch()
    with pytest.raises(FlowError, match="other files"):
        run_demo(tmp_path / "demo", run)
