"""Every format that can be read, in miniature: video, times, cameras, joints, tasks; and what is refused."""

import json
import pickle
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from flows.datasets import Problem, SourceEpisode, open_dataset
from flows.errors import FlowError, UsageError
from flows.files import write_json
from pose.camera import Camera
from segmentation import VideoError

SIZE = (64, 48)  # width, height


def picture(number: int) -> np.ndarray:
    """A flat picture whose brightness tells its number, even after a lossy encoder."""
    return np.full((SIZE[1], SIZE[0], 3), 20 + 12 * number, np.uint8)


def numbers_of(frames) -> list[int]:
    return [round((float(f.image.mean()) - 20) / 12) for f in frames]


def write_pictures(folder: Path, count: int, pattern: str = "{:05d}.jpg") -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for i in range(count):
        cv2.imwrite(str(folder / pattern.format(i)), picture(i))


def write_clip(path: Path, count: int, fps: int = 10) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=fps)
        stream.width, stream.height, stream.pix_fmt = *SIZE, "yuv420p"
        for i in range(count):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture(i), format="rgb24")))
        container.mux(stream.encode())
    return path


def camera_json(pose=None) -> dict:
    return Camera.from_focal(*SIZE, 70.0, pose).to_dict()


def only(dataset) -> SourceEpisode:
    (episode,) = dataset
    assert isinstance(episode, SourceEpisode), episode
    return episode


def test_a_folder_of_videos(tmp_path):
    write_clip(tmp_path / "b.mp4", 4)
    write_clip(tmp_path / "a10.mp4", 3)
    write_clip(tmp_path / "a9.mp4", 3)
    write_pictures(tmp_path / "stills", 5)
    write_json(tmp_path / "cam.json", camera_json())
    write_json(tmp_path / "b.cam.json", camera_json(np.eye(4)))
    (tmp_path / "b.txt").write_text("push the button\n")
    (tmp_path / "notes.md").touch()
    dataset = open_dataset(tmp_path)
    assert dataset.kind == "videos" and list(dataset.ids()) == ["a9.mp4", "a10.mp4", "b.mp4", "stills"]
    episodes = {e.id: e for e in dataset}
    assert episodes["b.mp4"].task == "push the button" and episodes["b.mp4"].view().camera.T_cam_base is not None
    assert episodes["a9.mp4"].view().camera.T_cam_base is None
    assert numbers_of(episodes["b.mp4"].view().open()) == [0, 1, 2, 3]
    assert numbers_of(episodes["stills"].view().open()) == [0, 1, 2, 3, 4]
    times = [f.time_s for f in episodes["b.mp4"].view().open()]
    np.testing.assert_allclose(times, np.arange(4) / 10, atol=1e-6)
    hashes = {e.content_hash() for e in episodes.values()}
    assert len(hashes) == 3  # the two a's are alike
    assert episodes["b.mp4"].content_hash() == open_dataset(tmp_path).episode("b.mp4").content_hash()


def test_a_manifest(tmp_path):
    write_clip(tmp_path / "raw" / "x.mp4", 3)
    write_pictures(tmp_path / "raw" / "y [0]", 2)
    write_json(tmp_path / "c.json", camera_json())
    write_json(tmp_path / "q.json", {"joint_names": ["a", "b"], "q": [[0, 1], [2, 3], [4, 5]]})
    (tmp_path / "episodes.csv").write_text(
        "id,video,task,robot,camera,joints,fps\n"
        'one,raw/x.mp4,"pick, place",panda,c.json,q.json,\n'
        "two,raw/y [0],,,,,5\n"
        "three,raw/gone.mp4,,,,,\n"
    )
    first, second, third = open_dataset(tmp_path / "episodes.csv")
    assert (first.id, first.task, first.robot) == ("one", "pick, place", "panda")
    np.testing.assert_array_equal(first.joints.q, [[0, 1], [2, 3], [4, 5]])
    assert first.view().camera.focal == 70 and numbers_of(first.view().open()) == [0, 1, 2]
    assert [f.time_s for f in second.view().open()] == [0.0, 0.2] and second.joints is None
    assert isinstance(third, Problem) and "gone.mp4" in third.reason


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("id,task\n1,x\n", "no column video"),
        ("video,colour\na,b\n", "colour"),
        ("video,id\na.mp4,1\nb.mp4,1\n", "second episode"),
        ("video,task\n,x\n", "line 2"),
        ("video\na,b,c\n", "line 2"),
        ("video\n\xff\xfe", "no such video"),
    ],
)
def test_bad_manifests_are_told_in_one_line(tmp_path, text, words):
    (tmp_path / "episodes.csv").write_text(text)
    with pytest.raises(FlowError, match=words) as error:
        for item in open_dataset(tmp_path / "episodes.csv"):
            raise FlowError(item.reason)
    assert "\n" not in str(error.value)


def nerfstudio(folder: Path, count: int = 3, **changes) -> np.ndarray:
    """A transforms.json with a camera moving along x, looking down at the world; returns its T_world_cam (OpenCV)."""
    write_pictures(folder / "images", count, "f_{:03d}.png")
    T_world_cam = np.tile(np.eye(4), (count, 1, 1))
    T_world_cam[:, :3, :3] = Rotation.from_euler("xyz", [np.pi, 0, 0.3]).as_matrix()
    T_world_cam[:, :3, 3] = [[0.1 * i, 0.2, 1.0] for i in range(count)]
    gl = T_world_cam @ np.diag([1.0, -1, -1, 1])
    data = {"fl_x": 60.0, "fl_y": 61.0, "cx": 32.0, "cy": 24.0, "w": 64, "h": 48, "k1": 0.1, "camera_model": "OPENCV"}
    listed = [{"file_path": f"images/f_{i:03d}.png", "transform_matrix": gl[i].tolist()} for i in range(count)]
    write_json(folder / "transforms.json", data | {"frames": listed[::-1]} | changes)
    return T_world_cam


def test_nerfstudio(tmp_path):
    T_world_cam = nerfstudio(tmp_path)
    episode = only(open_dataset(tmp_path))
    view = episode.view()
    np.testing.assert_allclose(view.Ts_cam_world, np.linalg.inv(T_world_cam), atol=1e-12)
    np.testing.assert_allclose(view.camera.K, [[60, 0, 31.5], [0, 61, 23.5], [0, 0, 1]])
    assert view.camera.distortion == (0.1, 0, 0, 0, 0) and numbers_of(view.open()) == [0, 1, 2]
    # a point straight below the first camera lands on its principal point
    below = np.linalg.inv(T_world_cam[0]) @ [*(T_world_cam[0] @ [0, 0, 2, 1])[:3], 1]
    np.testing.assert_allclose(view.camera.project(below[None, :3]), [[31.5, 23.5]], atol=1e-9)
    assert any("world" in note for note in episode.notes)


@pytest.mark.parametrize(
    "changes",
    [
        {"frames": []},
        {"frames": [{"file_path": "../../etc/passwd", "transform_matrix": np.eye(4).tolist()}]},
        {"frames": [{"file_path": "/etc/passwd", "transform_matrix": np.eye(4).tolist()}]},
        {"frames": [{"file_path": "images/f_000.png", "transform_matrix": [[1, 2], [3, 4]]}]},
        {"frames": [{"file_path": "images/f_000.png", "transform_matrix": (2 * np.eye(4)).tolist()}]},
        {"fl_x": "wide"},
    ],
)
def test_bad_nerfstudio(tmp_path, changes):
    nerfstudio(tmp_path, **changes)
    (problem,) = open_dataset(tmp_path, "nerfstudio")
    assert isinstance(problem, Problem) and "transforms.json" in problem.reason


class Trap:
    """Unpickling this makes a file: no reader may do it."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


def test_bridge_leaves_pickles_alone(tmp_path):
    folder = tmp_path / "rss" / "kitchen [2]" / "00" / "2022-01-01_00-00-00" / "raw" / "traj_group0" / "traj0"
    for camera in ("images0", "images1"):
        write_pictures(folder / camera, 12, "im_{}.jpg")
    write_pictures(folder / "depth_images0", 1, "im_{}.jpg")
    (folder / "lang.txt").write_text("confidence: 0.8\nput the pot on the stove\n")
    sprung = tmp_path / "sprung"
    for name in ("obs_dict.pkl", "policy_out.pkl"):
        (folder / name).write_bytes(pickle.dumps(Trap(sprung)))
    episode = only(open_dataset(tmp_path))
    assert episode.task == "put the pot on the stove" and [v.name for v in episode.views] == ["images0", "images1"]
    frames = list(episode.view("images1").open())
    assert numbers_of(frames) == list(range(12)) and frames[5].time_s == 1.0  # im_2 before im_10, 5 Hz
    assert episode.joints is None and not sprung.exists() and any("pickles" in n for n in episode.notes)


def droid(folder: Path, steps: int = 6) -> dict:
    h5py = pytest.importorskip("h5py")
    folder.mkdir(parents=True)
    write_clip(folder / "recordings" / "MP4" / "111.mp4", steps)
    write_clip(folder / "recordings" / "MP4" / "111-stereo.mp4", steps)
    write_clip(folder / "recordings" / "MP4" / "222.mp4", steps + 3)
    made = {"q": np.random.default_rng(0).normal(size=(steps, 7)), "g": np.linspace(0, 1, steps)}
    made["t"] = 1000 + np.cumsum([0, 60, 70, 66, 90, 66][:steps])
    with h5py.File(folder / "trajectory.h5", "w") as file:
        file["observation/robot_state/joint_positions"] = made["q"]
        file["observation/robot_state/gripper_position"] = made["g"]
        file["observation/timestamp/robot_state/read_start"] = made["t"]
        for serial in ("111", "222"):
            file[f"observation/timestamp/cameras/{serial}_estimated_capture"] = made["t"] - 5
    made["pose"] = [0.1, -0.5, 0.6, -2.0, 0.1, 0.7]
    meta = {"ext1_cam_serial": "111", "ext2_cam_serial": "999", "wrist_cam_serial": "222", "current_task": "stack",
            "ext1_cam_extrinsics": made["pose"], "wrist_cam_extrinsics": made["pose"]}  # fmt: skip
    write_json(folder / "metadata_a.json", meta)
    return made


def test_droid(tmp_path):
    made = droid(tmp_path / "success" / "Fri [1] *")
    episode = only(open_dataset(tmp_path))
    assert (episode.robot, episode.task) == ("panda_robotiq", "stack")
    assert [v.name for v in episode.views] == ["ext1", "wrist"]
    np.testing.assert_allclose(episode.joints.q, made["q"])
    np.testing.assert_allclose(episode.joints.gripper, 1 - made["g"])
    np.testing.assert_allclose(episode.joints.times, (made["t"] - made["t"][0]) / 1000)
    T_base_cam = np.linalg.inv(episode.view("ext1").T_cam_base)
    np.testing.assert_allclose(T_base_cam[:3, 3], made["pose"][:3])
    np.testing.assert_allclose(T_base_cam[:3, :3], Rotation.from_euler("xyz", made["pose"][3:]).as_matrix())
    assert episode.view("wrist").T_cam_base is None and episode.view().camera is None
    times = [f.time_s for f in episode.view("ext1").open()]
    np.testing.assert_allclose(times, (made["t"] - made["t"][0]) / 1000)  # the recording's own, irregular
    assert [round(f.time_s * 10) for f in episode.view("wrist").open()] == list(range(9))  # more frames than steps


def test_droid_files_that_reach_out_are_refused(tmp_path):
    h5py = pytest.importorskip("h5py")
    secret = tmp_path / "secret.h5"
    with h5py.File(secret, "w") as file:
        file["x"] = np.zeros((6, 7))
    for kind in ("link", "soft", "external", "shape", "nan", "text"):
        folder = tmp_path / kind
        droid(folder)
        with h5py.File(folder / "trajectory.h5", "a") as file:
            state = file["observation/robot_state"]
            del state["joint_positions"]
            if kind == "link":
                state["joint_positions"] = h5py.ExternalLink(str(secret), "/x")
            elif kind == "soft":
                file["y"] = np.zeros((6, 7))
                state["joint_positions"] = h5py.SoftLink("/y")
            elif kind == "external":
                state.create_dataset("joint_positions", (6, 7), float, external=[(str(secret), 0, 336)])
            elif kind == "shape":
                state["joint_positions"] = np.zeros((9, 7))
            else:
                state["joint_positions"] = np.full((6, 7), np.nan)
        if kind == "text":
            (folder / "trajectory.h5").write_text("not HDF5")
        (problem,) = open_dataset(folder)
        assert isinstance(problem, Problem) and "trajectory.h5" in problem.reason, kind


def test_vrs(tmp_path):
    write_pictures(tmp_path / "test" / "image" / "v1", 3)
    masks = tmp_path / "test" / "mask_gt" / "v1" / "002"
    masks.mkdir(parents=True)
    cv2.imwrite(str(masks / "00000.png"), np.eye(48, 64, dtype=np.uint8) * 255)
    episode = only(open_dataset(tmp_path))
    assert episode.id == "v1" and numbers_of(episode.view().open()) == [0, 1, 2]


def test_what_is_no_data_set(tmp_path):
    with pytest.raises(FlowError, match="no such folder"):
        open_dataset(tmp_path / "gone")
    with pytest.raises(FlowError, match="no videos"):
        list(open_dataset(tmp_path))
    with pytest.raises(UsageError, match="--kind"):
        open_dataset(tmp_path, "tfrecord")
    write_clip(tmp_path / "a.mp4", 2).write_bytes(b"no video")
    with pytest.raises(VideoError):
        only(open_dataset(tmp_path)).view().open()
    (tmp_path / "cameras.json").write_text(json.dumps({"a.mp4": {"width": 3}}))
    (problem,) = open_dataset(tmp_path)
    assert isinstance(problem, Problem) and "cameras.json" in problem.reason
