"""Objects out of a fused scene: found, closed, heavy as they should be, standing where they stand."""

import json
import time
from dataclasses import replace
from importlib.util import find_spec

import numpy as np
import pytest
import trimesh

from twin.collision import CollisionSettings, convex_hull, convex_pieces
from twin.errors import TwinError
from twin.mesh import Mesh
from twin.object_edits import apply_edits, read_edits, write_edits
from twin.object_masks import masked_triangles, track_instances
from twin.objects import ObjectSettings, make_body, split_scene
from twin.observation import Observation
from twin.planes import Plane, find_planes
from twin.sample import sample_cameras, sample_scene
from twin.scene import Scene
from twin.solid import close_solid
from twin.tsdf import TsdfSettings, fuse_depth
from twin.visible import depth_picture, join

QUICK = ObjectSettings(collision=CollisionSettings(convex=0.0), voxel=0.005)  # one hull each


@pytest.fixture(scope="module")
def truth() -> Scene:
    cameras = {n: replace(c, distortion=()) for n, c in sample_cameras(0.5).items()}
    return sample_scene().truth(None, cameras)


@pytest.fixture(scope="module")
def fused(truth) -> Mesh:
    """What exact depth pictures of three cameras give."""
    meshes = [truth.background, *(b.visual.transformed(b.T_base_body) for b in truth.bodies)]
    surface = join((m.vertices, m.faces) for m in meshes)
    views = []
    for camera in truth.cameras.values():
        grey = np.full((camera.height, camera.width, 3), 120, np.uint8)
        views.append(Observation(camera, grey, depth_picture(surface, camera)))
    return fuse_depth(views, TsdfSettings(voxel=0.005, bounds=((-0.4, -0.8, -0.1), (1.3, 0.8, 0.5))))


@pytest.fixture(scope="module")
def split(fused):
    return split_scene(fused, QUICK)


def test_every_object_is_found_where_it_stands(split, truth):
    found = {b.name: b for b in split.bodies if not b.static}
    assert len(found) == len(truth.bodies) and split.warnings == ()
    for body in truth.bodies:
        at = body.T_base_body[:2, 3]
        nearest = min(found.values(), key=lambda b: np.linalg.norm(b.T_base_body[:2, 3] - at))
        assert np.linalg.norm(nearest.T_base_body[:2, 3] - at) < 0.015, body.name
        shape = nearest.visual.to_trimesh()
        assert shape.is_watertight and shape.volume > 0, body.name
        assert shape.volume == pytest.approx(body.mass / body.density, rel=0.35), body.name
        assert nearest.mass == pytest.approx(shape.volume * nearest.density, rel=1e-6)
        assert np.linalg.eigvalsh(nearest.inertia).min() > 0
        assert np.abs(nearest.T_base_body[:3, 2] - [0, 0, 1]).max() < 0.01  # stands upright
        assert shape.bounds[0, 2] == pytest.approx(0, abs=0.004)  # on the plane


def test_table_is_a_body_and_the_holes_are_closed(split, fused):
    table = split.bodies[0]
    assert table.static and table.name == "table" and len(table.collision) == 1
    top = table.collision[0].vertices[:, 2].max() + table.T_base_body[2, 3]
    assert top == pytest.approx(-0.001, abs=0.003)
    size = np.ptp(table.collision[0].vertices, axis=0)
    assert size[:2] == pytest.approx([1.6, 1.5], abs=0.06)
    under = trimesh.Trimesh(split.background.vertices, split.background.faces, process=False)
    for body in split.bodies[1:]:
        middle = body.T_base_body[:3, 3]
        on = np.abs(under.triangles_center - middle)
        assert (on.max(1) < 0.06).any(), body.name


def test_planes_of_a_tilted_table_and_of_none():
    grid = np.stack(np.meshgrid(np.linspace(-0.5, 0.5, 40), np.linspace(-0.4, 0.4, 40), indexing="ij"), -1).reshape(
        -1, 2
    )
    i = (np.arange(39)[:, None] * 40 + np.arange(39)).ravel()
    faces = np.concatenate([np.c_[i, i + 40, i + 1], np.c_[i + 1, i + 40, i + 41]]).astype(np.int32)
    noise = np.random.default_rng(0).normal(0, 0.001, len(grid))
    slope = np.tan(np.radians(4))
    tilted = Mesh(np.c_[grid, 0.3 + slope * grid[:, 0] + noise], faces)
    (plane,) = find_planes(tilted)
    assert np.degrees(np.arccos(plane.normal @ [-np.sin(np.radians(4)), 0, np.cos(np.radians(4))])) < 0.2
    assert plane.z(np.zeros((1, 2)))[0] == pytest.approx(0.3, abs=1e-3) and plane.area == pytest.approx(0.8, rel=0.1)
    upside_down = replace(tilted, faces=faces[:, ::-1])
    assert find_planes(upside_down) == []
    assert split_scene(upside_down, QUICK).warnings == (
        "no level surface was found: objects are told apart only where they have masks",
    )


def test_named_triangles_make_an_object_of_that_name(fused, truth):
    """Masks join what clustering would part, and name it."""
    can = next(np.asarray(b.T_base_body[:2, 3]) for b in truth.bodies if b.name == "can")
    middle = fused.vertices[fused.faces].mean(1)
    own = (np.linalg.norm(middle[:, :2] - can, axis=1) < 0.07) & (middle[:, 2] > 0.008)
    split = split_scene(fused, QUICK, masked={"soup": own})
    soup = next(b for b in split.bodies if b.name == "soup")
    assert np.linalg.norm(soup.T_base_body[:2, 3] - can) < 0.01
    assert len([b for b in split.bodies if not b.static]) == len(truth.bodies)


def _object_masks(truth: Scene) -> list[tuple]:
    """True masks of two objects in every picture."""
    meshes = {b.name: b.visual.transformed(b.T_base_body) for b in truth.bodies}
    everything = join((m.vertices, m.faces) for m in [truth.background, *meshes.values()])
    views = []
    for camera in truth.cameras.values():
        nearest = depth_picture(everything, camera)
        masks = {}
        for name in ("bowl", "toy"):
            alone = depth_picture((meshes[name].vertices, meshes[name].faces), camera)
            masks[name] = (alone > 0) & (alone < nearest + 1e-4)
        views.append((camera, masks))
    return views


def test_masks_are_carried_onto_the_surface(fused, truth):
    found = masked_triangles(fused, _object_masks(truth))
    assert set(found) == {"bowl", "toy"}
    middle = fused.vertices[fused.faces].mean(1)
    for name, own in found.items():
        at = next(b.T_base_body[:3, 3] for b in truth.bodies if b.name == name)
        assert np.linalg.norm(np.median(middle[own], axis=0)[:2] - at[:2]) < 0.02
        assert (np.linalg.norm(middle[own, :2] - at[:2], axis=1) < 0.12).mean() > 0.97
    assert not (found["bowl"] & found["toy"]).any()


def test_instances_are_tracked_by_geometry(fused, truth):
    """Every picture numbers its masks as it likes; after tracking one thing has one name."""
    views = _object_masks(truth)
    mixed = [(c, dict(zip(("a", "b"), list(m.values())[:: -1 if v % 2 else 1]))) for v, (c, m) in enumerate(views)]
    tracked = track_instances(fused, mixed)
    assert {name for masks in tracked for name in masks} == {"instance_0", "instance_1"}
    for (_, masks), named in zip(views, tracked):
        assert (named["instance_0"] == masks["bowl"]).all() and (named["instance_1"] == masks["toy"]).all()


def test_masks_of_other_sizes_are_refused(fused, truth):
    camera = truth.cameras["front"]
    with pytest.raises(TwinError, match="5x4 pixels"):
        masked_triangles(fused, [(camera, {"cup": np.zeros((4, 5), bool)})])
    assert masked_triangles(fused, [(camera, {})]) == {} and track_instances(fused, []) == []


def test_remains_of_the_robot_are_no_objects(fused, truth):
    toy = next(b for b in truth.bodies if b.name == "toy")
    points = toy.visual.transformed(toy.T_base_body).vertices
    split = split_scene(fused, QUICK, keep_out=points)
    assert len([b for b in split.bodies if not b.static]) == len(truth.bodies) - 1


def _ell() -> Mesh:
    shape = trimesh.creation.extrude_triangulation(
        np.array([[0, 0], [0.2, 0], [0.2, 0.05], [0.05, 0.05], [0.05, 0.2], [0, 0.2]]),
        np.array([[0, 1, 2], [0, 2, 3], [0, 3, 4], [0, 4, 5]]), 0.05,
    )  # fmt: skip
    return Mesh(np.asarray(shape.vertices), np.asarray(shape.faces, np.int32))


@pytest.mark.skipif(find_spec("coacd") is None, reason="needs coacd")
def test_an_ell_is_two_pieces():
    ((pieces, said),) = convex_pieces([_ell()])
    assert said == "" and 2 <= len(pieces) <= 3
    total = sum(p.to_trimesh().volume for p in pieces)
    assert total == pytest.approx(_ell().to_trimesh().volume, rel=0.1)
    assert all(p.to_trimesh().is_convex for p in pieces)


@pytest.mark.skipif(find_spec("coacd") is None, reason="needs coacd")
def test_out_of_time_is_one_hull_and_said():
    """The time is one for all bodies, however many; convex ones need none of it."""
    ball = trimesh.creation.icosphere(2, 0.05)
    solid = Mesh(np.asarray(ball.vertices), np.asarray(ball.faces, np.int32))
    start = time.monotonic()
    found = convex_pieces([solid, *[_ell()] * 20], CollisionSettings(seconds=0.02))
    assert time.monotonic() - start < 3
    assert [len(pieces) for pieces, _ in found] == [1] * 21
    assert found[0][1] == "" and all("all bodies took more than 0.02 s" in said for _, said in found[1:])


@pytest.mark.skipif(find_spec("coacd") is None, reason="needs coacd")
def test_the_body_with_the_emptiest_hull_comes_first():
    small = replace(_ell(), vertices=_ell().vertices * 0.2)
    tried: list[float] = []

    def once(mesh: Mesh, settings: CollisionSettings, seconds: float):
        tried.append(float(np.ptp(mesh.vertices[:, 0])))
        return (), "not today"

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("twin.collision._decomposed", once)
        found = convex_pieces([small, _ell()])
    assert tried == pytest.approx([0.2, 0.04]) and [said for _, said in found] == ["not today"] * 2


def test_convex_things_need_no_decomposition():
    ball = trimesh.creation.icosphere(3, 0.05)
    ((pieces, said),) = convex_pieces([Mesh(np.asarray(ball.vertices), np.asarray(ball.faces, np.int32))])
    assert said == "" and len(pieces) == 1 and len(pieces[0].vertices) <= 60
    with pytest.raises(TwinError, match="convex hull"):
        convex_hull(Mesh(np.eye(3), np.array([[0, 1, 2]], np.int32)))


def test_edits_round_trip_and_scale(split, tmp_path):
    path = tmp_path / "objects.json"
    write_edits(path, split.bodies)
    same, said = apply_edits(split.bodies, read_edits(path))
    assert said == () and [b.mass for b in same] == [b.mass for b in split.bodies]
    data = json.loads(path.read_text())
    data["object_0"] |= {"name": "carton", "material": "cardboard"}
    data["object_1"] |= {"density": 1000.0}
    data["object_2"] |= {"drop": True}
    data["nobody"] = {}
    path.write_text(json.dumps(data))
    edited, said = apply_edits(split.bodies, read_edits(path))
    by_name = {b.name: b for b in edited}
    before = {b.name: b for b in split.bodies}
    assert by_name["carton"].density == 150.0 and by_name["carton"].mass == pytest.approx(before["object_0"].mass / 2)
    assert by_name["object_1"].inertia == pytest.approx(before["object_1"].inertia / 0.3)
    assert "object_2" not in by_name and said == ("nobody: no body of this name",)


@pytest.mark.parametrize(
    "text, message",
    [
        ("[]", "an object"), ("{", "JSON"), ('{"a": 1}', "an object"), ('{"a": {"mass": 1}}', "mass"),
        ('{"a": {"density": -1}}', "kg/m3"), ('{"a": {"density": NaN}}', "kg/m3"),
        ('{"a": {"name": "../x"}}', "letters"),
        ('{"a": {"static": 1}}', "true or false"), ('{"a": {"friction": "x"}}', "0 to 10"),
    ],
)  # fmt: skip
def test_bad_edits(tmp_path, text, message):
    path = tmp_path / "objects.json"
    path.write_text(text)
    with pytest.raises(TwinError, match=message):
        read_edits(path)
    with pytest.raises(TwinError, match="no such file"):
        read_edits(tmp_path / "absent.json")


def test_two_bodies_of_one_name(split, tmp_path):
    path = tmp_path / "objects.json"
    path.write_text('{"object_0": {"name": "object_1"}}')
    with pytest.raises(TwinError, match="two bodies"):
        apply_edits(split.bodies, read_edits(path))


def test_what_ends_above_the_plane_is_made_to_stand_on_it():
    """Hulls of outlines begin a little above the plane, and may be eaten away below."""
    box = trimesh.creation.box((0.1, 0.06, 0.08))
    hull = Mesh(np.asarray(box.vertices) + np.array([0, 0, 0.052]), np.asarray(box.faces, np.int32))
    outline = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1.0]])
    solid = close_solid(hull, Plane(np.array([0, 0, 1.0]), 0.0, outline, 4.0)).to_trimesh()
    assert solid.is_watertight and solid.bounds[0, 2] == pytest.approx(0, abs=0.002)
    assert solid.volume == pytest.approx(0.1 * 0.06 * 0.092, rel=0.08)


def test_flat_and_empty_things_are_no_bodies():
    flat = Mesh(np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0.0]]), np.array([[0, 1, 2]], np.int32))
    with pytest.raises(TwinError):
        make_body("flat", flat)
    with pytest.raises(TwinError, match="density"):
        make_body("ell", _ell(), settings=replace(QUICK, density=-1.0))
