"""Mesh files found, read, coloured, reduced and cached."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import trimesh
from toy_urdf import link

from urdf import Robot, RobotError, RobotMesh, load_robot
from urdf.decimate import decimate
from urdf.meshes import importance, merge, open_edges, reduce
from urdf.meshfiles import load_mesh
from urdf.paths import Finder
from urdf.visibility import exposure

Write = Callable[..., Path]


def mesh_link(filename: str, extra: str = "") -> str:
    return link("a", f'<visual><geometry><mesh filename="{filename}" {extra}/></geometry></visual>')


@pytest.fixture
def box(tmp_path: Path) -> Path:
    path = tmp_path / "pkg" / "meshes" / "box.stl"
    path.parent.mkdir(parents=True)
    trimesh.creation.box(extents=(0.2, 0.4, 0.6)).export(path)
    return path


@pytest.mark.parametrize(
    "name", ["package://pkg/meshes/box.stl", "../meshes/box.stl", "meshes/box.stl", "file://{0}", "{0}",
             "package://renamed/meshes/box.stl", "package://outside/box.stl"]
)  # fmt: skip
def test_ways_to_name_a_mesh(write: Write, box: Path, name: str) -> None:
    path = write(mesh_link(name.format(box)))
    robot = load_robot(path, packages={"outside": box.parent})
    np.testing.assert_allclose(np.ptp(robot.mesh.vertices, axis=0), [0.2, 0.4, 0.6], atol=1e-6)
    assert len(robot.mesh.faces) == 12 and len(robot.mesh.vertices) == 8


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("package://pkg/meshes/gone.stl", ["was not found", "meshes/gone.stl", "link 'a'", "looked in"]),
        ("../../../../etc/box.stl", ["leaves"]),
        ("package://pkg/../../box.stl", ["leaves"]),
        ("../meshes/box.blend", ["was not found"]),
        ("robot.urdf", ["file type .urdf"]),
        ("http://example.org/box.stl", ["only package:// and file://"]),
        ("../meshes/empty.stl", ["meshes/empty.stl"]),
        ("x" * 5000 + ".stl", ["was not found"]),
        ("../meshes/points.ply", ["no triangle"]),
        ("../meshes/broken.dae", ["could not be read"]),
        ("../meshes/bomb.dae", ["document type"]),
        ("../meshes/nan.ply", ["not finite"]),
    ],
)
def test_meshes_that_are_refused(write: Write, box: Path, name: str, words: list[str]) -> None:
    (box.parent / "empty.stl").write_bytes(b"")
    trimesh.PointCloud(np.eye(3)).export(box.parent / "points.ply")
    (box.parent / "broken.dae").write_text("<COLLADA")
    (box.parent / "bomb.dae").write_text('<!DOCTYPE a [<!ENTITY a "b">]><COLLADA/>')
    broken = trimesh.Trimesh([[0, 0, 0], [1, 0, 0], [0, np.nan, 0]], [[0, 1, 2]], process=False)
    broken.export(box.parent / "nan.ply")
    with pytest.raises(RobotError) as caught:
        load_robot(write(mesh_link(name)))
    assert "\n" not in str(caught.value)
    for word in words:
        assert word in str(caught.value)


def test_huge_files_are_refused_unread(tmp_path: Path) -> None:
    huge = tmp_path / "huge.stl"
    with huge.open("wb") as stream:
        stream.truncate(2_000_000_000)  # sparse: takes no space
    with pytest.raises(RobotError, match="2000 MB"):
        Finder(tmp_path).find("huge.stl", "a")


def test_scale_mirror_and_colour(write: Write, box: Path) -> None:
    material = '<material name="m"><color rgba="1 0.5 0 1"/></material>'
    path = write(mesh_link("../meshes/box.stl", 'scale="0.5 -1 1"').replace("</visual>", f"{material}</visual>"))
    mesh = load_robot(path).mesh
    np.testing.assert_allclose(np.ptp(mesh.vertices, axis=0), [0.1, 0.4, 0.6], atol=1e-6)
    np.testing.assert_allclose(mesh.face_color, np.tile([1, 0.5, 0], (12, 1)))
    assert trimesh.Trimesh(mesh.vertices, mesh.faces).volume > 0  # the mirror left no inside-out faces


def test_collada_units_and_colours(write: Write, box: Path) -> None:
    scene = trimesh.creation.box(extents=(200, 400, 600))
    scene.visual = trimesh.visual.TextureVisuals(
        material=trimesh.visual.material.PBRMaterial(baseColorFactor=[255, 0, 0, 255])
    )
    data = scene.export(file_type="dae")
    text = (data if isinstance(data, str) else data.decode()).replace("<asset>", "<asset>", 1)
    assert "<unit" not in text or 'meter="1' in text
    for old in ('<unit name="meter" meter="1.0"/>', '<unit name="meter" meter="1"/>'):
        text = text.replace(old, "")
    text = text.replace("<up_axis>", '<unit name="millimeter" meter="0.001"/><up_axis>')
    (box.parent / "box.dae").write_text(text)
    mesh = load_robot(write(mesh_link("../meshes/box.dae"))).mesh
    np.testing.assert_allclose(np.ptp(mesh.vertices, axis=0), [0.2, 0.4, 0.6], atol=1e-6)
    np.testing.assert_allclose(mesh.face_color, np.tile([1, 0, 0], (12, 1)), atol=0.01)


def test_primitives(write: Write) -> None:
    shapes = ('<sphere radius="0.1"/>', '<cylinder radius="0.1" length="0.5"/>', '<box size="1 2 3"/>')
    for shape, size in zip(shapes, ([0.2, 0.2, 0.2], [0.2, 0.2, 0.5], [1, 2, 3])):
        robot = load_robot(write(link("a", f"<visual><geometry>{shape}</geometry></visual>")))
        np.testing.assert_allclose(np.ptp(robot.mesh.vertices, axis=0), size, rtol=0.01)


def test_another_budget(write: Write) -> None:
    robot = load_robot(write(link("a", '<visual><geometry><sphere radius="0.1"/></geometry></visual>')))
    coarse = robot.with_mesh_faces(200)
    assert len(robot.mesh.faces) == 1280 and 190 < len(coarse.mesh.faces) <= 200
    check_consistent(coarse.mesh, 1)
    with pytest.raises(RobotError, match="at least 100"):
        robot.with_mesh_faces(10)


def test_several_visuals_of_a_link(write: Write) -> None:
    one = '<visual><origin xyz="0 0 {}"/><geometry><box size="1 1 1"/></geometry></visual>'
    mesh = load_robot(write(link("a", one.format(0) + one.format(4)))).mesh
    assert len(mesh.faces) == 24 and np.ptp(mesh.vertices[:, 2]) == pytest.approx(5)


def test_panda_meshes_are_whole(panda: Robot) -> None:
    for mesh, most in ((panda.mesh, 3000), (panda.display_mesh, 30_000)):
        assert 0.95 * most < len(mesh.faces) <= most
        check_consistent(mesh, len(panda.link_names))
    assert panda.part_of_face.shape == (len(panda.mesh.faces),)
    drawn = {n for i, n in enumerate(panda.link_names) if (panda.mesh.face_link == i).sum() > 50}
    assert drawn == set(panda.link_names) - {"panda_link8", "panda_hand_tcp"}
    # the size of link1 in Franka's model: decimation keeps it
    points = panda.mesh.vertices[panda.mesh.vertex_link == panda.link_names.index("panda_link1")]
    np.testing.assert_allclose(np.ptp(points, axis=0), [0.110, 0.184, 0.247], atol=0.003)


def check_consistent(mesh: RobotMesh, links: int) -> None:
    assert mesh.vertices.dtype == np.float32 and mesh.faces.dtype == np.int32
    assert mesh.vertex_link.dtype == np.int32 and mesh.face_link.dtype == np.int32
    assert np.isfinite(mesh.vertices).all() and mesh.faces.max() == len(mesh.vertices) - 1
    assert (mesh.vertex_link[mesh.faces] == mesh.face_link[:, None]).all() and mesh.face_link.max() < links
    assert mesh.face_color.min() >= 0 and mesh.face_color.max() <= 1
    assert (np.sort(mesh.faces, axis=1)[:, :-1] != np.sort(mesh.faces, axis=1)[:, 1:]).all()


@pytest.mark.parametrize("target", [80, 300, 1000])
def test_decimation_keeps_the_shape(target: int) -> None:
    sphere = trimesh.creation.icosphere(subdivisions=4)
    points, faces, kept = decimate(sphere.vertices, sphere.faces, target)
    result = trimesh.Trimesh(points, faces[kept], process=True)
    assert kept.sum() <= target and kept.sum() > 0.95 * target
    assert result.is_watertight and result.is_winding_consistent
    assert result.volume == pytest.approx(sphere.volume, rel=6 / target)


def test_decimation_of_flat_ground_is_exact() -> None:
    box = trimesh.creation.box(extents=(1, 2, 3)).subdivide().subdivide().subdivide()
    points, faces, kept = decimate(box.vertices, box.faces, 12)
    result = trimesh.Trimesh(points, faces[kept], process=True)
    assert result.volume == pytest.approx(6) and result.is_watertight


def test_decimation_takes_meshes_as_they_come() -> None:
    """Triangle soup with doubled, degenerate and unconnected faces still meets the budget."""
    rng = np.random.default_rng(0)
    vertices, faces = rng.normal(size=(300, 3)), rng.integers(0, 300, (2000, 3))
    faces = np.concatenate(
        [faces[(faces[:, 0] != faces[:, 1]) & (faces[:, 1] != faces[:, 2]) & (faces[:, 0] != faces[:, 2])]] * 2
    )
    points, _, kept = decimate(vertices, faces, 150)
    assert kept.sum() <= 150 and np.isfinite(points).all()


def as_robot_mesh(*pieces: trimesh.Trimesh) -> RobotMesh:
    """One piece a link."""
    mesh = trimesh.util.concatenate(list(pieces))
    link = np.repeat(np.arange(len(pieces), dtype=np.int32), [len(p.vertices) for p in pieces])
    faces = np.asarray(mesh.faces, np.int32)
    return RobotMesh(
        np.asarray(mesh.vertices, np.float32), faces, link, link[faces[:, 0]], np.zeros((len(faces), 3), np.float32)
    )


def test_what_is_seen_from_outside() -> None:
    box = trimesh.creation.box(extents=(0.2, 0.2, 0.2)).subdivide().subdivide()
    inner = trimesh.creation.icosphere(subdivisions=2, radius=0.05)
    both = trimesh.util.concatenate([box, inner])
    seen, outline = exposure(np.asarray(both.vertices), np.asarray(both.faces))
    count = len(box.faces)
    assert (seen[:count] > 0).all() and (seen[count:] == 0).all() and (outline[count:] == 0).all()
    assert seen.sum() == pytest.approx(box.area / 4, rel=0.03)  # Cauchy: a convex body's mean shadow
    # the outline is where faces turn away: at the edges of the box
    middle = np.sort(np.abs(box.triangles_center), axis=1)[:, 1] < 0.05
    assert outline[:count][middle].sum() < 0.1 * outline.sum()


def test_hidden_parts_get_no_triangles() -> None:
    shell = trimesh.creation.icosphere(subdivisions=4, radius=0.1)
    motor = trimesh.creation.torus(0.05, 0.02, major_sections=64, minor_sections=32)
    whole = as_robot_mesh(trimesh.util.concatenate([shell, motor]))
    reduced = reduce(whole, 600, np.zeros(1, bool))
    radius = np.linalg.norm(reduced.vertices[reduced.faces].mean(axis=1), axis=1)
    assert (radius < 0.085).mean() < 0.15
    np.testing.assert_allclose(np.ptp(reduced.vertices, axis=0), 0.2, rtol=0.02)
    assert importance(whole)[: len(shell.faces)].sum() > 20 * importance(whole)[len(shell.faces) :].sum()


def test_cleaning() -> None:
    box = as_robot_mesh(trimesh.creation.box(), trimesh.creation.box())
    faces = np.concatenate([box.faces, box.faces[:3, ::-1], [[0, 0, 1], [2, 3, 2]]]).astype(np.int32)
    link = box.vertex_link[faces[:, 0]]
    spoiled = RobotMesh(
        np.concatenate([box.vertices, [[9, 9, 9]]]).astype(np.float32), faces, np.append(box.vertex_link, 1), link,
        np.zeros((len(faces), 3), np.float32),
    )  # fmt: skip
    clean = merge(spoiled, 1e-5)
    assert len(clean.faces) == 24 and len(clean.vertices) == 16  # links are not welded to each other
    check_consistent(clean, 2)
    assert open_edges(clean, 2).tolist() == [0, 0]
    far = merge(RobotMesh(spoiled.vertices * 1e5, faces, spoiled.vertex_link, link, spoiled.face_color), 1e-5)
    assert len(far.faces) == 24


def test_open_edges() -> None:
    whole = as_robot_mesh(trimesh.creation.box(), trimesh.creation.box())
    one_less = RobotMesh(whole.vertices, whole.faces[1:], whole.vertex_link, whole.face_link[1:], whole.face_color[1:])
    assert open_edges(one_less, 2).tolist() == [3, 0]


def scene_of(nodes: str) -> str:
    """COLLADA text of one triangle, drawn through nodes."""
    source = """<source id="s"><float_array id="f" count="9">0 0 0 1 0 0 0 1 0</float_array><technique_common>
        <accessor source="#f" count="3" stride="3"><param name="X" type="float"/><param name="Y" type="float"/>
        <param name="Z" type="float"/></accessor></technique_common></source>"""
    return f"""<COLLADA xmlns="http://www.collada.org/2005/11/COLLADASchema" version="1.4.1"><asset/>
        <library_geometries><geometry id="g"><mesh>{source}<vertices id="v"><input semantic="POSITION" source="#s"/>
        </vertices><triangles count="1"><input semantic="VERTEX" source="#v" offset="0"/><p>0 1 2</p></triangles>
        </mesh></geometry></library_geometries><library_nodes>{nodes}</library_nodes><library_visual_scenes>
        <visual_scene id="vs"><node><instance_node url="#n0"/></node></visual_scene></library_visual_scenes>
        <scene><instance_visual_scene url="#vs"/></scene></COLLADA>"""


ONE = '<instance_geometry url="#g"/>'
TEN_EACH = "".join(
    f'<node id="n{i}">' + f'<instance_node url="#n{i + 1}"/>' * 10 + "</node>" for i in range(12)
) + '<node id="n12"><instance_geometry url="#g"/></node>'  # fmt: skip
CORNERS = "v 0 0 0\nv 1 0 0\nv 0 1 0\n"


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("claim.stl", bytes(80) + (4_000_000_000).to_bytes(4, "little") + bytes(50), "no triangle"),
        ("none.stl", bytes(84), "no triangle"),
        ("far.obj", CORNERS + "f 1 2 999999999999\n", "could not be read"),
        ("below.obj", CORNERS + "f -1 -2 -300000\n", "could not be read"),
        ("large.obj", CORNERS.replace("1", "1e300") + "f 1 2 3\n", "not finite"),
        ("array.gltf", '{"accessors": [{"count": 4000000000}]}', "4000000000 elements"),
        ("loop.gltf", '{"scenes": [{"nodes": [0]}], "nodes": [{"children": [0]}]}', "below itself"),
        ("deep.gltf", "[" * 100_000, "could not be read"),
        ("loop.dae", scene_of('<node id="n0"><instance_node url="#n0"/></node>'), "below itself"),
        ("bomb.dae", scene_of(TEN_EACH), "times"),
    ],
)
def test_hostile_mesh_files(tmp_path: Path, name: str, content: str | bytes, words: str) -> None:
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(RobotError, match=words):
        load_mesh(path, "test")


def test_scenes_that_use_a_mesh_twice(tmp_path: Path) -> None:
    path = tmp_path / "two.dae"
    path.write_text(scene_of(f'<node id="n0">{ONE}<node><translate>0 0 1</translate>{ONE}</node></node>'))
    assert len(load_mesh(path, "test").faces) == 2


def test_binary_and_text_stl_are_the_same(tmp_path: Path) -> None:
    mesh = trimesh.creation.icosphere(subdivisions=1)
    mesh.export(tmp_path / "a.stl")
    (tmp_path / "b.stl").write_text(str(mesh.export(file_type="stl_ascii")))
    a, b = (load_mesh(tmp_path / f"{n}.stl", "test") for n in "ab")
    np.testing.assert_allclose(a.vertices[a.faces], b.vertices[b.faces], atol=1e-6)


def test_cache_round_trip(write: Write, cache: Path, box: Path) -> None:
    path = write(mesh_link("../meshes/box.stl"))
    first = load_robot(path).mesh
    files = list(cache.glob("mesh-*.npz"))
    again = load_robot(path).mesh
    assert list(cache.glob("mesh-*.npz")) == files and not list(cache.glob(".*"))
    for name in ("vertices", "faces", "vertex_link", "face_link", "face_color"):
        np.testing.assert_array_equal(getattr(first, name), getattr(again, name))
    # damage is repaired, a changed mesh file is seen
    for file in files:
        file.write_bytes(b"no npz")
    np.testing.assert_array_equal(load_robot(path).mesh.vertices, first.vertices)
    trimesh.creation.box(extents=(1, 1, 1)).export(box)
    np.testing.assert_allclose(np.ptp(load_robot(path).mesh.vertices, axis=0), 1, atol=1e-6)


def test_a_cache_that_cannot_be_written_is_no_error(
    write: Write, box: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("")
    monkeypatch.setenv("URDFIT_CACHE", str(blocked / "cache"))
    assert len(load_robot(write(mesh_link("../meshes/box.stl"))).mesh.faces) == 12
