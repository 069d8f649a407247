"""The compiled steps of one look, against the same written with whole arrays."""

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pose.kernel import make_model, see
from pose.look_kernel import blurred, boundary, difference, label, observe, pairs, weigh
from tests.pose.tracked import HEIGHT, HOOK, WIDTH, arm, clip

NONE = np.zeros((0, 0), np.float32)


@settings(deadline=None, max_examples=20)
@given(st.integers(0, 10_000), st.integers(1, 3), st.booleans())
def test_difference_is_coverage_less_mask_and_offset_outline(seed, scale, doubted):
    rng = np.random.default_rng(seed)
    height, width, y0, x0 = 7, 9, 2, 3
    labels = rng.integers(0, 4, (height * scale, width * scale)).astype(np.int8)
    channels = rng.random((2, 3)).astype(np.float32)
    target = rng.random((2, 12, 14)).astype(np.float32)
    trust = rng.random((12, 14)).astype(np.float32) if doubted else NONE
    offset = rng.normal(size=2).astype(np.float32)
    out, grown, overlap = difference(labels, channels, scale, target, y0, x0, offset, trust)

    worth = np.concatenate([np.zeros((2, 1)), channels], axis=1)[:, labels]
    covered = worth.reshape(2, height, scale, width, scale).mean((2, 4))
    mask = target[:, y0 : y0 + height, x0 : x0 + width]
    believed = trust[y0 : y0 + height, x0 : x0 + width] if doubted else np.ones((height, width))
    outline = np.hypot(*np.gradient(mask, axis=(1, 2)))
    np.testing.assert_allclose(grown, outline, atol=1e-5)
    np.testing.assert_allclose(out, believed * (covered - mask + offset[:, None, None] * outline), atol=1e-5)
    either = (believed * np.maximum(covered, mask)).sum()
    assert overlap == pytest.approx((believed * np.minimum(covered, mask)).sum() / either, rel=1e-5)


def test_nothing_to_see_overlaps_wholly():
    labels, target = np.zeros((8, 8), np.int8), np.zeros((1, 4, 4), np.float32)
    _, _, overlap = difference(labels, np.ones((1, 2), np.float32), 2, target, 0, 0, np.zeros(1, np.float32), NONE)
    assert overlap == 1.0


def test_large_residuals_lose_their_pull():
    error = np.random.default_rng(0).normal(0, 1, (2, 5, 6)).astype(np.float32)
    cost, pull, weight = weigh(error, 0.5)
    share = 1 / (1 + error**2 / 0.25)
    assert cost == pytest.approx((error**2 * share).sum(), rel=1e-5)
    np.testing.assert_allclose(weight, share**2, rtol=1e-4)
    np.testing.assert_allclose(pull, share**2 * error, rtol=1e-4, atol=1e-7)


@settings(deadline=None, max_examples=20)
@given(st.integers(0, 10_000))
def test_pairs_are_all_neighbours_that_differ(seed):
    labels = np.random.default_rng(seed).integers(0, 2, (6, 7)).astype(np.int8)
    expected = {
        (y, x, d)
        for y in range(6)
        for x in range(7)
        for d in range(2)
        if y + d < 6 and x + 1 - d < 7 and labels[y, x] != labels[y + d, x + 1 - d]
    }
    found = pairs(labels)
    assert {tuple(row) for row in found.tolist()} == expected and len(found) == len(expected)


def test_a_window_sees_what_the_whole_picture_does(tmp_path):
    robot = arm(tmp_path, HOOK)
    q, camera, silhouettes = clip(robot)
    model, K = make_model(robot), np.asarray(camera.K, float)
    target = silhouettes[0][None].astype(np.float32)
    (y0, y1, x0, x1), face_id, inv_depth, _ = observe(model, q[0], camera.T_cam_base, K, target, 6, 2)
    whole, depth, _ = see(model, q[0], camera.T_cam_base, K, HEIGHT, WIDTH, 2)
    assert (y1 - y0) * (x1 - x0) < 0.7 * HEIGHT * WIDTH
    inside = np.s_[2 * y0 : 2 * y1, 2 * x0 : 2 * x1]
    assert (whole >= 0).sum() == (whole[inside] >= 0).sum()
    assert (face_id == whole[inside]).mean() > 0.9995
    assert np.median(np.abs(inv_depth - depth[inside])) < 1e-6


def test_products_of_blurred_boundaries(tmp_path):
    """Every second pixel of what is blurred tells as much as all of them."""
    robot = arm(tmp_path, HOOK)
    q, camera, _ = clip(robot)
    model, K = make_model(robot), np.asarray(camera.K, float)
    face_id, inv_depth, T_cam_joint = see(model, q[0], camera.T_cam_base, K, HEIGHT, WIDTH, 2)
    labels = label(face_id, model.face_part)
    pixels, J, _ = boundary(
        model, face_id, labels, pairs(labels), inv_depth, T_cam_joint, K, np.array([0, 0, 1.7]),
        np.ones((1, 2), np.float32), 2, 9, 12,
    )  # fmt: skip
    weight = cv2.GaussianBlur(np.random.default_rng(0).random((HEIGHT, WIDTH)).astype(np.float32), (0, 0), 3)
    images = np.zeros((12, HEIGHT, WIDTH), np.float32)
    images[:, pixels[:, 0], pixels[:, 1]] = J[:, 0].T
    blur = 1.5
    planes = np.stack([cv2.GaussianBlur(i, (0, 0), blur, borderType=cv2.BORDER_CONSTANT) for i in images])
    planes = (planes * np.sqrt(weight)).reshape(12, -1)
    rows = blurred(pixels, J[:, 0].astype(np.float32), weight, blur)
    used = [0, 1, 2, 3, 4, 5, 6, 9, 10, 11]
    expected, found = (planes @ planes.T)[np.ix_(used, used)], (rows.T @ rows)[np.ix_(used, used)]
    size = np.sqrt(np.diag(expected))
    np.testing.assert_allclose(found / np.outer(size, size), expected / np.outer(size, size), atol=0.01)
