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
from urdf.paths import Finder

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
