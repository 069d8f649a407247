"""One look at a picture, compiled: what differs between the robot and its mask, and how that changes with the robot.

A camera image of the robot changes with its parameters only along visible boundaries. Between two neighbouring
samples that see different parts, the nearer surface owns the boundary; its velocity there is known from its 3D
point, so the derivative of the coverage is a sum over such sample pairs (Reynolds transport theorem; the staircase
of sample pairs integrates n dl of the true boundary exactly in the limit). No search over mesh edges is needed.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from pose.kernel import link_poses, project
from pose.raster import draw


@njit(cache=True, nogil=True)
def observe(model, q, T_cam_base, K, target, margin, scale):
    """The part of a picture that holds the robot and its mask (C,H,W), and a margin, and what is seen there.

    Far from both nothing differs. All of the picture when a part of the robot is behind the camera or nothing is in it.

    Returns:
        rows y0..y1-1 and columns x0..x1-1, which triangle each of scale*scale samples a pixel sees, 1/z there, and the
        poses (L,4,4) of the joints in the camera.
    """
    T_cam_link, T_cam_joint = link_poses(model, q, T_cam_base)
    uv, inv_z = project(model, T_cam_link, K)
    y0, y1, x0, x1 = _window(uv, inv_z, target, margin)
    for v in range(uv.shape[0]):
        uv[v, 0] -= x0
        uv[v, 1] -= y0
    rows, columns = (y1 - y0) * scale, (x1 - x0) * scale
    face_id = np.full((rows, columns), -1, np.int32)
    inv_depth = np.zeros((rows, columns), np.float32)
    draw(uv, inv_z, model.faces, face_id, inv_depth, 0, rows, scale)
    return (y0, y1, x0, x1), face_id, inv_depth, T_cam_joint


@njit(cache=True, nogil=True, fastmath=True)
def _window(uv, inv_z, target, margin):
    height, width = target.shape[1:]
    y0, y1, x0, x1 = height, 0, width, 0
    sums = np.zeros(width, np.float32)
    for c in range(target.shape[0]):
        for y in range(height):
            total = np.float32(0)
            for x in range(width):  # sums, not comparisons: of these the compiler does several at a time
                total += target[c, y, x]
                sums[x] += target[c, y, x]
            if total > 0:
                y0, y1 = min(y0, y), max(y1, y + 1)
    for x in range(width):
        if sums[x] > 0:
            x0, x1 = min(x0, x), max(x1, x + 1)
    for v in range(uv.shape[0]):
        if inv_z[v] <= 0:
            return 0, height, 0, width
        # a point beyond the picture counts where the border is
        x, y = int(min(max(uv[v, 0], 0.0), width - 1.0)), int(min(max(uv[v, 1], 0.0), height - 1.0))
        y0, y1, x0, x1 = min(y0, y), max(y1, y + 2), min(x0, x), max(x1, x + 2)
    y0, x0, y1, x1 = max(0, y0 - margin), max(0, x0 - margin), min(height, y1 + margin), min(width, x1 + margin)
    if y1 - y0 < 2 or x1 - x0 < 2:
        return 0, height, 0, width
    return y0, y1, x0, x1


@njit(cache=True, nogil=True)
def label(face_id, face_part):
    """What each sample sees: 0 nothing, 1 + the label of the triangle's link."""
    out = np.zeros(face_id.shape, np.int8)
    for y in range(face_id.shape[0]):
        for x in range(face_id.shape[1]):
            f = face_id[y, x]
            if f >= 0:
                out[y, x] = 1 + face_part[f]
    return out


@njit(cache=True, nogil=True, fastmath=True)
def difference(labels, channels, scale, target, y0, x0, offset, trust):
    """What the robot covers beyond its mask, pixel by pixel, and their overlap.

    Args:
        labels: of the samples of the window whose first pixel is row y0, column x0 of target (C,H,W).
        channels: (C,G) what each label counts in a channel.
        offset: (C,) pixels by which the masks' outlines are taken to lie outside the robot's.
        trust: (H,W) how far masks are to be believed, or empty.

    Returns:
        difference (C,h,w), how much (C,h,w) the mask gains when its outline moves outward by a pixel, and the
        intersection over union.
    """
    count, height, width = channels.shape[0], labels.shape[0] // scale, labels.shape[1] // scale
    out = np.empty((count, height, width), np.float32)
    grown = np.empty((count, height, width), np.float32)
    covered = np.empty(width, np.float32)
    half, whole = np.float32(0.5), np.float32(1)
    step = np.full(width, half)  # outlines: differences across two pixels, at the window's border across one
    step[0] = step[-1] = whole
    both, either = np.float32(0), np.float32(0)
    for c in range(count):
        counts = np.zeros(channels.shape[1] + 1, np.float32)
        counts[1:] = channels[c] / np.float32(scale * scale)
        for y in range(height):
            covered[:] = 0
            for sy in range(y * scale, (y + 1) * scale):
                for x in range(width):
                    for sx in range(x * scale, (x + 1) * scale):
                        covered[x] += counts[labels[sy, sx]]
            mask = target[c, y0 + y, x0 : x0 + width]
            up, down = max(y - 1, 0), min(y + 1, height - 1)
            above, below = target[c, y0 + up, x0 : x0 + width], target[c, y0 + down, x0 : x0 + width]
            step_y = half if down - up == 2 else whole
            differs, edge = out[c, y], grown[c, y]
            for x in range(width):
                gy, gx = below[x] - above[x], mask[min(x + 1, width - 1)] - mask[max(x - 1, 0)]
                edge[x] = np.sqrt((step_y * gy) ** 2 + (step[x] * gx) ** 2)
            for x in range(width):
                differs[x] = covered[x] - mask[x] + offset[c] * edge[x]
            if trust.size:
                believed = trust[y0 + y, x0 : x0 + width]
                for x in range(width):
                    differs[x] *= believed[x]
                    both += believed[x] * min(covered[x], mask[x])
                    either += believed[x] * max(covered[x], mask[x])
            else:
                for x in range(width):
                    both += min(covered[x], mask[x])
                    either += max(covered[x], mask[x])
    return out, grown, both / either if either > 0 else whole


@njit(cache=True, nogil=True, fastmath=True)
def weigh(error, robust):
    """Robust cost of residuals (C,h,w), their weighted selves, and their weights (Geman-McClure)."""
    pull, weight = np.empty_like(error), np.empty_like(error)
    bend, whole = np.float32(1 / robust**2), np.float32(1)
    cost = 0.0
    for c in range(error.shape[0]):
        for y in range(error.shape[1]):
            total = np.float32(0)  # of a row: a sum of single precision over all pixels would lose digits
            row, pulled, weighed = error[c, y], pull[c, y], weight[c, y]
            for x in range(error.shape[2]):
                e = row[x]
                ratio = whole / (whole + e * e * bend)
                total += e * e * ratio
                weighed[x] = ratio * ratio
                pulled[x] = ratio * ratio * e
            cost += float(total)
    return cost, pull, weight


@njit(cache=True, nogil=True)
def _screws(model, T_cam_joint):
    """(L,6) of each joint: a point P moves along g by s[:3] . (P x g) + s[3:] . g with it."""
    out = np.zeros((model.parent.shape[0], 6))
    for link in range(out.shape[0]):
        if model.q_index[link] < 0 or model.kind[link] == 0:
            continue
        T, m = T_cam_joint[link], model.multiplier[link]
        for i in range(3):
            axis = 0.0
            for j in range(3):
                axis += T[i, j] * model.axis[link, j]
            out[link, i if model.kind[link] == 1 else 3 + i] = m * axis
        if model.kind[link] == 1:
            a, b, c = out[link, 0], out[link, 1], out[link, 2]
            out[link, 3] = T[1, 3] * c - T[2, 3] * b
            out[link, 4] = T[2, 3] * a - T[0, 3] * c
            out[link, 5] = T[0, 3] * b - T[1, 3] * a
    return out


def pairs(labels: np.ndarray) -> np.ndarray:
    """(N,3) int32 row, column and direction (0 right, 1 down) of neighbouring samples that see different labels."""
    found = []
    for direction, differ in enumerate((labels[:, :-1] != labels[:, 1:], labels[:-1] != labels[1:])):
        at = np.flatnonzero(differ)
        found.append(np.stack([*np.divmod(at, differ.shape[1]), np.full(len(at), direction)], axis=1))
    return np.concatenate(found).astype(np.int32)


@njit(cache=True, nogil=True)
def boundary(model, face_id, labels, between, inv_depth, T_cam_joint, K, pivot, channels, scale, shared, parameters):
    """How the coverage of each pixel on a boundary changes with the parameters.

    The twist turns about `pivot` (3,) in the camera, which should lie near the robot: about the camera's own centre
    rotation and translation would look almost the same.

    Args:
        labels: of the samples; between: the `pairs` of them.
        shared, parameters: joints are the parameters from `shared` on; what lies between the camera's 7 and them is 0.

    Returns:
        pixels (N,2) row and column, J (N,C,P) derivative of their coverage w.r.t. camera twist, log focal length and
        joints, and normal (N,C,2): the boundary's outward normal times its length in the pixel.
    """
    shift = 0.5 * scale - 0.5
    rows, columns = face_id.shape
    screws = _screws(model, T_cam_joint)
    row_of = np.full((rows // scale, columns // scale), -1, np.int32)
    pixels = np.empty((2 * len(between), 2), np.int32)
    count = 0
    for y, x, direction in between:
        for side in range(2):
            py, px = (y + side * direction) // scale, (x + side * (1 - direction)) // scale
            if row_of[py, px] < 0:
                row_of[py, px] = count
                pixels[count, 0], pixels[count, 1] = py, px
                count += 1
    J = np.zeros((count, channels.shape[0], parameters))
    normal = np.zeros((count, channels.shape[0], 2))
    velocity = np.empty(parameters)
    for y, x, direction in between:
        yb, xb = y + direction, x + 1 - direction
        nearer_first = inv_depth[y, x] >= inv_depth[yb, xb]
        oy, ox = (y, x) if nearer_first else (yb, xb)
        w = 1.0 * inv_depth[oy, ox]
        X = ((ox - shift) / scale - K[0, 2]) / (w * K[0, 0])
        Y = ((oy - shift) / scale - K[1, 2]) / (w * K[1, 1])
        Z = 1.0 / w
        # d(pixel)/d(point) along the pair's direction
        if direction == 0:
            gx, gy, gz = K[0, 0] * w, 0.0, -K[0, 0] * X * w * w
        else:
            gx, gy, gz = 0.0, K[1, 1] * w, -K[1, 1] * Y * w * w
        cx, cy, cz = Y * gz - Z * gy, Z * gx - X * gz, X * gy - Y * gx
        velocity[:] = 0.0
        # camera twist about the pivot: a point moves by omega x (P - pivot) + v
        velocity[0] = cx - (pivot[1] * gz - pivot[2] * gy)
        velocity[1] = cy - (pivot[2] * gx - pivot[0] * gz)
        velocity[2] = cz - (pivot[0] * gy - pivot[1] * gx)
        velocity[3], velocity[4], velocity[5] = gx, gy, gz
        velocity[6] = gx * X + gy * Y  # a longer focal length moves a point's picture outward
        link = model.face_link[face_id[oy, ox]]
        while link >= 0:
            k = model.q_index[link]
            if k >= 0:
                s = screws[link]
                velocity[shared + k] += s[0] * cx + s[1] * cy + s[2] * cz + s[3] * gx + s[4] * gy + s[5] * gz
            link = model.parent[link]
        first, second = labels[y, x], labels[yb, xb]
        for c in range(channels.shape[0]):
            jump = channels[c, first - 1] if first > 0 else np.float32(0)
            jump -= channels[c, second - 1] if second > 0 else np.float32(0)
            if jump == 0:
                continue
            amount = jump * 0.5 / scale  # half of the change on each side; a sample pair is 1/scale pixels long
            for side in range(2):
                row = row_of[(y + side * direction) // scale, (x + side * (1 - direction)) // scale]
                normal[row, c, direction] += amount
                for k in range(parameters):
                    J[row, c, k] += amount * velocity[k]
    return pixels[:count], J, normal


@njit(cache=True, nogil=True)
def gradient(pixels, J, pull):
    """(P,) sums over boundary pixels of J (N,C,P) times the pull (C,h,w) there."""
    out = np.zeros(J.shape[2])
    for i in range(J.shape[0]):
        for c in range(J.shape[1]):
            value = pull[c, pixels[i, 0], pixels[i, 1]]
            for k in range(out.shape[0]):
                out[k] += J[i, c, k] * value
    return out


@njit(cache=True, nogil=True, fastmath=True)
def curvature(pixels, J, weight, amount, least):
    """(P,P) sums of outer products of J (N,C,P), weighted by weight (C,h,w) over the boundary's length (N,C) there."""
    size = J.shape[2]
    out = np.zeros((size, size))
    for i in range(J.shape[0]):
        for c in range(J.shape[1]):
            share = weight[c, pixels[i, 0], pixels[i, 1]] / max(amount[i, c], least)
            row = J[i, c]
            for a in range(size):
                value = share * row[a]
                if value != 0:
                    for b in range(a, size):
                        out[a, b] += value * row[b]
    for a in range(size):
        for b in range(a):
            out[a, b] = out[b, a]
    return out


@njit(cache=True, nogil=True, fastmath=True)
def blurred(pixels, J, weight, blur):
    """(N,P) rows that sum up the weighted products of the blurred images of the columns of J (P), one channel.

    What is blurred is smooth: every second pixel of every second row tells it.

    Args:
        pixels: (N,2) where J (N,P) is, in the picture of weight (h,w).
    """
    reach = int(np.ceil(4 * blur))
    bell = np.empty(reach + 1, np.float32)
    for d in range(reach + 1):
        bell[d] = np.exp(-0.5 * (d / blur) ** 2)
    bell /= 2 * bell.sum() - bell[0]
    height, width, size = (weight.shape[0] + 1) // 2, (weight.shape[1] + 1) // 2, J.shape[1]
    row_of = np.full((height, width), -1, np.int32)
    place = np.empty((height * width, 2), np.int32)
    count = 0
    for i in range(pixels.shape[0]):
        for y in range(max(0, pixels[i, 0] - reach + 1) // 2, min(height - 1, (pixels[i, 0] + reach) // 2) + 1):
            for x in range(max(0, pixels[i, 1] - reach + 1) // 2, min(width - 1, (pixels[i, 1] + reach) // 2) + 1):
                if row_of[y, x] < 0:
                    row_of[y, x] = count
                    place[count, 0], place[count, 1] = y, x
                    count += 1
    out = np.zeros((count, size), np.float32)
    for i in range(pixels.shape[0]):
        for y in range(max(0, pixels[i, 0] - reach + 1) // 2, min(height - 1, (pixels[i, 0] + reach) // 2) + 1):
            for x in range(max(0, pixels[i, 1] - reach + 1) // 2, min(width - 1, (pixels[i, 1] + reach) // 2) + 1):
                share = bell[abs(2 * y - pixels[i, 0])] * bell[abs(2 * x - pixels[i, 1])]
                row = out[row_of[y, x]]
                for k in range(size):
                    row[k] += share * J[i, k]
    for i in range(count):
        out[i] *= 2 * np.sqrt(weight[2 * place[i, 0], 2 * place[i, 1]])
    return out
