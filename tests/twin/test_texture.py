"""Textures: charts that hold every triangle once, colours that are those of the pictures, files that keep them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import trimesh

from pose.raster import rasterize
from twin import Mesh, Observation, TwinError
from twin.charts import lay_out
from twin.objects import make_body
from twin.picture import draw, looking
from twin.texture import bake, textured
from twin.visible import depth_picture

EYES = ((0.5, 0.1, 0.4), (-0.4, 0.4, 0.4), (-0.2, -0.5, 0.4))


def _ball(subdivisions: int = 4) -> Mesh:
    shape = trimesh.creation.icosphere(subdivisions, 0.06)
    return Mesh(np.asarray(shape.vertices) + np.array([0, 0, 0.06]), np.asarray(shape.faces, np.int32))


def _striped(mesh: Mesh) -> Mesh:
    stripes = (np.sin(200 * mesh.vertices[:, 2]) > 0)[:, None]
    return replace(mesh, colors=np.where(stripes, (220, 60, 40), (30, 90, 200)).astype(np.uint8))


def _painted() -> tuple[Mesh, list[Observation]]:
    """A coarse ball and pictures of it with stripes finer than its triangles."""
    fine = _striped(_ball(6))
    cameras = [looking(eye, (0, 0, 0.06), (320, 240), 500) for eye in EYES]
    views = [Observation(camera, draw([fine], camera).image, view=v) for v, camera in enumerate(cameras)]
    return _ball(3), views


def _apart(mesh: Mesh, view: Observation) -> float:
    drawn = draw([mesh], view.camera)
    both = (drawn.depth > 0) & (view.image.max(-1) > 0)
    return float(np.abs(drawn.image[both].astype(float) - view.image[both]).mean())


def test_charts_hold_every_triangle_once():
    mesh = _ball()
    charts = lay_out(mesh, 0.002)
    assert (charts.vertices[charts.faces] == mesh.faces).all()
    height, width = charts.size
    assert (charts.at >= 1).all() and (charts.at < [width - 1, height - 1]).all()
    face = rasterize(charts.at.astype(np.float32), np.ones(len(charts.at), np.float32), charts.faces, height, width)[0]
    corners = charts.at[charts.faces]
    d, e = corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]
    area = np.abs(d[:, 0] * e[:, 1] - d[:, 1] * e[:, 0]).sum() / 2
    assert (face >= 0).sum() == pytest.approx(area, rel=0.02)  # nothing lies over anything else
    flat = area * 0.002**2
    assert 0.55 < flat / (4 * np.pi * 0.06**2) <= 1


def test_a_texture_looks_like_the_pictures():
    mesh, views = _painted()
    depths = [depth_picture((mesh.vertices, mesh.faces), view.camera) for view in views]
    found = bake(mesh, views, depths)
    assert found is not None and found.colors is None and len(found.faces) == len(mesh.faces)
    by_texture = np.mean([_apart(found, view) for view in views])
    by_colors = np.mean([_apart(_striped(mesh), view) for view in views])  # the best that vertices can show
    assert by_texture < 12 and by_texture < 0.4 * by_colors
    hidden = [replace(view, ignore=np.ones(view.image.shape[:2], bool)) for view in views]
    assert bake(mesh, hidden, depths) is None


def test_what_stands_before_a_body_is_not_painted_on_it():
    mesh, views = _painted()
    wall = trimesh.creation.box((0.01, 0.3, 0.3))
    screen = Mesh(np.asarray(wall.vertices) + np.array([0.2, 0, 0.1]), np.asarray(wall.faces, np.int32), None)
    green = replace(screen, colors=np.tile(np.uint8((0, 250, 0)), (len(screen.vertices), 1)))
    first = views[0]
    before = draw([green], first.camera)
    image = np.where((before.depth > 0)[..., None], before.image, first.image)
    body = make_body("ball", mesh)
    (found,) = textured([body], green, [replace(first, image=image), *views[1:]])
    texture = found.visual.texture
    assert texture is not None and not ((texture[..., 1] > 200) & (texture[..., 0] < 100)).any()
    np.testing.assert_allclose(found.visual.vertices.min(0), body.visual.vertices.min(0), atol=1e-9)


@pytest.mark.parametrize("suffix", ["glb", "obj"])
def test_textures_are_read_back(tmp_path, suffix: str, monkeypatch):
    mesh, views = _painted()
    found = bake(mesh, views, [depth_picture((mesh.vertices, mesh.faces), view.camera) for view in views])
    assert found is not None
    if suffix == "obj":
        from twin.obj import write_obj

        write_obj(tmp_path / "ball.obj", found)
    else:
        found.save(tmp_path / "ball.glb")
    again = Mesh.load(tmp_path / f"ball.{suffix}")
    assert again.texture is not None and again.texture.shape == found.texture.shape
    assert np.abs(_apart(again, views[0]) - _apart(found, views[0])) < 0.5
    monkeypatch.setattr("twin.mesh.MOST_PIXELS", 100)
    with pytest.raises(TwinError, match="its texture has"):
        Mesh.load(tmp_path / f"ball.{suffix}")
