"""`urdfit view`: pages of episodes and scenes, served to this machine only; reports in a real browser."""

import socket
import sys
from dataclasses import replace
from urllib.request import urlopen

import numpy as np
import pytest
from browser import browse
from flow_cases import EMPTY, FRAMES

from flows.episode import write_episode
from flows.errors import FlowError
from flows.job import robot_of
from flows.report import pick_frames, render_report
from flows.viewing import open_page
from twin.mesh import Mesh
from twin.scene import Body, RobotMotion, Scene
from twin.scene_files import write_scene

READY = "document.querySelector('canvas') && document.body.innerText.includes('play')"
SHOWN = "new Promise(done => setTimeout(() => done(document.body.innerText), 1500))"


@pytest.fixture
def episode_folder(make_episode, clip, tmp_path):
    pytest.importorskip("viser", reason="needs viser (extra view)")
    episode = make_episode(warnings=("<b>*bold*</b> claim",))
    folder = write_episode(replace(episode, source={"path": str(clip.video), "fps": 10.0}), tmp_path / "Ünïcode [1]")
    (folder / "masks").symlink_to(clip.masks)
    return folder


@pytest.fixture
def scene_folder(clip, tmp_path):
    pytest.importorskip("viser", reason="needs viser (extra view)")
    vertices = np.array([[x, y, z] for x in (0, 0.1) for y in (0, 0.1) for z in (0, 0.1)])
    faces = [[0, 1, 3], [0, 3, 2], [4, 6, 7], [4, 7, 5], [0, 4, 5], [0, 5, 1]]
    faces += [[2, 3, 7], [2, 7, 6], [0, 2, 6], [0, 6, 4], [1, 5, 7], [1, 7, 3]]
    cube = Mesh(vertices, np.array(faces, np.int32), np.full((8, 3), (200, 60, 30), np.uint8))
    stands = np.eye(4)
    stands[:3, 3] = 0.4, 0.1, 0.0
    body = Body("cube", cube, (cube,), stands, 0.2, np.eye(3) * 1e-4, np.full(3, 0.05), 200.0)
    motion = RobotMotion("panda", robot_of("panda").joint_names, clip.q, np.arange(FRAMES) / 10.0, 2)
    write_scene(tmp_path / "scene", Scene(cube, (body,), motion, {"front": clip.camera}))
    return tmp_path / "scene"


def test_a_report_renders_by_itself(make_episode, tmp_path):
    episode = make_episode()
    image = np.random.default_rng(0).integers(0, 255, (60, 80, 3), np.uint8)
    (tmp_path / "report.html").write_text(
        render_report(episode, robot_of("panda"), {t: image for t in pick_frames(episode)})
    )
    visit = browse(
        tmp_path / "report.html", script="[...document.images].filter(i => i.complete && i.naturalWidth).length"
    )
    assert not visit.errors and not visit.outside
    assert visit.variety > 20 and visit.value == len(pick_frames(episode))


def test_an_episode_follows_its_time_line(episode_folder, clip):
    with open_page(episode_folder, 0) as page:
        content = page.content
        hand = next(frame for link, frame in content._model._frames if link == robot_of("panda").ee_index - 1)
        placed, pictures = [], []
        for index in (0, 6, EMPTY[0]):
            content.timeline.slider.value = index
            placed.append(np.array(hand.position))
            pictures.append(content._frustum.image.astype(int))
            assert content._model.root.visible == (index not in EMPTY)
        poses = robot_of("panda").link_poses(clip.q[[0, 6]])[:, robot_of("panda").ee_index - 1, :3, 3]
        np.testing.assert_allclose(placed[:2], poses, atol=1e-6)
        assert np.abs(pictures[0] - pictures[1]).mean() > 1
        content._show_masks.value = content._show_fit.value = False
        plain = content._frustum.image.astype(int)
        content._show_masks.value = True
        content.timeline.slider.value = 0
        assert np.abs(content._frustum.image.astype(int) - plain).mean() > 0.5
        curve = content._plots._curve.data
        np.testing.assert_allclose(curve[3] - curve[2], 4 * np.rad2deg(content.episode.sigma[:, 0]))
        assert np.isfinite(curve[4]).sum() == 1


@pytest.mark.slow  # drawn in software, it takes its time
def test_an_episode_renders_in_a_browser(episode_folder):
    with open_page(episode_folder, 0) as page:
        visit = browse(page.url, READY, SHOWN, size=(800, 600), timeout=120, whole=False)
    assert not visit.errors and not visit.outside and visit.variety > 20
    assert "Ünïcode [1]" in visit.value and "<b>*bold*</b> claim" in visit.value


@pytest.mark.slow  # drawn in software, it takes its time
def test_a_scene_renders_in_a_browser(scene_folder):
    with open_page(scene_folder, 0) as page:
        visit = browse(page.url, READY, SHOWN, size=(800, 600), timeout=120, whole=False)
    assert not visit.errors and not visit.outside and visit.variety > 20
    assert "1 bodies with 1 collision pieces, 1 cameras" in visit.value and "frame" in visit.value


def test_an_episode_without_its_video_is_still_shown(episode_folder, make_episode):
    write_episode(make_episode(source={"path": "/gone/clip.mp4", "fps": 10.0}), episode_folder)
    (episode_folder / "masks").unlink()
    with open_page(episode_folder, 0) as page:
        assert page.content._show_masks.disabled
        assert (page.content._frustum.image == 40).mean() > 0.5  # grey, with the outline of the fit


def test_pages_are_for_this_machine_and_find_a_free_port(episode_folder):
    with open_page(episode_folder, 0) as page:
        port = page.server.get_port()
        assert page.url == f"http://127.0.0.1:{port}" and page.server.get_host() == "127.0.0.1"
        with urlopen(page.url, timeout=10) as answer:
            assert b"<html" in answer.read()[:2000].lower()
        with open_page(episode_folder, port) as second:
            assert second.server.get_port() != port


def test_what_cannot_be_shown_is_told_in_a_line(make_episode, episode_folder, scene_folder, tmp_path, monkeypatch):
    with pytest.raises(FlowError, match="neither an episode"):
        open_page(tmp_path / "nothing")
    with pytest.raises(FlowError, match="all taken"):
        taken = [socket.socket() for _ in range(20)]
        try:
            first = next(p for p in range(42000, 60000, 50) if _take(taken, p))
            open_page(episode_folder, first)
        finally:
            for one in taken:
                one.close()
    motion = RobotMotion("panda", ("a", "b"), np.zeros((2, 2)), np.arange(2.0))
    write_scene(tmp_path / "other", Scene(None, (), motion, {}))
    with pytest.raises(FlowError, match="moves joints a, b"):
        open_page(tmp_path / "other", 0)
    write_episode(make_episode(joint_names=tuple("abcdefgh")), tmp_path / "joints")
    with pytest.raises(FlowError, match="the episode moves joints a, b"):
        open_page(tmp_path / "joints", 0)
    write_episode(make_episode(camera=replace(make_episode().camera, T_cam_base=None)), tmp_path / "pose")
    with pytest.raises(FlowError, match="without a pose"):
        open_page(tmp_path / "pose", 0)
    monkeypatch.setitem(sys.modules, "viser", None)
    with pytest.raises(FlowError, match=r"urdfit\[view\]"):
        open_page(scene_folder, 0)


def _take(sockets, first):
    """Binds 20 ports in a row; False where one of them is taken."""
    try:
        for i, one in enumerate(sockets):
            one.bind(("127.0.0.1", first + i))
    except OSError:
        for i in range(len(sockets)):
            sockets[i].close()
            sockets[i] = socket.socket()
        return False
    return True
