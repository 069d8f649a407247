"""MJCF files as descriptions, against MuJoCo's own kinematics and placement of meshes."""

from __future__ import annotations

import builtins
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import trimesh
from scipy.spatial import cKDTree

from urdf import RobotError, load_robot
from urdf.kinematics import link_poses
from urdf.meshfiles import load_mesh
from urdf.mjcf import read_mjcf
from urdf.tree import build_tree, check, independent

mujoco = pytest.importorskip("mujoco")

EVERYTHING = """
<mujoco model="everything">
  <compiler angle="degree" eulerseq="zyx" meshdir="meshes" texturedir="meshes"/>
  <size memory="1M"/>
  <default>
    <default class="arm">
      <joint axis="0 1 1" range="-90 120"/>
      <geom contype="0" conaffinity="0" group="2"/>
      <mesh scale="0.5 0.5 0.5"/>
      <default class="bump"><geom type="capsule" group="3" contype="1" rgba="0 1 0 1"/></default>
    </default>
  </default>
  <asset>
    <texture name="skin" type="2d" file="skin.png"/>
    <texture name="sky" type="skybox" builtin="gradient" rgb1="1 1 1" rgb2="0 0 0" width="64" height="64"/>
    <material name="blue" rgba="0.2 0.4 0.8 1"/>
    <material name="skinny" texture="skin" rgba="1 1 0.5 1"/>
    <mesh name="half" class="arm" file="wedge.obj"/>
    <mesh name="mirror" file="wedge.stl" scale="1 -2 1" refpos="0.1 0.2 0.3"/>
    <mesh file="wedge.obj" refpos="0.1 0 0" refquat="1 2 3 4"/>
    <mesh name="turned" file="wedge.obj" scale="1 2 3" refquat="1 0 0 1" refpos="0 0 0.2"/>
  </asset>
  <worldbody>
    <light pos="0 0 3"/>
    <camera name="look" pos="0 0 1"/>
    <geom name="floor" type="plane" size="1 1 0.1"/>
    <body name="foot" pos="1 2 3" euler="10 20 30" childclass="arm">
      <geom type="box" size="0.1 0.2 0.3" pos="0 0 0.1" axisangle="1 1 0 30" material="blue"/>
      <geom class="bump" size="0.1" fromto="0 0 0 0.3 0.3 0.3"/>
      <body name="two joints" pos="0 0 0.3" xyaxes="0 1 0 -1 0 0.2">
        <joint name="turn" pos="0.1 0.2 0" ref="25"/>
        <joint name="push" type="slide" axis="1 0 0" range="-0.1 0.2" ref="0.05"/>
        <geom type="mesh" mesh="half" pos="0.1 0 0" zaxis="1 1 1"/>
        <frame pos="0 0.1 0.2" euler="0 45 0">
          <body pos="0.2 0 0">
            <joint axis="0 0 -3" limited="false" pos="0 0 4"/>
            <geom type="mesh" mesh="mirror" quat="1 1 0 0" material="skinny"/>
            <geom type="capsule" size="0.05" fromto="0 0 0 0.2 0.1 0"/>
            <geom type="cylinder" size="0.05 0.2" rgba="1 0.5 0 1" material="blue"/>
            <body name="hand" pos="0.3 0 0" axisangle="0 0 1 45">
              <joint name="wide" range="-900 900"/>
              <geom type="mesh" mesh="wedge"/>
              <geom type="mesh" mesh="turned" pos="0 0.1 0"/>
              <site name="attachment_site" pos="0 0 0.1" euler="0 0 90"/>
              <site name="marker"/>
              <body name="left"><joint name="left" type="slide" axis="0 1 0" range="0 0.04"/>
                <geom type="ellipsoid" size="0.01 0.02 0.03"/></body>
              <body name="right"><joint name="right" type="slide" axis="0 -1 0" range="0 0.04" ref="0.01"/>
                <geom type="sphere" size="0.01"/><inertial pos="0 0 0" mass="1" diaginertia="1 1 1"/></body>
            </body>
          </body>
        </frame>
      </body>
      <include file="parts/more.xml"/>
    </body>
  </worldbody>
  <equality><joint joint1="right" joint2="left" polycoef="0.002 -0.5 0 0 0"/></equality>
  <actuator><position joint="left" class="arm"/></actuator>
  <keyframe><key name="home" qpos="0.1 0.2 0.3 0.4 0.01 0 0"/></keyframe>
</mujoco>
"""
MORE = '<mujocoinclude><body name="more" pos="0 1 0"><joint name="more"/><geom size="0.2"/></body></mujocoinclude>'


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with meshes; the models are written beside them."""
    from PIL import Image

    place = tmp_path / "robots" / "one"
    (place / "meshes").mkdir(parents=True)
    (place / "parts").mkdir()
    (place / "parts" / "more.xml").write_text(MORE)
    vertices = np.array([[0, 0, 0], [0.3, 0, 0], [0, 0.2, 0], [0, 0, 0.1], [0.1, 0.2, 0.3]])
    mesh = trimesh.convex.convex_hull(vertices)
    mesh.export(place / "meshes" / "wedge.obj")
    mesh.export(place / "meshes" / "wedge.stl")
    Image.new("RGB", (4, 4), (255, 0, 255)).save(place / "meshes" / "skin.png")
    return place


def save(folder: Path, text: str) -> Path:
    path = folder / "robot.xml"
    path.write_text(text)
    return path


def body(inner: str, asset: str = "", outer: str = "") -> str:
    return f'<mujoco><asset>{asset}</asset><worldbody><body name="a">{inner}</body></worldbody>{outer}</mujoco>'


def compare(path: Path) -> tuple[float, float]:
    """Largest differences to MuJoCo: of link poses, and of vertices of the drawn meshes (metres)."""
    description = check(read_mjcf(path, "test"), "test")
    names, tree = build_tree(description)
    free = independent(description)
    model = mujoco.MjModel.from_xml_path(str(path))
    data = mujoco.MjData(model)
    rng = np.random.default_rng(0)
    poses = meshes = 0.0
    for _ in range(5):
        q = np.array([rng.uniform(j.lower, j.upper) for j in free])
        value = {j.name: v for j, v in zip(free, q)}
        value |= {j.name: j.mimic[1] * value[j.mimic[0]] + j.mimic[2] for j in description.joints if j.mimic}
        for j in range(model.njnt):
            if model.jnt_type[j] >= 2:
                data.qpos[model.jnt_qposadr[j]] = value[model.joint(j).name or f"joint_{j}"]
        mujoco.mj_forward(model, data)
        T_base_link = link_poses(tree, q)
        body_of = {model.body(b).name or f"body_{b}": b for b in range(model.nbody)}
        T_world_body = np.tile(np.eye(4), (model.nbody, 1, 1))
        T_world_body[:, :3, :3], T_world_body[:, :3, 3] = data.xmat.reshape(-1, 3, 3), data.xpos
        T_world_link = T_world_body[body_of[names[0]]] @ T_base_link
        for name, b in body_of.items():
            if name in names:
                poses = max(poses, np.abs(T_world_link[names.index(name)] - T_world_body[b]).max())
        theirs: dict[str, list[np.ndarray]] = {name: [] for name in names}
        for g in range(model.ngeom):
            if model.geom_type[g] == mujoco.mjtGeom.mjGEOM_MESH:
                m = model.geom_dataid[g]
                points = model.mesh_vert[model.mesh_vertadr[m] : model.mesh_vertadr[m] + model.mesh_vertnum[m]]
                points = points @ data.geom_xmat[g].reshape(3, 3).T + data.geom_xpos[g]
                theirs[model.body(model.geom_bodyid[g]).name or f"body_{model.geom_bodyid[g]}"].append(points)
        for visual in description.visuals:
            if visual.path is not None:
                T = T_world_link[names.index(visual.link)] @ visual.T_link_visual
                points = load_mesh(visual.path, "test").vertices * np.array(visual.size) @ T[:3, :3].T + T[:3, 3]
                twins = [max(cKDTree(a).query(b)[0].max() for a, b in ((points, p), (p, points)))
                         for p in theirs[visual.link]]  # fmt: skip
                meshes = max(meshes, min(twins))
    return poses, meshes


def test_everything_is_where_mujoco_puts_it(folder: Path) -> None:
    poses, meshes = compare(save(folder, EVERYTHING))
    assert poses < 1e-12 and meshes < 1e-6


def test_names_limits_and_colours(folder: Path) -> None:
    d = read_mjcf(save(folder, EVERYTHING), "test")
    assert d.name == "everything" and d.links[0] == "foot"
    assert set(d.links) == {
        "foot", "two joints", "turn_link", "body_3", "hand", "left", "right", "more", "attachment_site"
    }  # fmt: skip
    joints = {j.name: j for j in d.joints}
    assert joints["turn"].kind == "revolute" and joints["turn"].upper == pytest.approx(np.radians(120))
    assert (joints["push"].kind, joints["push"].lower, joints["push"].upper) == ("prismatic", -0.1, 0.2)
    assert joints["joint_2"].kind == "continuous" and joints["wide"].kind == "continuous"
    assert joints["right"].mimic == ("left", -0.5, pytest.approx(0.012))  # counted from ref 0.01
    assert d.labels.end_effector == "attachment_site"
    assert d.labels.rest["turn"] == 0.1 and "right" not in d.labels.rest
    visuals = {(v.link, v.shape): v for v in d.visuals}
    assert visuals["foot", "box"].size == (0.2, 0.4, 0.6)
    np.testing.assert_allclose(visuals["foot", "box"].color, [0.2, 0.4, 0.8], atol=1e-6)
    assert ("foot", "capsule") not in visuals  # its collision shape
    assert visuals["body_3", "capsule"].size == pytest.approx((0.05, np.hypot(0.2, 0.1)))
    np.testing.assert_allclose(visuals["body_3", "mesh"].color, [1, 0, 0.5], atol=1e-6)
    assert visuals["body_3", "cylinder"].size == (0.05, 0.4)
    np.testing.assert_allclose(visuals["body_3", "cylinder"].color, [1, 0.5, 0], atol=1e-6)  # before the material's
    assert visuals["left", "ellipsoid"].size == (0.01, 0.02, 0.03)


def test_a_whole_robot(folder: Path) -> None:
    robot = load_robot(save(folder, EVERYTHING))
    assert robot.joint_names == ("turn", "push", "joint_2", "wide", "left", "more")
    assert robot.ee_link == "attachment_site"
    points = robot.mesh.vertices[robot.mesh.vertex_link == robot.link_names.index("left")]
    np.testing.assert_allclose(np.ptp(points, axis=0), [0.02, 0.04, 0.06], rtol=0.02)


def test_colours_of_the_model_hold_for_files_without(folder: Path) -> None:
    """An .obj with texture coordinates and no material has no colour of its own."""
    (folder / "uv.obj").write_text("v 0 0 0\nv 1 0 0\nv 0 1 0\nvt 0 0\nvt 1 0\nvt 0 1\nf 1/1 2/2 3/3\n")
    robot = load_robot(save(folder, body('<geom type="mesh" mesh="uv" rgba="1 0 0 1"/>', '<mesh file="uv.obj"/>')))
    np.testing.assert_allclose(robot.mesh.face_color, [[1, 0, 0]])


@pytest.mark.parametrize(
    ("geoms", "kept"),
    [
        ('<geom size="1"/><geom size="2" group="3"/>', {1.0}),  # groups alone tell
        ('<geom size="1" group="4"/><geom size="2" group="3"/>', {1.0, 2.0}),  # nothing else to show
        ('<geom size="1"/><geom size="2" contype="0" conaffinity="0"/>', {2.0}),  # contact tells
        ('<geom size="1"/><geom size="2" contype="0" conaffinity="0" group="1"/>', {2.0}),  # robosuite's way
        ('<geom size="1"/><geom size="2" contype="0" conaffinity="0" group="4"/>', {1.0}),  # hidden
        ('<geom size="1"/><geom size="2" rgba="1 0 0 0"/>', {1.0}),  # see-through
        ('<geom size="2" contype="0" conaffinity="0" group="2"/><body><geom size="1" group="2"/></body>', {1.0, 2.0}),
        ('<geom size="2" contype="0" conaffinity="0" group="2"/><body><geom size="1"/></body>', {2.0}),
    ],
)
def test_which_geoms_are_drawn(folder: Path, geoms: str, kept: set[float]) -> None:
    assert {v.size[0] for v in read_mjcf(save(folder, body(geoms)), "test").visuals} == kept


def test_the_world_is_a_link_only_when_it_holds_something(folder: Path) -> None:
    arm = '<body name="{}"><freejoint/><geom size="1"/><body><joint/><geom size="1"/></body></body>'
    cup = '<body name="cup"><freejoint/><geom size="1"/></body>'

    def roots(inner: str) -> tuple[str, int]:
        d = read_mjcf(save(folder, f"<mujoco><worldbody>{inner}</worldbody></mujoco>"), "test")
        check(d, "test")
        return d.links[0], len(d.links)

    assert roots('<geom type="plane" size="1 1 1"/>' + arm.format("a")) == ("a", 2)
    assert roots(arm.format("a") + cup) == ("a", 2)  # a loose object is no part of the robot
    assert roots(arm.format("a") + arm.format("b")) == ("world", 5)
    assert roots('<geom size="1"/>' + arm.format("a")) == ("world", 3)
    assert roots('<body name="a"><joint/><geom size="1"/></body>') == ("world", 2)


FINGERS = """
<body name="l"><joint name="l" axis="0 0 1" range="-1 1"/><geom size="0.1"/></body>
<body name="r"><joint name="r" axis="0 0 1" range="-1 1"/><geom size="0.1"/></body>
"""


@pytest.mark.parametrize(
    ("constraint", "mimic"),
    [
        ('<joint joint1="l" joint2="r" polycoef="0.1 2 0 0 0"/>', ("l", "r", 2.0, 0.1)),
        ('<joint joint1="l" joint2="r"/><joint joint1="r" joint2="l"/>', ("l", "r", 1.0, 0.0)),
        ('<tendon tendon1="both"/>', ("l", "r", 0.5, 0.0)),
        ('<tendon tendon1="one" tendon2="two" polycoef="0 3 0 0 0"/>', ("l", "r", 1.5, 0.0)),
        ('<joint joint1="l" joint2="r" polycoef="0 1 2 0 0"/>', None),  # a curve
        ('<joint joint1="l" joint2="r" active="false"/>', None),
        ('<joint joint1="l"/>', None),
    ],
)
def test_couplings(folder: Path, constraint: str, mimic: tuple | None) -> None:
    tendons = """<tendon><fixed name="both"><joint joint="l" coef="2"/><joint joint="r" coef="-1"/></fixed>
        <fixed name="one"><joint joint="l" coef="2"/></fixed><fixed name="two"><joint joint="r" coef="1"/></fixed>
        <spatial name="no"><site site="s"/></spatial></tendon>"""
    text = body(FINGERS, outer=f"{tendons}<equality>{constraint}</equality>")
    found = [(j.name, *j.mimic) for j in read_mjcf(save(folder, text), "test").joints if j.mimic]
    assert found == ([mimic] if mimic else [])


def test_a_closed_loop_is_followed(folder: Path) -> None:
    """A parallelogram: the rocker turns with the crank, the coupler against it."""
    text = body(
        """<geom size="0.1"/>
        <body name="rocker" pos="0.2 0 0"><joint name="rocker" axis="0 1 0"/><geom size="0.1"/></body>
        <body name="crank"><joint name="crank" axis="0 1 0" range="-60 60"/><geom size="0.1"/>
          <body name="coupler" pos="0 0 0.1"><joint name="coupler" axis="0 1 0"/><geom size="0.1"/></body></body>""",
        outer="""<equality><connect body1="coupler" body2="rocker" anchor="0.2 0 0"/></equality>
        <actuator><motor joint="crank"/></actuator>""",
    )
    mimics = {j.name: j.mimic for j in read_mjcf(save(folder, text), "test").joints}
    assert mimics["crank"] is None
    assert mimics["rocker"] == ("crank", pytest.approx(1, abs=1e-3), pytest.approx(0, abs=1e-3))
    assert mimics["coupler"] == ("crank", pytest.approx(-1, abs=1e-3), pytest.approx(0, abs=1e-3))


MESH = '<geom type="mesh" mesh="m"/>'


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("<mujoco><worldbody/></mujoco>", ["no body"]),
        ("<mujoco>", ["not readable as XML"]),
        ("<mujocoinclude/>", ["<mujoco>"]),
        ('<!DOCTYPE a [<!ENTITY b "c">]><mujoco/>', ["document type"]),
        (body("<joint type='ball'/>"), ["ball joint", "three hinges"]),
        (body(MESH, '<mesh name="m" file="gone.stl"/>'), ["gone.stl", "not found"]),
        (body(MESH, '<mesh name="m" file="../../../etc/x.stl"/>'), ["leaves"]),
        (body(MESH, '<mesh name="m" file="/etc/passwd"/>'), ["leaves"]),
        (body(MESH, '<mesh name="m" file="robot.xml"/>'), ["file type .xml"]),
        (body(MESH, '<mesh name="m" vertex="0 0 0 1 0 0 0 1 0 0 0 1"/>'), ["names no file"]),
        (body(MESH), ["mesh 'm'", "does not exist"]),
        (body(MESH, '<mesh name="m" file="a.stl"/><mesh name="m" file="b.stl"/>'), ["two meshes"]),
        (body(MESH, '<mesh name="m" file="a.stl" refquat="1 2 3 4" scale="1 2 3"/>'), ["refquat"]),
        (body('<include file="../../../../etc/passwd"/>'), ["leaves"]),
        (body('<include file="/etc/passwd"/>'), ["leaves"]),
        (body('<include file="gone.xml"/>'), ["gone.xml", "not found"]),
        (body('<include file="robot.xml"/>'), ["included twice, or includes itself"]),
        (body('<replicate count="1000000000"><geom size="1"/></replicate>'), ["<replicate>", "mj_saveLastXML"]),
        (body('<plugin plugin="mujoco.elasticity.cable"/>'), ["<plugin>"]),
        (body('<composite type="cable" count="9 1 1"/>'), ["<composite>"]),
        (body('<attach model="m" body="b" prefix="c"/>'), ["<attach>"]),
        (body('<geom size="1" pos="nan 0 0"/>'), ["<geom>", "line 1", "pos", "finite numbers"]),
        (body('<geom size="1" pos="1e8 0 0"/>'), ["finite place"]),
        (body('<joint range="1 x"/>'), ["range is '1 x'"]),
        (body('<joint limited="true" range="2 1"/>'), ["MuJoCo cannot read", "range"]),
        (body('<body name="a"/>'), ["MuJoCo cannot read", "a"]),
        ("<mujoco>" + "<worldbody>" * 300 + "</worldbody>" * 300 + "</mujoco>", ["not readable as XML"]),
    ],
)
def test_models_that_are_refused(folder: Path, text: str, words: list[str]) -> None:
    with pytest.raises(RobotError) as caught:
        read_mjcf(save(folder, text), "test")
    assert "\n" not in str(caught.value)
    for word in words:
        assert word in str(caught.value)


def test_mujoco_opens_no_file(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever a file names, the text for MuJoCo does not."""
    seen = []
    original = mujoco.MjSpec.from_string
    monkeypatch.setattr(mujoco.MjSpec, "from_string", lambda text: seen.append(text) or original(text))
    text = EVERYTHING.replace(
        "</asset>",
        '<hfield name="h" file="/etc/hosts"/><skin file="/etc/passwd"/><model name="x" file="/etc/shadow"/></asset>'
        '<extension><plugin plugin="a.b"/></extension><visual><map/></visual>',
    ).replace("<camera", '<geom type="hfield" hfield="h"/><camera')
    read_mjcf(save(folder, text), "test")
    assert "file" not in seen[0] and "plugin" not in seen[0] and "/etc" not in seen[0]


def test_without_mujoco_the_message_says_what_to_install(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    original = builtins.__import__

    def without(name: str, *args: Any, **kwargs: Any) -> Any:
        if name == "mujoco":
            raise ImportError(name)
        return original(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(RobotError, match=r'pip install "urdfit\[mjcf\]"'):
        read_mjcf(save(folder, EVERYTHING), "test")
