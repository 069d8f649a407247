"""The inner loops of `pose.shading`: smooth normals, environment look-ups, shadows and the shading of every sample.

Directions into the environment use the octahedral map (Engelhardt and Dachsbacher 2008), which needs no
trigonometry. Highlights follow GGX (Walter et al. 2007) with the visibility term of Karis and Lazarov
("Optimizing PBR for Mobile", SIGGRAPH 2015): D F0 / (4 (l.h)^2 (roughness + 1/2)).
"""

from __future__ import annotations

import numpy as np
from numba import njit, prange

LINEAR = (np.arange(256) / 255.0).astype(np.float32) ** np.float32(2.2)  # sRGB byte -> linear, by a plain gamma


@njit(cache=True, nogil=True)
def corner_normals(face_normal, area, faces_of_vertex, first, faces, cos_crease):
    """Normals (F,3,3) of every face's corners, averaged over neighbours that turn by less than the crease
    angle.

    faces_of_vertex lists the faces around vertex v at first[v]..first[v+1]-1.
    """
    out = np.empty((len(faces), 3, 3), np.float32)
    for f in range(len(faces)):
        for c in range(3):
            v = faces[f, c]
            x, y, z = 0.0, 0.0, 0.0
            for k in range(first[v], first[v + 1]):
                g = faces_of_vertex[k]
                turn = (
                    face_normal[f, 0] * face_normal[g, 0]
                    + face_normal[f, 1] * face_normal[g, 1]
                    + face_normal[f, 2] * face_normal[g, 2]
                )
                if turn >= cos_crease:
                    x += face_normal[g, 0] * area[g]
                    y += face_normal[g, 1] * area[g]
                    z += face_normal[g, 2] * area[g]
            length = np.sqrt(x * x + y * y + z * z)
            if length > 1e-20:
                out[f, c, 0], out[f, c, 1], out[f, c, 2] = x / length, y / length, z / length
            else:
                for i in range(3):
                    out[f, c, i] = face_normal[f, i]
    return out


@njit(cache=True, nogil=True, fastmath=True)
def _sky_cell(size, x, y, z):
    """Row, column and the fractions within that cell at which an octahedral map is read in direction (x,y,z)."""
    total = abs(x) + abs(y) + abs(z) + 1e-9
    u, v = x / total, y / total
    if z < 0:
        u, v = (1 - abs(v)) * (1.0 if u >= 0 else -1.0), (1 - abs(u)) * (1.0 if v >= 0 else -1.0)
    fx = min(max((u * 0.5 + 0.5) * size - 0.5, 0.0), size - 1.001)
    fy = min(max((v * 0.5 + 0.5) * size - 0.5, 0.0), size - 1.001)
    ix, iy = int(fx), int(fy)
    return iy, ix, fy - iy, fx - ix


@njit(cache=True, nogil=True, fastmath=True)
def _sky(maps, level, iy, ix, ay, ax, channel):
    """Bilinear value of an octahedral map (levels,S,S,3) in a cell of `_sky_cell`."""
    top = maps[level, iy, ix, channel] * (1 - ax) + maps[level, iy, ix + 1, channel] * ax
    low = maps[level, iy + 1, ix, channel] * (1 - ax) + maps[level, iy + 1, ix + 1, channel] * ax
    return top * (1 - ay) + low * ay


@njit(cache=True, nogil=True, fastmath=True)
def _lit(shadow, frame, px, py, pz, radius, bias, cosine, sine):
    """Share of a directional light that reaches a point: five look-ups in its depth map, turned by an angle."""
    size = shadow.shape[0]
    u = frame[0, 0] * px + frame[0, 1] * py + frame[0, 2] * pz + frame[0, 3]
    v = frame[1, 0] * px + frame[1, 1] * py + frame[1, 2] * pz + frame[1, 3]
    w = frame[2, 0] * px + frame[2, 1] * py + frame[2, 2] * pz + frame[2, 3] + bias
    c, s = cosine * radius, sine * radius
    seen = 0.0
    for k in range(5):
        du = c if k == 0 else (-c if k == 1 else (-s if k == 2 else (s if k == 3 else 0.0)))
        dv = s if k == 0 else (-s if k == 1 else (c if k == 2 else (-c if k == 3 else 0.0)))
        i, j = int(v + dv + 0.5), int(u + du + 0.5)
        if i < 0 or j < 0 or i >= size or j >= size or shadow[i, j] <= w:
            seen += 0.2
    return seen


@njit(cache=True, nogil=True, fastmath=True)
def _texel(texels, start, height, width, x, y, linear):
    """Repeating bilinear look-up in a texture stored in a flat (N,3) byte array, linear light: red, green, blue."""
    x = (x - np.floor(x)) * width
    y = (y - np.floor(y)) * height
    x0, y0 = int(x) % width, int(y) % height
    ax, ay = x - np.floor(x), y - np.floor(y)
    x1, y1 = (x0 + 1) % width, (y0 + 1) % height
    i, j = start + y0 * width + x0, start + y0 * width + x1
    k, m = start + y1 * width + x0, start + y1 * width + x1
    wa, wb, wc, wd = (1 - ax) * (1 - ay), ax * (1 - ay), (1 - ax) * ay, ax * ay
    r = linear[texels[i, 0]] * wa + linear[texels[j, 0]] * wb + linear[texels[k, 0]] * wc + linear[texels[m, 0]] * wd
    g = linear[texels[i, 1]] * wa + linear[texels[j, 1]] * wb + linear[texels[k, 1]] * wc + linear[texels[m, 1]] * wd
    b = linear[texels[i, 2]] * wa + linear[texels[j, 2]] * wb + linear[texels[k, 2]] * wc + linear[texels[m, 2]] * wd
    return r, g, b


@njit(cache=True, parallel=True, nogil=True, fastmath=True)
def shade(
    face_id, uv, inv_z, faces, points, local, normals, face_color, face_surface, face_texture,
    texels, textures, texture_size, maps, lights, light_colors, shadows, frames, softness, bias,
    eye, linear, scale,
):  # fmt: skip
    """Linear radiance (H,W,3) float32 of every sample; 0 where face_id is -1.

    uv (V,2) and inv_z (V,) as given to the rasteriser; points (V,3) in the world; local (V,3) coordinates for
    textures; normals (F,3,3) in the world; face_color (F,3) linear; face_surface (F,2) roughness and
    metalness;
    face_texture (F,) index into textures (T,3: start, height, width) or -1; maps (4,S,S,3): three mirror
    images of
    the surroundings from sharp to blurred, then irradiance / pi; lights (L,3) towards each light; shadows
    (L,S,S),
    frames (L,3,4) world -> shadow map (column, row, nearness); softness (L,) in shadow pixels; eye (3,).
    """
    height, width = face_id.shape
    out = np.zeros((height, width, 3), np.float32)
    shift = 0.5 * scale - 0.5
    for row in prange(height):
        for col in range(width):
            f = face_id[row, col]
            if f < 0:
                continue
            i0, i1, i2 = faces[f, 0], faces[f, 1], faces[f, 2]
            x, y = (col - shift) / scale, (row - shift) / scale
            x0, y0, x1, y1 = uv[i0, 0], uv[i0, 1], uv[i1, 0], uv[i1, 1]
            x2, y2 = uv[i2, 0], uv[i2, 1]
            # perspective-correct barycentric weights
            a0 = ((x1 - x) * (y2 - y) - (x2 - x) * (y1 - y)) * inv_z[i0]
            a1 = ((x2 - x) * (y0 - y) - (x0 - x) * (y2 - y)) * inv_z[i1]
            a2 = ((x0 - x) * (y1 - y) - (x1 - x) * (y0 - y)) * inv_z[i2]
            total = a0 + a1 + a2
            if abs(total) < 1e-20:
                continue
            a0, a1, a2 = a0 / total, a1 / total, a2 / total
            px = a0 * points[i0, 0] + a1 * points[i1, 0] + a2 * points[i2, 0]
            py = a0 * points[i0, 1] + a1 * points[i1, 1] + a2 * points[i2, 1]
            pz = a0 * points[i0, 2] + a1 * points[i1, 2] + a2 * points[i2, 2]
            nx = a0 * normals[f, 0, 0] + a1 * normals[f, 1, 0] + a2 * normals[f, 2, 0]
            ny = a0 * normals[f, 0, 1] + a1 * normals[f, 1, 1] + a2 * normals[f, 2, 1]
            nz = a0 * normals[f, 0, 2] + a1 * normals[f, 1, 2] + a2 * normals[f, 2, 2]
            length = np.sqrt(nx * nx + ny * ny + nz * nz) + 1e-12
            nx, ny, nz = nx / length, ny / length, nz / length
            vx, vy, vz = eye[0] - px, eye[1] - py, eye[2] - pz
            length = np.sqrt(vx * vx + vy * vy + vz * vz) + 1e-12
            vx, vy, vz = vx / length, vy / length, vz / length
            nv = nx * vx + ny * vy + nz * vz
            if nv < 0:  # meshes wind either way: the side seen is the outside
                nx, ny, nz, nv = -nx, -ny, -nz, -nv
            r, g, b = face_color[f, 0], face_color[f, 1], face_color[f, 2]
            rough, metal = face_surface[f, 0], face_surface[f, 1]
            t = face_texture[f]
            if t >= 0:
                lx = a0 * local[i0, 0] + a1 * local[i1, 0] + a2 * local[i2, 0]
                ly = a0 * local[i0, 1] + a1 * local[i1, 1] + a2 * local[i2, 1]
                lz = a0 * local[i0, 2] + a1 * local[i1, 2] + a2 * local[i2, 2]
                # box mapping: look along the axis that the triangle faces most, in its own coordinates
                e1x, e1y, e1z = (
                    local[i1, 0] - local[i0, 0],
                    local[i1, 1] - local[i0, 1],
                    local[i1, 2] - local[i0, 2],
                )
                e2x, e2y, e2z = (
                    local[i2, 0] - local[i0, 0],
                    local[i2, 1] - local[i0, 1],
                    local[i2, 2] - local[i0, 2],
                )
                gx, gy, gz = (
                    abs(e1y * e2z - e1z * e2y),
                    abs(e1z * e2x - e1x * e2z),
                    abs(e1x * e2y - e1y * e2x),
                )
                if gz >= gx and gz >= gy:
                    s1, s2 = lx, ly
                elif gx >= gy:
                    s1, s2 = ly, -lz
                else:
                    s1, s2 = lx, -lz
                s1, s2 = s1 / texture_size[t], s2 / texture_size[t]
                start, th, tw = textures[t, 0], textures[t, 1], textures[t, 2]
                tr, tg, tb = _texel(texels, start, th, tw, s1, s2, linear)
                r, g, b = r * tr, g * tg, b * tb
            # surroundings: diffuse by the normal, mirror image by the reflected ray
            rx, ry, rz = 2 * nv * nx - vx, 2 * nv * ny - vy, 2 * nv * nz - vz
            fresnel = (1 - nv) ** 5 * (1 - rough)
            level = min(rough * 2.0, 1.999)
            low = int(level)
            blend = level - low
            my, mx, mb, ma = _sky_cell(maps.shape[1], rx, ry, rz)
            dy, dx, db, da = _sky_cell(maps.shape[1], nx, ny, nz)
            cr, cg, cb = 0.0, 0.0, 0.0
            for channel in range(3):
                albedo = r if channel == 0 else (g if channel == 1 else b)
                f0 = 0.04 * (1 - metal) + albedo * metal
                mirror = (
                    _sky(maps, low, my, mx, mb, ma, channel) * (1 - blend)
                    + _sky(maps, low + 1, my, mx, mb, ma, channel) * blend
                )
                diffuse = _sky(maps, 3, dy, dx, db, da, channel)
                value = albedo * (1 - metal) * diffuse + (f0 + fresnel * (1 - f0)) * mirror
                if channel == 0:
                    cr = value
                elif channel == 1:
                    cg = value
                else:
                    cb = value
            angle = ((col * 73856093) ^ (row * 19349663)) % 1024 * 0.0061359
            cosine, sine = np.cos(angle), np.sin(angle)
            for k in range(lights.shape[0]):
                nl = nx * lights[k, 0] + ny * lights[k, 1] + nz * lights[k, 2]
                if nl <= 0:
                    continue
                seen = _lit(shadows[k], frames[k], px, py, pz, softness[k], bias[k], cosine, sine)
                if seen <= 0:
                    continue
                hx, hy, hz = lights[k, 0] + vx, lights[k, 1] + vy, lights[k, 2] + vz
                length = np.sqrt(hx * hx + hy * hy + hz * hz) + 1e-9
                nh = (nx * hx + ny * hy + nz * hz) / length
                lh = max((lights[k, 0] * hx + lights[k, 1] * hy + lights[k, 2] * hz) / length, 0.1)
                a2r = max(rough * rough, 0.02) ** 2
                d = nh * nh * (a2r - 1) + 1
                lobe = a2r / (3.1416 * d * d) / (4 * lh * lh * (rough + 0.5))
                gain = nl * seen
                cr += gain * light_colors[k, 0] * (r * (1 - metal) / 3.1416 + (0.04 * (1 - metal) + r * metal) * lobe)
                cg += gain * light_colors[k, 1] * (g * (1 - metal) / 3.1416 + (0.04 * (1 - metal) + g * metal) * lobe)
                cb += gain * light_colors[k, 2] * (b * (1 - metal) / 3.1416 + (0.04 * (1 - metal) + b * metal) * lobe)
            out[row, col, 0], out[row, col, 1], out[row, col, 2] = cr, cg, cb
    return out
