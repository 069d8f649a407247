"""Textures of bodies from the pictures that see them.

Each pixel of the texture is a place on the surface, and takes the mean of the pictures in which it shows, those first
that look squarely and from near (Debevec et al., "Modeling and rendering architecture from photographs", 1996). A
picture's share fades towards where it no longer sees the surface, so that no seams show.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import cv2
import numpy as np
from scipy.sparse import coo_matrix, csr_matrix
from scipy.spatial import cKDTree

from pose.raster import rasterize
from twin.charts import Charts, lay_out
from twin.hull_color import vertex_normals
from twin.mesh import Mesh
from twin.observation import Observation
from twin.picture import corner_shares
from twin.scene import Body
from twin.visible import depth_picture, join

VIEWS = 12  # most pictures that are looked at
FINEST, MOST = 0.0005, 600_000  # metres a pixel; pixels of one texture
FADE = 6  # vertices over which a picture's share fades
SHARP = 4.0  # power of shares: the best picture counts most, mixed ones blur
BEHIND = 0.008  # metres behind the drawn surface at which a point still is that surface
RIM = 0.03  # metres by which what lies behind an edge is further away


def textured(bodies: Sequence[Body], background: Mesh | None, views: Sequence[Observation]) -> tuple[Body, ...]:
    """The bodies that are not static with textures; those that no picture sees stay as they are.

    Args:
        bodies, background: all that stands in the scene, and hides other things.
        views: clean pictures, placed and without distortion; `ignore` marks what is not known in them.
    """
    some = list(views)
    if len(some) > VIEWS:
        some = [some[i] for i in np.linspace(0, len(some) - 1, VIEWS).round().astype(int)]
    placed = [body.visual.transformed(np.asarray(body.T_base_body, float)) for body in bodies]
    whole = join([(m.vertices, m.faces) for m in placed + ([] if background is None else [background])])
    depths = [depth_picture(whole, view.camera) for view in some]
    done = []
    for body, mesh in zip(bodies, placed):
        found = None if body.static else bake(mesh, some, depths)
        if found is not None:
            back = np.linalg.inv(np.asarray(body.T_base_body, float))
            body = replace(body, visual=found.transformed(back))
        done.append(body)
    return tuple(done)


def bake(mesh: Mesh, views: Sequence[Observation], depths: Sequence[np.ndarray]) -> Mesh | None:
    """A mesh in the base frame with a texture in place of colours of its vertices; None where no picture shows it.

    Args:
        depths: (H,W) metres of the nearest surface in each view, 0 for none, see `depth_picture`.

    Returns:
        The mesh with vertices doubled where charts meet.
    """
    shares = _shares(mesh, views, depths)
    if not (shares > 0).any():
        return None
    charts = lay_out(mesh, _texel(mesh, views, shares))
    height, width = charts.size
    face = rasterize(charts.at.astype(np.float32), np.ones(len(charts.at), np.float32), charts.faces, height, width)[0]
    rows, columns = np.nonzero(face >= 0)
    corners = charts.faces[face[rows, columns]]
    mixed = corner_shares(charts.at[corners], np.ones(corners.shape), np.column_stack([columns, rows]))
    of = charts.vertices[corners]
    points = np.einsum("pc,pck->pk", mixed, mesh.vertices[of])
    total, weight = np.zeros((len(points), 3)), np.zeros(len(points))
    for n, view in enumerate(views):
        share = np.einsum("pc,pc->p", mixed, shares[of, n]) ** SHARP
        seen = share > 0
        if seen.any():
            total[seen] += share[seen, None] * _look(view, points[seen])
            weight += share
    known = weight > 1e-6 * weight.max()
    colors = np.empty((len(points), 3))
    colors[known] = total[known] / weight[known, None]
    # what nobody sees is coloured as what is nearest to it
    colors[~known] = colors[known][cKDTree(points[known]).query(points[~known])[1]]
    image = np.zeros((height, width, 3), np.uint8)
    image[rows, columns] = colors.round().clip(0, 255)
    return _mapped(mesh, charts, _bled(image, face >= 0))


def _shares(mesh: Mesh, views: Sequence[Observation], depths: Sequence[np.ndarray]) -> np.ndarray:
    """(V,views) how well each picture shows each vertex, 0 where it does not."""
    normals = vertex_normals(mesh)
    around = _around(mesh)
    shares = np.zeros((len(mesh.vertices), len(views)))
    for n, (view, depth) in enumerate(zip(views, depths)):
        camera = view.camera
        T = np.asarray(camera.T_cam_base, float)
        cam = mesh.vertices @ T[:3, :3].T + T[:3, 3]
        front = cam[:, 2] > 1e-3
        u, v = np.round(camera.project(np.where(front[:, None], cam, [0, 0, 1]))).astype(int).T
        inside = front & (u > 0) & (v > 0) & (u < camera.width - 1) & (v < camera.height - 1)
        u, v, z = u[inside], v[inside], cam[inside, 2]
        known = np.ones(depth.shape, bool) if view.ignore is None else ~view.ignore
        far = cv2.dilate(np.where(depth > 0, depth, 100.0).astype(np.float32), np.ones((3, 3), np.uint8))
        ray = np.linalg.inv(T)[:3, 3] - mesh.vertices[inside]
        square = np.einsum("ij,ij->i", normals[inside], ray) / np.maximum(np.linalg.norm(ray, axis=1), 1e-9)
        seen = (z < depth[v, u] + BEHIND) & known[v, u] & (square > 0.05)
        rim = np.where(far[v, u] > z + RIM, 0.1, 1.0)  # the pixel may show what is behind
        shares[inside, n] = np.where(seen, rim * square * camera.focal / z, 0)
        for _ in range(FADE):
            shares[:, n] = np.minimum(shares[:, n], around @ shares[:, n])
    return shares / max(float(shares.max()), 1e-12)


def _around(mesh: Mesh) -> csr_matrix:
    """(V,V) that gives every vertex the mean of itself and its neighbours."""
    a, b, c = mesh.faces.T
    count = len(mesh.vertices)
    own = np.arange(count)
    links = coo_matrix(
        (np.ones(6 * len(a) + count), (np.r_[a, b, b, c, c, a, own], np.r_[b, a, c, b, a, c, own])), (count, count)
    ).tocsr()
    links.data[:] = 1
    return csr_matrix(links.multiply(1 / links.sum(1)))


def _texel(mesh: Mesh, views: Sequence[Observation], shares: np.ndarray) -> float:
    """Metres a pixel of the texture: as fine as the best pictures, in no more pixels than there may be."""
    best = shares.argmax(1)
    seen = shares.max(1) > 0
    steps = []
    for n, view in enumerate(views):
        own = mesh.vertices[seen & (best == n)]
        T = np.asarray(view.camera.T_cam_base, float)
        steps.append((own @ T[2, :3] + T[2, 3]) / view.camera.focal)
    corners = mesh.vertices[mesh.faces]
    cross = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    area = float(np.linalg.norm(cross, axis=1).sum()) / 2
    return max(FINEST, 0.8 * float(np.median(np.concatenate(steps))), float(np.sqrt(1.5 * area / MOST)))


def _look(view: Observation, points: np.ndarray) -> np.ndarray:
    """(N,3) colours of a picture at points in the base frame, mixed from four pixels."""
    T = np.asarray(view.camera.T_cam_base, float)
    at = view.camera.project(points @ T[:3, :3].T + T[:3, 3]).astype(np.float32)
    wide = 8192  # cv2 takes no rows of more than 32767
    padded = np.resize(at, (-(-len(at) // wide) * wide, 2)).reshape(-1, wide, 2)
    found = cv2.remap(view.image, padded[..., 0], padded[..., 1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return found.reshape(-1, 3)[: len(at)].astype(float)


def _bled(image: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Pixels between charts take the colour of the nearest chart's edge."""
    _, label = cv2.distanceTransformWithLabels(
        (~known).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_5, labelType=cv2.DIST_LABEL_PIXEL
    )
    colors = np.zeros((label.max() + 1, 3), np.uint8)
    colors[label[known]] = image[known]
    return colors[label]


def _mapped(mesh: Mesh, charts: Charts, image: np.ndarray) -> Mesh:
    height, width = charts.size
    uv = (charts.at + 0.5) / (width, height)
    uv[:, 1] = 1 - uv[:, 1]
    return Mesh(mesh.vertices[charts.vertices], charts.faces, None, uv, image)
