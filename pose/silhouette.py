"""Differentiable silhouettes: how much of every pixel the robot, its arm and its gripper cover.

pixels = render_silhouette(robot, q, camera).robot      # (...,H,W) in [0,1]
((pixels - mask) ** 2).sum().backward()                 # fills q.grad, T_cam_base.grad, K.grad
"""

from __future__ import annotations

import weakref
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from pose.backends import get_backend
from pose.camera import Camera
from pose.errors import CameraError
from pose.raster import NEAR
from urdf.errors import RobotError

if TYPE_CHECKING:
    from urdf import Robot, RobotMesh


@dataclass(frozen=True)
class Silhouette:
    """Coverage of the pixels, (...,H,W) float32 in [0,1]; robot = arm + gripper. Also `silhouette["arm"]`."""

    robot: torch.Tensor
    arm: torch.Tensor
    gripper: torch.Tensor

    def __getitem__(self, part: str) -> torch.Tensor:
        if part not in ("robot", "arm", "gripper"):
            raise KeyError(part)
        return getattr(self, part)


def render_silhouette(robot: Robot, q: Any, camera: Camera, backend: str = "auto") -> Silhouette:
    """Coverage of every pixel by the robot and by each of its parts; what a nearer link hides does not count.

    Differentiable with respect to q, `camera.T_cam_base` and `camera.K`, each an array or a torch tensor with
    any leading batch axes that broadcast together. The result lies on the tensors' device. Lens distortion is
    applied to the vertices; edges between them stay straight. Triangles that reach nearer than 1 mm to the
    camera are not drawn.

    Args:
        robot: from `urdf.load_robot`; its `mesh` is drawn.
        q: (...,n) joint values in rad or m, in the order of `robot.joint_names`.
        camera: K (...,3,3) in pixels, T_cam_base (...,4,4) in metres.
        backend: `auto`, `cpu` or `pytorch3d`, see `pose.backends.get_backend`.

    Raises:
        RobotError: q has another number of joints.
        CameraError: T_cam_base is unknown, a matrix has another shape, the backend is unknown or not installed.
    """
    if camera.T_cam_base is None:
        raise CameraError("the camera has no T_cam_base; rendering needs the pose of the robot in the camera")
    given = q, camera.T_cam_base, camera.K
    values = [v if isinstance(v, torch.Tensor) else torch.as_tensor(np.asarray(v)) for v in given]
    device = next((v.device for v in values if v.device.type != "cpu"), values[0].device)
    dtype = torch.float32
    for v in values:
        dtype = torch.promote_types(dtype, v.dtype)
    q, T_cam_base, K = (v.to(device, dtype) for v in values)
    n = len(robot.joint_names)
    if q.ndim < 1 or q.shape[-1] != n:
        raise RobotError(f"q has shape {tuple(q.shape)}; robot {robot.name} needs {n} joint values in its last axis")
    for name, matrix, size in (("T_cam_base", T_cam_base, 4), ("K", K, 3)):
        if matrix.shape[-2:] != (size, size):
            raise CameraError(f"{name} has shape {tuple(matrix.shape)}, expected (...,{size},{size})")
    try:
        batch = torch.broadcast_shapes(q.shape[:-1], T_cam_base.shape[:-2], K.shape[:-2])
    except RuntimeError:
        raise CameraError(
            f"the batch axes of q {tuple(q.shape)}, T_cam_base {tuple(T_cam_base.shape)} and K {tuple(K.shape)} "
            "do not broadcast together"
        ) from None
    T_cam_link = T_cam_base[..., None, :, :] @ robot.forward_kinematics(q)
    T_cam_link = T_cam_link.expand(*batch, *T_cam_link.shape[-3:]).reshape(-1, *T_cam_link.shape[-3:])
    uv, z = project_vertices(robot.mesh, T_cam_link, K.expand(*batch, 3, 3).reshape(-1, 3, 3), camera.distortion)
    renderer = get_backend(backend, device)
    cover = renderer.coverage(uv, z, robot.mesh, robot.part_of_face, camera.height, camera.width)
    cover = cover.reshape(*batch, 2, camera.height, camera.width)
    arm, gripper = cover.unbind(-3)
    return Silhouette(arm + gripper, arm, gripper)


def project_vertices(
    mesh: RobotMesh, T_cam_link: torch.Tensor, K: torch.Tensor, distortion: tuple[float, ...] = ()
) -> tuple[torch.Tensor, torch.Tensor]:
    """Pixels uv (B,V,2) and depths z (B,V) in metres of the mesh's vertices, for T_cam_link (B,L,4,4) and K (B,3,3).

    Vertices nearer than 1 mm or behind the camera get a finite, meaningless uv; their z tells them.
    Source: OpenCV calib3d, the five-parameter Brown-Conrady model.
    """
    points = _spread(mesh, T_cam_link.shape[1], T_cam_link.dtype, T_cam_link.device)  # (4L,V)
    rows = T_cam_link[:, :, :3].transpose(1, 2).flatten(2)  # (B,3,4L)
    x, y, z = (rows @ points).unbind(1)
    scale = 1 / torch.where(z > NEAR, z, torch.ones_like(z))
    x, y = x * scale, y * scale
    if any(distortion):
        k1, k2, p1, p2, k3 = distortion
        r2 = (x * x + y * y).clamp(max=4.0)  # the polynomial is meaningless far outside the image
        radial = 1 + r2 * (k1 + r2 * (k2 + r2 * k3))
        x, y = (
            x * radial + 2 * p1 * x * y + p2 * (r2 + 2 * x * x),
            y * radial + p1 * (r2 + 2 * y * y) + 2 * p2 * x * y,
        )
    uv = K[:, :2, :2] @ torch.stack([x, y], 1) + K[:, :2, 2:]
    return uv.transpose(1, 2), z


_spreads: dict[tuple[int, torch.dtype, str], tuple[weakref.ref[Any], torch.Tensor]] = {}


def _spread(mesh: RobotMesh, links: int, dtype: torch.dtype, device: torch.device) -> torch.Tensor:
    """Homogeneous vertices, each in its link's four rows of a (4L,V) matrix: all links move in one product."""
    key = id(mesh), dtype, str(device)
    known = _spreads.get(key)
    if known is None or known[0]() is not mesh:
        count = len(mesh.vertices)
        spread = np.zeros((links, 4, count), np.float32)
        spread[mesh.vertex_link, :3, np.arange(count)] = mesh.vertices
        spread[mesh.vertex_link, 3, np.arange(count)] = 1
        matrix = torch.from_numpy(spread.reshape(4 * links, count)).to(device, dtype)
        known = _spreads[key] = (weakref.ref(mesh, lambda _: _spreads.pop(key, None)), matrix)
    return known[1]
