"""Scenes as files of simulators: what they hold agrees with the scene, and things stand still in MuJoCo."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import trimesh

from pose.camera import Camera
from twin import Body, Mesh, RobotMotion, Scene, TwinError
from twin.export import export_scene
from twin.physics import mass_of
from twin.scene_files import read_scene
from urdf import Robot, load_robot

Q = np.array([0.3, -0.4, 0.1, -2.0, 0.2, 1.9, 0.5, 0.02])


def _body(name: str, shape: trimesh.Trimesh, at: tuple[float, float, float], static: bool = False) -> Body:
    color = np.full((len(shape.vertices), 3), (200, 90, 30), np.uint8)
    mesh = Mesh(np.asarray(shape.vertices), np.asarray(shape.faces, np.int32), color)
    weight, T = mass_of(mesh, 300), np.eye(4)
    T[:3, 3] = at
    return Body(name, mesh, (mesh,), T, weight.mass, weight.inertia, weight.center, 300, static=static)


def _textured(mesh: Mesh) -> Mesh:
    uv = mesh.vertices[:, :2] - mesh.vertices[:, :2].min(0)
    picture = np.random.default_rng(0).integers(0, 255, (16, 16, 3), np.uint8)
    return replace(mesh, colors=None, uv=uv / uv.max(), texture=picture)


@pytest.fixture(scope="module")
def robot() -> Robot:
    return load_robot("panda")


@pytest.fixture(scope="module")
def scene(robot: Robot) -> Scene:
    box = _body("carton", trimesh.creation.box((0.16, 0.07, 0.2)), (0.6, -0.4, 0.1))
    bodies = (
        replace(box, visual=_textured(box.visual)),
        _body("can", trimesh.creation.cylinder(0.04, 0.12, sections=24), (0.7, 0.4, 0.06)),
        _body("2_ball", trimesh.creation.icosphere(3, 0.05), (0.4, 0.5, 0.05)),
        _body("panda_link3", trimesh.creation.box((0.05, 0.05, 0.05)), (0.5, -0.6, 0.025)),  # a name that is taken
        _body("table", trimesh.creation.box((1.6, 1.5, 0.04)), (0.45, 0, -0.02), static=True),
    )
    T = np.array([[0, -1, 0, 0.1], [0, 0, -1, 0.4], [1, 0, 0, 1.2], [0, 0, 0, 1.0]])
    cameras = {"front left": Camera(640, 480, ((500, 0, 300), (0, 505, 260), (0, 0, 1)), T)}
    motion = RobotMotion("panda", robot.joint_names, np.stack([Q * 0, Q]), np.array([0, 0.1]), 1)
    surroundings = trimesh.creation.box((2, 2, 0.01))
    surroundings.apply_translation((0, 0, -0.05))
    background = Mesh(np.asarray(surroundings.vertices), np.asarray(surroundings.faces, np.int32)[:-2])  # open
    return Scene(background, bodies, motion, cameras)


@pytest.fixture(scope="module")
def folder(scene: Scene, robot: Robot, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    out = tmp_path_factory.mktemp("scene ü")  # blanks and umlauts in paths
    assert export_scene(out, scene, robot) == ()
    yield out


@pytest.fixture(scope="module")
def mujoco():
    return pytest.importorskip("mujoco", reason="needs mujoco")


def test_scene_reads_back(folder: Path, scene: Scene):
    read = read_scene(folder)
    assert [b.name for b in read.bodies] == [b.name for b in scene.bodies]
    np.testing.assert_allclose(read.robot.q, scene.robot.q)
    assert read.cameras["front left"].to_dict() == scene.cameras["front left"].to_dict()


def test_mujoco_rests(folder: Path, scene: Scene, robot: Robot, mujoco):
    model = mujoco.MjModel.from_xml_path(str(folder / "scene.xml"))
    data = mujoco.MjData(model)
    mujoco.mj_resetDataKeyframe(model, data, model.key("fitted").id)
    mujoco.mj_forward(model, data)
    for body in scene.bodies[:3]:
        np.testing.assert_allclose(data.body(body.name).xpos, body.T_base_body[:3, 3], atol=1e-6)
        assert model.body(body.name).mass[0] == pytest.approx(body.mass, rel=1e-6)
    poses = robot.link_poses(Q)
    for row, name in enumerate(robot.link_names):
        if name == "panda_link3":
            name = "panda_link3_2"
        np.testing.assert_allclose(data.body(name).xpos, poses[row, :3, 3], atol=1e-5)
        np.testing.assert_allclose(data.body(name).xmat.reshape(3, 3), poses[row, :3, :3], atol=1e-5)
    start = data.xpos.copy()
    while data.time < 2:
        mujoco.mj_step(model, data)
    assert np.abs(data.xpos - start).max() < 0.005


def test_mujoco_is_not_glued(folder: Path, mujoco):
    """An object that is pushed slides, and one in the air falls: resting is physics, not a lack of it."""
    model = mujoco.MjModel.from_xml_path(str(folder / "scene.xml"))
    data = mujoco.MjData(model)
    mujoco.mj_resetDataKeyframe(model, data, 0)
    data.joint("carton").qvel[0] = 1.0
    data.joint("can").qpos[2] += 0.3
    for _ in range(500):
        mujoco.mj_step(model, data)
    assert data.body("carton").xpos[0] > 0.62
    assert data.body("can").xpos[2] == pytest.approx(0.06, abs=0.02)


def test_mujoco_camera_is_the_rigs(folder: Path, scene: Scene, mujoco):
    model = mujoco.MjModel.from_xml_path(str(folder / "scene.xml"))
    camera, data = scene.cameras["front left"], mujoco.MjData(model)
    mujoco.mj_forward(model, data)
    number = model.camera("front left").id
    T_base_cam = np.linalg.inv(camera.T_cam_base)
    np.testing.assert_allclose(data.cam_xpos[number], T_base_cam[:3, 3], atol=1e-6)
    np.testing.assert_allclose(-data.cam_xmat[number].reshape(3, 3)[:, 2], T_base_cam[:3, 2], atol=1e-6)
    np.testing.assert_allclose(-data.cam_xmat[number].reshape(3, 3)[:, 1], T_base_cam[:3, 1], atol=1e-6)
    vertical, horizontal, clip = (np.zeros((2, 1), np.float32) for _ in range(3))
    view = mujoco.MjvCamera()
    view.type, view.fixedcamid = mujoco.mjtCamera.mjCAMERA_FIXED, number
    mujoco.mjv_cameraFrustum(vertical, horizontal, clip, model, view)
    (fx, _, cx), (_, fy, cy), _ = camera.K
    sides = np.array([cx + 0.5, camera.width - cx - 0.5]) / fx  # left and right of the axis, at distance 1
    np.testing.assert_allclose(horizontal[:, 0] / clip[0], sides, rtol=1e-3)
    heights = np.array([camera.height - cy - 0.5, cy + 0.5]) / fy  # below and above
    np.testing.assert_allclose(vertical[:, 0] / clip[0], heights, rtol=1e-3)


def test_urdf_is_the_same_scene(folder: Path, scene: Scene, robot: Robot):
    pin = pytest.importorskip("pinocchio", reason="needs pin")
    text = (folder / "scene.urdf").read_bytes()
    model = pin.buildModelFromXML(text.decode(), mimic=True)
    data, q = model.createData(), pin.neutral(model)
    for name, value in zip(robot.joint_names, Q):
        q[model.joints[model.getJointId(name)].idx_q] = value
    pin.framesForwardKinematics(model, data, q)
    tip = data.oMf[model.getFrameId(robot.ee_link)].homogeneous
    np.testing.assert_allclose(tip, robot.link_poses(Q)[robot.ee_index], atol=1e-6)
    can = model.getFrameId("can")
    np.testing.assert_allclose(data.oMf[can].homogeneous, scene.bodies[1].T_base_body, atol=1e-6)
    mass = model.inertias[model.getJointId("can_joint")].mass
    assert mass == pytest.approx(scene.bodies[1].mass, rel=1e-6)


def test_urdf_meshes_are_there_and_coloured(folder: Path, scene: Scene):
    from lxml import etree

    files = [m.get("filename") for m in etree.parse(folder / "scene.urdf").iter("mesh")]
    assert len(files) > 20
    assert all((folder / name).is_file() for name in files)
    can = trimesh.load_mesh(folder / "objects/can/visual.obj", process=False)
    colors = can.visual.to_color().vertex_colors[:, :3]
    assert np.abs(colors.astype(int) - (200, 90, 30)).max() <= 8  # 32 shades a channel
    assert can.volume == pytest.approx(scene.bodies[1].mass / 300, rel=1e-3)


def test_usd_is_the_same_scene(folder: Path, scene: Scene, robot: Robot):
    pxr = pytest.importorskip("pxr", reason="needs usd-core")
    from pxr import Usd, UsdGeom, UsdPhysics

    assert pxr
    stage = Usd.Stage.Open(str(folder / "scene.usda"))
    assert UsdGeom.GetStageMetersPerUnit(stage) == 1
    assert UsdGeom.GetStageUpAxis(stage) == "Z"
    assert UsdPhysics.GetStageKilogramsPerUnit(stage) == 1
    solids = [p for p in stage.Traverse() if p.HasAPI(UsdPhysics.CollisionAPI)]
    assert len(solids) > len(scene.bodies)
    assert {UsdPhysics.MeshCollisionAPI(p).GetApproximationAttr().Get() for p in solids} == {"convexHull"}
    poses, world = robot.link_poses(Q), UsdGeom.XformCache()

    def pose(path: str) -> np.ndarray:
        return np.array(world.GetLocalToWorldTransform(stage.GetPrimAtPath(path))).T

    for row, name in enumerate(robot.link_names):
        np.testing.assert_allclose(pose(f"/World/robot/{name}"), poses[row], atol=1e-6)
    for body, name in zip(scene.bodies, ("carton", "can", "_2_ball", "panda_link3", "table")):
        prim = stage.GetPrimAtPath(f"/World/objects/{name}")
        assert prim.HasAPI(UsdPhysics.RigidBodyAPI) == (not body.static)
        np.testing.assert_allclose(pose(str(prim.GetPath())), body.T_base_body, atol=1e-9)
        if not body.static:
            assert UsdPhysics.MassAPI(prim).GetMassAttr().Get() == pytest.approx(body.mass)


def test_usd_joints_meet(folder: Path, robot: Robot):
    """Both frames of a joint agree once it is turned by its drive's target."""
    pytest.importorskip("pxr", reason="needs usd-core")
    from pxr import Usd, UsdGeom, UsdPhysics
    from scipy.spatial.transform import Rotation

    stage, world, seen = Usd.Stage.Open(str(folder / "scene.usda")), UsdGeom.XformCache(), 0

    def frame(joint, body: int) -> np.ndarray:
        target = (joint.GetBody0Rel() if body == 0 else joint.GetBody1Rel()).GetTargets()
        T = np.array(world.GetLocalToWorldTransform(stage.GetPrimAtPath(target[0]))).T if target else np.eye(4)
        turn = (joint.GetLocalRot0Attr() if body == 0 else joint.GetLocalRot1Attr()).Get()
        local = np.eye(4)
        local[:3, :3] = Rotation.from_quat([*turn.imaginary, turn.real]).as_matrix()
        local[:3, 3] = (joint.GetLocalPos0Attr() if body == 0 else joint.GetLocalPos1Attr()).Get()
        return T @ local

    for prim in stage.Traverse():
        if not prim.IsA(UsdPhysics.Joint):
            continue
        moved = np.eye(4)
        for kind in ("angular", "linear"):
            if prim.HasAPI(UsdPhysics.DriveAPI, kind):
                value = UsdPhysics.DriveAPI(prim, kind).GetTargetPositionAttr().Get()
                if kind == "angular":
                    moved[:3, :3] = Rotation.from_euler("x", value, degrees=True).as_matrix()
                else:
                    moved[0, 3] = value
        joint = UsdPhysics.Joint(prim)
        np.testing.assert_allclose(frame(joint, 0) @ moved, frame(joint, 1), atol=1e-5)
        seen += 1
    assert seen == len(robot.link_names)


def test_glb_stands_upright(folder: Path, scene: Scene, robot: Robot):
    """glTF is Y up: the robot's height is along y there."""
    whole = trimesh.load(folder / "scene.glb")
    poses = robot.link_poses(Q)
    highest = np.einsum("vij,vj->vi", poses[robot.mesh.vertex_link][:, :3, :3], robot.mesh.vertices)
    highest += poses[robot.mesh.vertex_link][:, :3, 3]
    assert whole.bounds[1, 1] == pytest.approx(highest[:, 2].max(), abs=1e-4)


def test_scene_without_robot_and_background(tmp_path: Path, scene: Scene, mujoco):
    export_scene(tmp_path, replace(scene, robot=None, background=None, bodies=scene.bodies[1:2]))
    model = mujoco.MjModel.from_xml_path(str(tmp_path / "scene.xml"))
    assert model.nq == 7
    assert not list(tmp_path.rglob(".*"))


def test_empty_scene(tmp_path: Path, mujoco):
    export_scene(tmp_path, Scene(None, (), None, {}))
    assert mujoco.MjModel.from_xml_path(str(tmp_path / "scene.xml")).nq == 0
    assert not (tmp_path / "scene.glb").exists()


def test_another_robot_is_refused(tmp_path: Path, scene: Scene):
    with pytest.raises(TwinError, match="has joints panda_joint1"):
        export_scene(tmp_path, scene, load_robot("iiwa14"))


@pytest.mark.parametrize("name", ["iiwa14", "widowx250s", "fanuc_lrmate200id_boxes"])
def test_other_robots_load(tmp_path: Path, name: str, mujoco):
    robot = load_robot(name)
    motion = RobotMotion(name, robot.joint_names, np.asarray(robot.rest)[None], np.zeros(1))
    export_scene(tmp_path, Scene(None, (), motion, {}), robot)
    model = mujoco.MjModel.from_xml_path(str(tmp_path / "scene.xml"))
    data = mujoco.MjData(model)
    mujoco.mj_resetDataKeyframe(model, data, 0)
    mujoco.mj_forward(model, data)
    tip = robot.link_poses(robot.rest)[robot.ee_index, :3, 3]
    np.testing.assert_allclose(data.body(robot.ee_link).xpos, tip, atol=1e-5)
    for _ in range(200):
        mujoco.mj_step(model, data)
    np.testing.assert_allclose(data.body(robot.ee_link).xpos, tip, atol=2e-3)
