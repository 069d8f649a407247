"""The Cramer-Rao bound: how well masks can tell camera, focal length and joints at best, whatever the method.

A mask tells where the visible outline runs. Each piece of it moves along its normal with the parameters (n . dp/dθ, as
in `pose.kernel`), and is measured with an error that is alike along the outline. With C the covariance of these
errors, the information is J^T C^-1 J, and its inverse bounds the covariance of every unbiased estimate (Kay,
Fundamentals of Statistical Signal Processing, vol. 1, eq. 3.31). No motion is assumed from frame to frame: a fit that
smooths over time may do better.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.linalg import cho_factor, cho_solve
from scipy.spatial.distance import cdist

from pose.camera import Camera
from pose.errors import FitError
from pose.kernel import CAMERA_PARAMETERS, Model, link_poses, make_model, see
from pose.look_kernel import boundary, label, pairs
from pose.mask_code import PARTS
from pose.solver import CHANNELS, OFFSET, SHARED, parallel
from pose.uncertainty import marginal, prior_information
from urdf import Robot

PIXEL = 1 / 12  # variance of an outline's place in a mask of whole pixels, from one pixel to the next
STRIDE = 3  # of the outline's pixels one in so many is looked at, and stands for the others
SAMPLES = 2  # along a pixel's side


@dataclass(frozen=True)
class Bound:
    """Smallest possible standard deviations of what is unknown; zeros where known.

    Attributes:
        q: (T,n) radians or metres; no more than what a joint's limits say.
        camera: (6,) rotation (rad) and translation (m) about the robot's middle, as `Trajectory.camera_sigma`.
        focal: pixels.
        covariance: (9,9) of twist, log focal length and the two masks' offsets (pixels).
    """

    q: np.ndarray
    camera: np.ndarray
    focal: float
    covariance: np.ndarray


def bound(
    robot: Robot,
    q: np.ndarray,
    camera: Camera,
    *,
    unknown: Sequence[str] = ("camera", "joints", "gripper", "focal"),
    parts: Sequence[str] = ("robot", "gripper"),
    sigma: float = 1.0,
    correlation: float = 15.0,
    exponent: float = 2.0,
    offset: float = OFFSET,
) -> Bound:
    """The bound for the masks of T frames seen by one camera.

    Args:
        q: (T,n) true joints; camera: true, with T_cam_base; lens distortion is left out.
        unknown: any of camera, joints, gripper, focal.
        parts: masks that there are, of robot, arm, gripper; their errors are independent of each other.
        sigma: standard deviation of an outline's error in pixels.
        correlation: distance in pixels at which two errors still share 1/e; they fall off as
            exp(-(d / correlation)^exponent). With exponent 2 outlines are wrong but smooth (`benchmarks.synthetic`):
            fine details of the robot's outline then still show where it is. With 1 they are rough as well.
        offset: standard deviation in pixels of a constant offset of each kind of mask; 0 when there is none.

    Raises:
        FitError: joints of another shape, a camera without a pose, an unknown part, or no noise at all.
    """
    q = np.atleast_2d(np.asarray(q, float))
    if q.shape[1] != len(robot.joint_names):
        raise FitError(f"q has shape {q.shape}, {robot.name} needs {len(robot.joint_names)} joints")
    if camera.T_cam_base is None:
        raise FitError("the bound needs the camera's true pose: T_cam_base is None")
    if not parts or len(parts) > CHANNELS or not set(parts) <= set(PARTS):
        raise FitError(f"parts {list(parts)}: expected one or two of {', '.join(PARTS)}")
    if not (sigma > 0 and correlation > 0 and 0 < exponent <= 2):
        raise FitError("sigma and correlation must be positive pixels, the exponent in 0..2")
    model, joints = make_model(robot), q.shape[1]
    T = np.asarray(camera.T_cam_base, float)
    pivot = np.concatenate([link_poses(model, row, T)[0][:, :3, 3] for row in q]).mean(0)
    channels = np.array([PARTS[p] for p in parts], np.float32)
    blocks = parallel(
        lambda row: _information(model, row, camera, T, pivot, channels, sigma, correlation, exponent), list(q)
    )
    prior = prior_information((robot.lower, robot.upper))
    H = np.zeros((SHARED + joints * len(q),) * 2)
    for t, block in enumerate(blocks):
        at = np.r_[:SHARED, SHARED + joints * t : SHARED + joints * (t + 1)]
        H[np.ix_(at, at)] += block
        at = at[SHARED:]
        H[at, at] += prior
    free_joints = np.zeros(joints, bool)
    free_joints[robot.arm_joints], free_joints[robot.gripper_joints] = "joints" in unknown, "gripper" in unknown
    masks = np.arange(CHANNELS) < (len(parts) if offset > 0 else 0)
    if offset > 0:
        at = np.arange(CAMERA_PARAMETERS, SHARED)
        H[at, at] += 1 / offset**2
    free = np.r_[np.full(6, "camera" in unknown), "focal" in unknown, masks, np.tile(free_joints, len(q))].astype(bool)
    covariance = marginal(H, 0, len(free), free)
    deviation = np.sqrt(np.diag(covariance).clip(0))
    return Bound(
        deviation[SHARED:].reshape(q.shape), deviation[:6], camera.focal * float(deviation[6]),
        covariance[:SHARED, :SHARED],
    )  # fmt: skip


def _information(
    model: Model, q: np.ndarray, camera: Camera, T: np.ndarray, pivot: np.ndarray, channels: np.ndarray, sigma: float,
    correlation: float, exponent: float,
) -> np.ndarray:  # fmt: skip
    """(SHARED + n, SHARED + n) information of one frame's masks."""
    K = np.asarray(camera.K, float)
    face_id, inv_depth, T_cam_joint = see(model, q, T, K, camera.height, camera.width, SAMPLES)
    size = SHARED + len(q)
    labels = label(face_id, model.face_part)
    pixels, motion, normal = boundary(
        model, face_id, labels, pairs(labels), inv_depth, T_cam_joint, K, pivot, channels, SAMPLES, SHARED, size
    )
    out = np.zeros((size, size))
    for c in range(len(channels)):
        length = np.linalg.norm(normal[:, c], axis=1)
        used = np.flatnonzero(length > 0.1)[::STRIDE]
        if not len(used):
            continue
        speed = motion[used, c] / length[used, None]  # of the outline along its normal
        speed[:, CAMERA_PARAMETERS + c] = 1.0
        distance = cdist(pixels[used].astype(float), pixels[used].astype(float))
        C = sigma**2 * np.exp(-((distance / correlation) ** exponent))
        C[range(len(used)), range(len(used))] += PIXEL / (STRIDE * length[used])
        out += speed.T @ cho_solve(cho_factor(C, lower=True), speed)
    return out
