"""A fit by masks sharpened by the pictures themselves: the robot's outline is pulled onto edges near it.

Masks of a network are off by a pixel or two, all the same way; the robot's own edges in the picture are not. From every
point of the drawn outline the picture is searched along the normal for its strongest edge nearby, and all cameras and
joints are moved together until the outline sits there: RAPID (Harris and Stennett 1990), in the robust form of Drummond
and Cipolla (2002, "Real-time visual tracking of complex structures"), over many pictures and a kinematic chain.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np
from numba import njit

from pose.bundle import Free, Look, State, assemble, pivot_points, stepped
from pose.camera import Camera
from pose.errors import FitError
from pose.kernel import CAMERA_PARAMETERS, Model, _velocity, make_model, see
from pose.priors import Priors
from pose.solver import CHANNELS, SHARED, Equations, View, parallel
from urdf import Robot

REACH = (8.0, 8.0, 5.0, 5.0, 3.0, 3.0, 2.0, 2.0, 2.0)  # pixels at 640 of width that edges are looked for away
SMOOTH = 1.2  # pixels of blur before gradients are taken
FAINT = 8.0  # grey levels a pixel: weaker edges hardly count
JUMP = 0.02  # relative change of depth between two links that makes an edge between them
NOISE = 1.5  # pixels: error of an edge; neighbours on the outline err together
HELD = 0.15  # rad or m: how far joints may go from the start
STEPS = 6  # samples a reach, each way


@dataclass(frozen=True)
class Edges:
    """Gradients (H,W,2) float32 of a picture: in every pixel those of the colour that changes most."""

    gradient: np.ndarray

    @classmethod
    def of(cls, picture: np.ndarray) -> Edges:
        """From (H,W,3) or (H,W) uint8."""
        smooth = cv2.GaussianBlur(picture, (0, 0), SMOOTH).astype(np.float32)
        smooth = smooth.reshape(*picture.shape[:2], -1)
        x, y = ((np.roll(smooth, -1, a) - np.roll(smooth, 1, a)) / 2 for a in (1, 0))
        strongest = (x**2 + y**2).argmax(2)[..., None]
        gradient = np.concatenate([np.take_along_axis(g, strongest, 2) for g in (x, y)], 2)
        gradient[:2] = gradient[-2:] = gradient[:, :2] = gradient[:, -2:] = 0
        return cls(np.ascontiguousarray(gradient, np.float32))


@njit(cache=True, nogil=True)
def _points(model, face_id, inv_depth, slope, T_cam_joint, K, pivot, parameters):
    """Points (N,4: x, y, nx, ny) of the visible outline, of the robot and of links before others, and J (N,P)."""
    height, width = face_id.shape
    mark = np.zeros((height, width), np.bool_)
    for y in range(2, height - 2):
        for x in range(2, width - 2):
            for direction in range(2):
                xb, yb = (x + 1, y) if direction == 0 else (x, y + 1)
                fa, fb = face_id[y, x], face_id[yb, xb]
                if (fa < 0 and fb < 0) or (fa >= 0 and fb >= 0 and model.face_link[fa] == model.face_link[fb]):
                    continue
                a, b = inv_depth[y, x], inv_depth[yb, xb]
                if abs(a - b) < JUMP * max(a, b):
                    continue
                if a >= b:
                    mark[y, x] = True
                else:
                    mark[yb, xb] = True
    count = mark.sum()
    points, J = np.zeros((count, 4)), np.zeros((count, parameters))
    across, down = np.empty(parameters), np.empty(parameters)
    n = 0
    for y in range(height):
        for x in range(width):
            if not mark[y, x]:
                continue
            nx, ny = -slope[y, x, 0], -slope[y, x, 1]
            size = np.sqrt(nx * nx + ny * ny)
            if size < 1e-9:
                continue
            nx, ny = nx / size, ny / size
            Z = 1.0 / inv_depth[y, x]
            X, Y = (x - K[0, 2]) * Z / K[0, 0], (y - K[1, 2]) * Z / K[1, 1]
            link = model.face_link[face_id[y, x]]
            _velocity(model, link, X, Y, Z, T_cam_joint, True, K, pivot, parameters, across)
            _velocity(model, link, X, Y, Z, T_cam_joint, False, K, pivot, parameters, down)
            # the outline runs half a pixel outside the last pixel of the robot
            points[n, 0], points[n, 1], points[n, 2], points[n, 3] = x + 0.5 * nx, y + 0.5 * ny, nx, ny
            for k in range(parameters):
                J[n, k] = nx * across[k] + ny * down[k]
            n += 1
    return points[:n], J[:n]


@njit(cache=True, nogil=True)
def _along(gradient, points, reach, steps):
    """How far (N,) along its normal each point's edge lies, and how strong (N,) it is; strength 0: there is none."""
    height, width = gradient.shape[:2]
    count = points.shape[0]
    far, strength = np.zeros(count), np.zeros(count)
    profile = np.zeros(2 * steps + 1)
    for i in range(count):
        best, score = -1, 0.0
        for k in range(2 * steps + 1):
            d = (k - steps) * reach / steps
            x, y = points[i, 0] + d * points[i, 2], points[i, 1] + d * points[i, 3]
            ix, iy = int(np.floor(x)), int(np.floor(y))
            profile[k] = 0.0
            if ix < 0 or iy < 0 or ix >= width - 1 or iy >= height - 1:
                continue
            fx, fy = x - ix, y - iy
            value = 0.0
            for c in range(2):
                g = (1 - fy) * ((1 - fx) * gradient[iy, ix, c] + fx * gradient[iy, ix + 1, c]) + fy * (
                    (1 - fx) * gradient[iy + 1, ix, c] + fx * gradient[iy + 1, ix + 1, c]
                )
                value += g * points[i, 2 + c]
            profile[k] = abs(value)
        for k in range(1, 2 * steps):
            if profile[k] < profile[k - 1] or profile[k] < profile[k + 1]:
                continue
            here = profile[k] * np.exp(-0.5 * (1.5 * (k - steps) / steps) ** 2)  # what is near is more likely it
            if here > score:
                best, score = k, here
        if best < 0:
            continue
        left, top, right = profile[best - 1], profile[best], profile[best + 1]
        bend = left - 2 * top + right
        shift = 0.5 * (left - right) / bend if bend < 0 else 0.0
        far[i] = (best - steps + shift) * reach / steps
        strength[i] = top
    return far, strength


def pull(
    model: Model, q: np.ndarray, view: View, edges: Edges, reach: float, pivot: np.ndarray
) -> tuple[Equations, float]:
    """Normal equations of a picture, and its support: the mean weight of the outline's points.

    Args:
        view: at the picture's own size. reach: pixels.
    """
    height, width = edges.gradient.shape[:2]
    T, K = np.asarray(view.T_cam_base, float), view.K
    face_id, inv_depth, T_cam_joint = see(model, q, T, K, height, width, 1)
    soft = cv2.GaussianBlur(inv_depth, (0, 0), 1.5)
    slope = np.stack([cv2.Sobel(soft, cv2.CV_32F, 1, 0), cv2.Sobel(soft, cv2.CV_32F, 0, 1)], 2)
    points, motion = _points(model, face_id, inv_depth, slope, T_cam_joint, K, pivot, CAMERA_PARAMETERS + len(q))
    far, strength = _along(edges.gradient, points, reach, STEPS)
    weight = strength**2 / (strength**2 + FAINT**2) * np.exp(-0.5 * (1.5 * far / reach) ** 2)
    size = SHARED + len(q)
    J = np.zeros((len(points), size))
    J[:, :CAMERA_PARAMETERS], J[:, SHARED:] = motion[:, :CAMERA_PARAMETERS], motion[:, CAMERA_PARAMETERS:]
    lasting = 10 * width / 640  # neighbours on the outline err together over so many pixels
    w = weight / (NOISE**2 * lasting)
    return (
        Equations(float((w * far**2).sum()), J.T @ (w[:, None] * J), -J.T @ (w * far), float("nan")),
        float(weight.sum() / max(len(points), 1)),
    )


@dataclass(frozen=True, eq=False)
class Gallery:
    """Edges of the pictures of V views at T instants, None where there is no picture or no joints are known."""

    edges: tuple[tuple[Edges | None, ...], ...]

    @classmethod
    def of(cls, pictures: Sequence[Sequence[np.ndarray | None]], cameras: Sequence[Camera], q: np.ndarray) -> Gallery:
        """From (H,W,3) uint8 pictures without distortion of cameras with poses; joints q (T,n).

        Raises:
            FitError: cameras without a pose or with distortion, pictures of another size than their camera, or none.
        """
        if any(c.T_cam_base is None or any(c.distortion) for c in cameras):
            raise FitError("edges need cameras with a pose and pictures without distortion: straighten them first")
        known = np.isfinite(q).all(1)
        rows: list[tuple[Edges | None, ...]] = []
        for v, (view, camera) in enumerate(zip(pictures, cameras)):
            row: list[Edges | None] = []
            for t in range(len(q)):
                picture = view[t] if known[t] else None
                if picture is not None and picture.shape[:2] != (camera.height, camera.width):
                    raise FitError(
                        f"view {v}: a picture of {picture.shape[1]}x{picture.shape[0]} pixels, its camera has "
                        f"{camera.width}x{camera.height}"
                    )
                row.append(None if picture is None else Edges.of(picture))
            rows.append(tuple(row))
        if not any(e is not None for row in rows for e in row):
            raise FitError("no pictures at the instants whose joints are known")
        return cls(tuple(rows))

    def support(self, model: Model, cameras: Sequence[Camera], q: np.ndarray, instants: Sequence[int], reach: float):
        """Mean support of the outline at some instants, nothing moved; reach in pixels at 640 of width."""
        jobs = [(v, int(t)) for t in instants for v in range(len(cameras)) if self.edges[v][t] is not None]

        def one(i: int) -> float:
            v, t = jobs[i]
            edges = self.edges[v][t]
            assert edges is not None
            return pull(model, q[t], view_of(cameras[v]), edges, reach * cameras[v].width / 640, np.zeros(3))[1]

        return float(np.mean(parallel(one, range(len(jobs))))) if jobs else 0.0


def view_of(camera: Camera) -> View:
    """The camera at its own size."""
    return View(camera.width, camera.height, np.asarray(camera.K, float), np.asarray(camera.T_cam_base, float))


@dataclass(frozen=True)
class Aligned:
    """Cameras (V) and joints q (T,n) with the outline on the edges; support (V,T) before and after, 0..1."""

    cameras: tuple[Camera, ...]
    q: np.ndarray
    before: np.ndarray
    after: np.ndarray

    @property
    def support(self) -> float:
        """Mean over all pictures."""
        return float(np.nanmean(self.after))


def align_edges(
    robot: Robot,
    pictures: Sequence[Sequence[np.ndarray | None]] | Gallery,
    cameras: Sequence[Camera],
    q: np.ndarray,
    *,
    free_cameras: Sequence[bool] | np.ndarray | None = None,
    free_joints: np.ndarray | None = None,
    free_focal: bool = False,
    model: Model | None = None,
    reaches: Sequence[float] = REACH,
) -> Aligned:
    """Move cameras and joints until the robot's outline sits on the pictures' edges.

    Args:
        pictures: V views of T instants, (H,W,3) uint8 without distortion, None where there is none; or their gallery.
        cameras: V with T_cam_base, without distortion, right to a few pixels.
        q: (T,n) joints, likewise; rows of NaN are passed over.
        free_cameras: V; all by default. free_joints: (n,) bool; all by default. free_focal: whether the focal lengths
            of free cameras are found, too.
        model: that is drawn; by default the robot's finest mesh.
        reaches: pixels at 640 of width that edges are looked for away, step by step.

    Raises:
        FitError: see `Gallery.of`.
    """
    gallery = pictures if isinstance(pictures, Gallery) else Gallery.of(pictures, cameras, q)
    known = [int(t) for t in np.flatnonzero(np.isfinite(q).all(1))]
    model = make_model(robot, robot.display_mesh) if model is None else model
    lenses = tuple(view_of(camera) for camera in cameras)
    at = [(v, f) for f, t in enumerate(known) for v in range(len(cameras)) if gallery.edges[v][t] is not None]
    looks = [Look(np.zeros((1, 1, 1), np.float32), v, v, f) for v, f in at]
    start = State(q[known].astype(float), np.stack([lens.T_cam_base for lens in lenses]), lenses)
    moving = np.ones(len(cameras), bool) if free_cameras is None else np.asarray(free_cameras, bool)
    joints = np.ones(q.shape[1], bool) if free_joints is None else np.asarray(free_joints, bool)
    zoom = np.column_stack([moving & free_focal, np.zeros((len(cameras), CHANNELS), bool)])
    free = Free(np.repeat(moving[:, None], 6, axis=1), zoom, joints)
    flags = free.flags(start)
    rest = Priors((start.q.copy(), np.full(start.q.shape, 1 / HELD**2)), {})

    def look(state: State, reach: float, pivots: np.ndarray) -> list[tuple[Equations, float]]:
        def one(i: int) -> tuple[Equations, float]:
            v, f = at[i]
            edges = gallery.edges[v][known[f]]
            assert edges is not None
            return pull(model, state.q[f], state.view(looks[i]), edges, reach * cameras[v].width / 640, pivots[v])

        return parallel(one, range(len(looks)))

    def by_picture(state: State) -> np.ndarray:
        out = np.full((len(cameras), len(q)), np.nan)
        for (v, f), (_, support) in zip(at, look(state, reaches[-1], pivot_points(model, state, looks))):
            out[v, known[f]] = support
        return out

    state = start
    for reach in reaches:
        pivots = pivot_points(model, state, looks)
        H, g = assemble([e for e, _ in look(state, reach, pivots)], state, looks, rest, pivots)
        active = np.flatnonzero(flags & (np.diag(H) > 1e-9))
        A = H[np.ix_(active, active)]
        step = np.zeros(len(g))
        step[active] = -np.linalg.solve(A + 1e-4 * np.diag(np.diag(A)), g[active])
        state = stepped(state, step, pivots, free, (robot.lower, robot.upper))
    found = q.copy()
    found[known] = state.q
    posed = tuple(
        replace(camera, T_cam_base=T, K=lens.K) for camera, T, lens in zip(cameras, state.poses, state.lenses)
    )
    return Aligned(posed, found, by_picture(start), by_picture(state))
