"""The fit's inner loop: where a robot's links are, what the camera sees of them, and how that image moves.

A camera image of the robot changes with its parameters only along visible boundaries. Between two neighbouring
samples that see different parts, the nearer surface owns the boundary; its velocity there is known from its 3D
point, so the derivative of the coverage is a sum over such sample pairs (Reynolds transport theorem; the staircase
of sample pairs integrates n dl of the true boundary exactly in the limit). No search over mesh edges is needed.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit, prange

from pose.raster import NEAR, draw
from urdf import Robot

CAMERA_PARAMETERS = 7  # twist (3 rotations, 3 translations) of the camera's pose, then log focal length


class Model(NamedTuple):
    """A robot as plain arrays, for compiled code: kinematic tree, then triangles."""

    parent: np.ndarray  # (L,)
    origin: np.ndarray  # (L,4,4)
    axis: np.ndarray  # (L,3)
    kind: np.ndarray  # (L,) 0 fixed, 1 revolute, 2 prismatic
    q_index: np.ndarray  # (L,)
    multiplier: np.ndarray  # (L,)
    offset: np.ndarray  # (L,)
    vertices: np.ndarray  # (V,3) float32 in link frames
    vertex_link: np.ndarray  # (V,)
    faces: np.ndarray  # (F,3)
    face_link: np.ndarray  # (F,)
    face_part: np.ndarray  # (F,) 0 arm, 1 gripper; or whatever labels of links masks are given for


def make_model(robot: Robot, mesh=None, labels: np.ndarray | None = None) -> Model:
    """The arrays of a robot.

    `mesh` replaces its fitting mesh, for example by a coarser one; `labels` (L,) the parts of its links
    (`pose.targets.Targets.labels`).
    """
    mesh = robot.mesh if mesh is None else mesh
    tree = robot.tree
    part = np.array([0 if p == "arm" else 1 for p in robot.link_parts], np.int8) if labels is None else labels
    return Model(
        np.ascontiguousarray(tree.parent, np.int32),
        np.ascontiguousarray(tree.origin, np.float64),
        np.ascontiguousarray(tree.axis, np.float64),
        np.ascontiguousarray(tree.kind, np.int8),
        np.ascontiguousarray(tree.q_index, np.int32),
        np.ascontiguousarray(tree.multiplier, np.float64),
        np.ascontiguousarray(tree.offset, np.float64),
        np.ascontiguousarray(mesh.vertices, np.float32),
        np.ascontiguousarray(mesh.vertex_link, np.int32),
        np.ascontiguousarray(mesh.faces, np.int32),
        np.ascontiguousarray(mesh.face_link, np.int32),
        np.ascontiguousarray(part[mesh.face_link]),
    )


@njit(cache=True, nogil=True)
def link_poses(model, q, T_cam_base):
    """Poses (L,4,4) of every link in the camera, and of every joint before it moves (for its axis)."""
    count = model.parent.shape[0]
    T_cam_link = np.empty((count, 4, 4))
    T_cam_joint = np.empty((count, 4, 4))
    for link in range(count):
        if model.parent[link] < 0:
            joint = T_cam_base @ model.origin[link]
        else:
            joint = T_cam_link[model.parent[link]] @ model.origin[link]
        T_cam_joint[link] = joint
        value = model.offset[link]
        if model.q_index[link] >= 0:
            value += model.multiplier[link] * q[model.q_index[link]]
        motion = np.eye(4)
        x, y, z = model.axis[link, 0], model.axis[link, 1], model.axis[link, 2]
        if model.kind[link] == 1:
            c, s = np.cos(value), np.sin(value)
            d = 1.0 - c  # Rodrigues' formula
            motion[0, 0], motion[0, 1], motion[0, 2] = c + x * x * d, x * y * d - z * s, x * z * d + y * s
            motion[1, 0], motion[1, 1], motion[1, 2] = y * x * d + z * s, c + y * y * d, y * z * d - x * s
            motion[2, 0], motion[2, 1], motion[2, 2] = z * x * d - y * s, z * y * d + x * s, c + z * z * d
        elif model.kind[link] == 2:
            motion[0, 3], motion[1, 3], motion[2, 3] = x * value, y * value, z * value
        T_cam_link[link] = joint @ motion
    return T_cam_link, T_cam_joint


@njit(cache=True, nogil=True, fastmath=True)
def project(model, T_cam_link, K):
    """Pixel coordinates (V,2) and inverse depths (V,) of the vertices, float32."""
    count = model.vertices.shape[0]
    uv = np.empty((count, 2), np.float32)
    inv_z = np.empty(count, np.float32)
    for v in range(count):
        T = T_cam_link[model.vertex_link[v]]
        a, b, c = model.vertices[v, 0], model.vertices[v, 1], model.vertices[v, 2]
        z = T[2, 0] * a + T[2, 1] * b + T[2, 2] * c + T[2, 3]
        if z <= NEAR:
            uv[v, 0] = uv[v, 1] = inv_z[v] = 0.0
            continue
        w = 1.0 / z
        uv[v, 0] = K[0, 0] * (T[0, 0] * a + T[0, 1] * b + T[0, 2] * c + T[0, 3]) * w + K[0, 2]
        uv[v, 1] = K[1, 1] * (T[1, 0] * a + T[1, 1] * b + T[1, 2] * c + T[1, 3]) * w + K[1, 2]
        inv_z[v] = w
    return uv, inv_z


@njit(cache=True, nogil=True)
def see(model, q, T_cam_base, K, height, width, scale):
    """Which triangle each of scale*scale samples a pixel sees, and 1/z there."""
    T_cam_link, T_cam_joint = link_poses(model, q, T_cam_base)
    uv, inv_z = project(model, T_cam_link, K)
    face_id = np.full((height * scale, width * scale), -1, np.int32)
    inv_depth = np.zeros((height * scale, width * scale), np.float32)
    draw(uv, inv_z, model.faces, face_id, inv_depth, 0, height * scale, scale)
    return face_id, inv_depth, T_cam_joint


@njit(cache=True, nogil=True)
def coverage(face_id, face_part, channels, scale):
    """Covered share (C,H,W) of each pixel; channels (C,G) says what each label counts in a channel."""
    height, width = face_id.shape[0] // scale, face_id.shape[1] // scale
    out = np.zeros((channels.shape[0], height, width), np.float32)
    share = np.float32(1.0 / (scale * scale))
    for y in range(height * scale):
        for x in range(width * scale):
            f = face_id[y, x]
            if f >= 0:
                for c in range(channels.shape[0]):
                    out[c, y // scale, x // scale] += channels[c, face_part[f]] * share
    return out


@njit(cache=True, nogil=True)
def travel(model, link, X, Y, Z, gx, gy, gz, T_cam_joint, pivot, parameters, out):
    """How far a point of `link` at (X,Y,Z) in the camera moves along (gx,gy,gz), per parameter."""
    for k in range(parameters):
        out[k] = 0.0
    # camera twist about the pivot: a point moves by omega x (P - pivot) + v
    px, py, pz = X - pivot[0], Y - pivot[1], Z - pivot[2]
    out[0] = -pz * gy + py * gz
    out[1] = pz * gx - px * gz
    out[2] = -py * gx + px * gy
    out[3], out[4], out[5] = gx, gy, gz
    out[6] = gx * X + gy * Y  # a longer focal length moves a point's picture outward
    while link >= 0:
        k = model.q_index[link]
        if k >= 0 and model.kind[link] > 0:
            T = T_cam_joint[link]
            a, b, c = model.axis[link, 0], model.axis[link, 1], model.axis[link, 2]
            ax = T[0, 0] * a + T[0, 1] * b + T[0, 2] * c
            ay = T[1, 0] * a + T[1, 1] * b + T[1, 2] * c
            az = T[2, 0] * a + T[2, 1] * b + T[2, 2] * c
            if model.kind[link] == 1:
                rx, ry, rz = X - T[0, 3], Y - T[1, 3], Z - T[2, 3]
                speed = gx * (ay * rz - az * ry) + gy * (az * rx - ax * rz) + gz * (ax * ry - ay * rx)
            else:
                speed = gx * ax + gy * ay + gz * az
            out[7 + k] += model.multiplier[link] * speed
        link = model.parent[link]


@njit(cache=True, nogil=True)
def _velocity(model, link, X, Y, Z, T_cam_joint, horizontal, K, pivot, parameters, out):
    """Image velocity, along x or y, of a point of `link` at (X,Y,Z) in the camera, per parameter."""
    w = 1.0 / Z
    # d(pixel)/d(point) along the asked axis
    if horizontal:
        gx, gy, gz = K[0, 0] * w, 0.0, -K[0, 0] * X * w * w
    else:
        gx, gy, gz = 0.0, K[1, 1] * w, -K[1, 1] * Y * w * w
    travel(model, link, X, Y, Z, gx, gy, gz, T_cam_joint, pivot, parameters, out)


@njit(cache=True, parallel=True, nogil=True)
def overlaps(model, qs, Ts_cam_base, Ks, targets, frame, channels):
    """Soft intersection over union (N,C) of N hypotheses with low-resolution masks targets (T,C,H,W).

    Hypothesis i has joints qs[i], pose Ts_cam_base[i], intrinsics Ks[i] and belongs to frame[i].
    """
    count = qs.shape[0]
    height, width = targets.shape[2], targets.shape[3]
    out = np.zeros((count, channels.shape[0]))
    for i in prange(count):
        face_id, _, _ = see(model, qs[i], Ts_cam_base[i], Ks[i], height, width, 1)
        target = targets[frame[i]]
        for c in range(channels.shape[0]):
            both, either = 0.0, 1e-6
            for y in range(height):
                for x in range(width):
                    f = face_id[y, x]
                    value = channels[c, model.face_part[f]] if f >= 0 else 0.0
                    mask = target[c, y, x]
                    both += min(value, mask)
                    either += max(value, mask)
            out[i, c] = both / either
    return out
