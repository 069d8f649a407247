import numpy as np
import trimesh
from hypothesis import given, settings
from hypothesis import strategies as st

from pose import Camera
from pose.raster import inverse_depth, rasterize


@settings(deadline=None, max_examples=20)
@given(st.integers(0, 10_000))
def test_agrees_with_ray_casting(seed):
    """Every pixel sees the triangle and depth that a brute-force ray does, edges aside."""
    rng = np.random.default_rng(seed)
    mesh = trimesh.creation.icosphere(subdivisions=1, radius=0.5)
    vertices = mesh.vertices * rng.uniform(0.5, 1.5, 3) + [rng.uniform(-0.5, 0.5), rng.uniform(-0.5, 0.5), 2]
    camera = Camera.from_focal(24, 18, 20.0)
    face_id, inv_depth = rasterize(
        camera.project(vertices), inverse_depth(vertices[:, 2]), mesh.faces, camera.height, camera.width
    )
    v, u = np.mgrid[: camera.height, : camera.width]
    rays = np.stack([(u - camera.K[0, 2]) / 20, (v - camera.K[1, 2]) / 20, np.ones_like(u, float)], -1)
    best = np.full(u.shape, np.inf)
    for a, b, c in vertices[mesh.faces]:
        M = np.linalg.inv(np.stack([a, b, c], 1))
        weights = rays @ M.T  # ray = sum of weights of the corners
        inside = (weights > 1e-9).all(-1)
        best = np.minimum(best, np.where(inside, 1 / weights.sum(-1), np.inf))
    seen = np.isfinite(best)
    assert (seen == (face_id >= 0)).mean() > 0.995
    both = seen & (face_id >= 0)
    np.testing.assert_allclose(1 / inv_depth[both], best[both], rtol=1e-4)


def test_triangles_behind_the_camera_are_not_drawn():
    uv = np.array([[0.0, 0], [9, 0], [0, 9]], np.float32)
    z = np.array([1.0, 1.0, -1.0])
    face_id, _ = rasterize(uv, inverse_depth(z), np.array([[0, 1, 2]]), 10, 10)
    assert (face_id == -1).all()


def test_batches_and_sampling():
    uv = np.array([[0.0, 0], [7, 0], [0, 7]], np.float32)
    one, _ = rasterize(uv, np.ones(3), np.array([[0, 1, 2]]), 8, 8, scale=4)
    two, _ = rasterize(np.stack([uv, uv + 100]), np.ones((2, 3)), np.array([[0, 1, 2]]), 8, 8, scale=4)
    np.testing.assert_array_equal(one, two[0])
    assert (two[1] == -1).all()
    assert abs((one >= 0).mean() * 64 - 24.5) < 1  # the triangle's area in pixels
