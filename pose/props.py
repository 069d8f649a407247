"""Simple objects and procedural textures for `pose.shading` scenes: boxes, planes, cylinders, a furnished
room."""

from __future__ import annotations

import numpy as np
from scipy.ndimage import gaussian_filter

from pose.shading import Material, Prop


def grid(corner: np.ndarray, side_a: np.ndarray, side_b: np.ndarray, cells: int = 12) -> tuple[np.ndarray, np.ndarray]:
    """Vertices and faces of a parallelogram cut into cells x cells squares."""
    s = np.linspace(0, 1, cells + 1)
    a, b = np.meshgrid(s, s, indexing="ij")
    vertices = corner + a.reshape(-1, 1) * side_a + b.reshape(-1, 1) * side_b
    i = (np.arange(cells)[:, None] * (cells + 1) + np.arange(cells)).reshape(-1)
    faces = np.concatenate([np.stack([i, i + cells + 1, i + 1], 1), np.stack([i + 1, i + cells + 1, i + cells + 2], 1)])
    return vertices.astype(np.float32), faces.astype(np.int32)


def join(pieces: list[tuple[np.ndarray, np.ndarray]]) -> tuple[np.ndarray, np.ndarray]:
    """One mesh from several (vertices, faces)."""
    start = np.cumsum([0] + [len(v) for v, _ in pieces])
    faces = np.concatenate([f + n for (_, f), n in zip(pieces, start)])
    return np.concatenate([v for v, _ in pieces]).astype(np.float32), faces.astype(np.int32)


def box(size: tuple[float, float, float], material: Material, center=(0.0, 0.0, 0.0), cells: int = 4) -> Prop:
    """A box of `size` metres about `center`."""
    half, middle, eye = np.asarray(size, float) / 2, np.asarray(center, float), np.eye(3)
    sides = []
    for axis in range(3):
        a, b = eye[(axis + 1) % 3] * half * 2, eye[(axis + 2) % 3] * half * 2
        for sign in (-1, 1):
            corner = middle - half + (eye[axis] * half * 2 if sign > 0 else 0)
            sides.append(grid(corner, a, b, cells))
    return Prop(*join(sides), material)


def revolve(profile: np.ndarray, material: Material, segments: int = 28) -> Prop:
    """A body of revolution about z from a profile (N,2) of (radius, height) in metres."""
    angle = np.arange(segments) / segments * 2 * np.pi
    ring = np.stack([np.cos(angle), np.sin(angle)], 1)
    vertices = np.concatenate([np.column_stack([ring * r, np.full(segments, z)]) for r, z in profile])
    faces, j = [], np.arange(segments)
    for i in range(len(profile) - 1):
        a, b = i * segments + j, i * segments + (j + 1) % segments
        faces += [np.stack([a, b, a + segments], 1), np.stack([b, b + segments, a + segments], 1)]
    return Prop(vertices.astype(np.float32), np.concatenate(faces).astype(np.int32), material)


def cylinder(radius: float, height: float, material: Material) -> Prop:
    """A closed cylinder standing on z = 0."""
    return revolve(np.array([[1e-4, 0], [radius, 0], [radius, height], [1e-4, height]]), material)


def tube(path: np.ndarray, radius: float, material: Material, segments: int = 8) -> Prop:
    """A cable along a path (N,3) in metres."""
    tangent = np.gradient(path, axis=0)
    tangent /= np.linalg.norm(tangent, axis=1, keepdims=True) + 1e-9
    side = np.cross(tangent, [0.31, 0.17, 0.93])
    side /= np.linalg.norm(side, axis=1, keepdims=True) + 1e-9
    up = np.cross(tangent, side)
    angle = np.arange(segments) / segments * 2 * np.pi
    ring = np.cos(angle)[:, None, None] * side + np.sin(angle)[:, None, None] * up
    vertices = (path + radius * ring).transpose(1, 0, 2).reshape(-1, 3)
    faces, j = [], np.arange(segments)
    for i in range(len(path) - 1):
        a, b = i * segments + j, i * segments + (j + 1) % segments
        faces += [np.stack([a, b, a + segments], 1), np.stack([b, b + segments, a + segments], 1)]
    return Prop(vertices.astype(np.float32), np.concatenate(faces).astype(np.int32), material)


def noise(size: int, sigma: float, rng: np.random.Generator) -> np.ndarray:
    """Smooth, seamless noise (size,size) in 0..1."""
    value = gaussian_filter(rng.standard_normal((size, size)), sigma, mode="wrap")
    return (value - value.min()) / np.ptp(value)


def wood(rng: np.random.Generator, size: int = 384, color=(0.62, 0.43, 0.27)) -> np.ndarray:
    """Planks with grain, uint8 (size,size,3)."""
    x = np.linspace(0, 1, size, endpoint=False)
    grain = gaussian_filter(rng.standard_normal((size, size)), (1.5, 30), mode="wrap")
    grain = grain / grain.std() * 0.05 + np.sin(2 * np.pi * (6 * noise(size, 40, rng) + 5 * x[:, None])) * 0.03
    planks = rng.uniform(0.85, 1.1, 6)[(x * 6).astype(int)][:, None]
    gap = 1 - 0.5 * (np.abs((x * 6) % 1) < 0.02)[:, None]
    return _bytes(np.asarray(color) * ((1 + grain) * planks * gap)[..., None])


def speckle(rng: np.random.Generator, size: int = 256, color=(0.5, 0.5, 0.5), contrast: float = 0.12) -> np.ndarray:
    """Carpet, stone, plaster: coloured noise of two sizes, uint8."""
    value = (noise(size, 1.2, rng) - 0.5) * contrast * 2 + (noise(size, 25, rng) - 0.5) * contrast
    return _bytes(np.asarray(color) * (1 + value)[..., None])


def tiles(
    rng: np.random.Generator, size: int = 256, count: int = 4, color=(0.7, 0.7, 0.68), other=(0.6, 0.6, 0.6)
) -> np.ndarray:
    """A chessboard of tiles with joints, uint8."""
    x = np.linspace(0, count, size, endpoint=False)
    odd = (x[:, None].astype(int) + x[None].astype(int)) % 2
    joint = 1 - 0.35 * np.maximum((x % 1 < 0.04)[:, None], (x % 1 < 0.04)[None])
    base = np.where(odd[..., None], np.asarray(color), np.asarray(other))
    return _bytes(base * (joint * (0.95 + 0.1 * noise(size, 3, rng)))[..., None])


def poster(rng: np.random.Generator, size: int = 256) -> np.ndarray:
    """Coloured blocks and text-like rows: a screen, a label, a book cover; uint8."""
    image = np.ones((size, size, 3)) * rng.uniform(0, 1, 3)
    for _ in range(rng.integers(3, 12)):
        a, b = rng.integers(0, size - 8, 2)
        h, w = rng.integers(4, size // 2, 2)
        image[a : a + h, b : b + w] = rng.uniform(0, 1, 3)
    for _ in range(rng.integers(0, 5)):
        a, b = rng.integers(0, size - 20, 2)
        ink = rng.uniform(0, 1, 3)
        for line in range(rng.integers(2, 10)):
            row = a + line * 7
            marks = rng.random(size - b) < 0.6
            image[row : row + 4, b:][:, marks[: image[row : row + 4, b:].shape[1]]] = ink
    return _bytes(image)


def _bytes(image: np.ndarray) -> np.ndarray:
    return (np.clip(image, 0, 1) * 255).astype(np.uint8)


def room(rng: np.random.Generator, table_height: float = 0.0, size: float = 3.0) -> list[Prop]:
    """A table under the robot (top at z = `table_height`), floor, three walls, shelves and clutter, all
    procedural.

    The robot stands at the origin and looks along +x; cameras belong in x > 0, |y| < size - 1.
    """
    floor_z = table_height - 0.75
    top = Material((1, 1, 1), 0.4, texture=wood(rng), texture_size=0.9)
    parts = [box((1.7, 1.6, 0.04), top, (0.45, 0, table_height - 0.021), 8)]
    legs = Material((0.25, 0.25, 0.27), 0.5)
    parts += [box((0.05, 0.05, 0.72), legs, (x, y, floor_z + 0.36)) for x in (-0.3, 1.2) for y in (-0.7, 0.7)]
    floor = Material((1, 1, 1), 0.7, texture=speckle(rng, color=(0.42, 0.42, 0.44)), texture_size=0.8)
    wall = Material((1, 1, 1), 0.9, texture=speckle(rng, color=(0.72, 0.7, 0.66), contrast=0.04), texture_size=2.0)
    x, y, z = np.eye(3) * 2 * size
    parts.append(Prop(*grid(np.array([-size, -size, floor_z]), x, y, 24), floor))
    parts.append(Prop(*grid(np.array([-1.6, -size, floor_z]), y, z * 0.5, 16), wall))
    parts.append(Prop(*grid(np.array([-size, -size, floor_z]), x, z * 0.5, 16), wall))
    parts.append(Prop(*grid(np.array([-size, size, floor_z]), x, z * 0.5, 16), wall))
    for _ in range(4):  # cupboards and shelves along the walls
        height = rng.uniform(0.5, 1.8)
        material = Material(tuple(rng.uniform(0.2, 0.7, 3) * 0.5 + rng.uniform(0.1, 0.4)), 0.6)
        where = (-1.3, rng.uniform(-2.4, 2.4), floor_z + height / 2)
        parts.append(box((0.45, rng.uniform(0.4, 1.0), height), material, where))
        for i in range(3):
            cover = Material((1, 1, 1), 0.6, texture=poster(rng), texture_size=0.4)
            side = rng.uniform(0.12, 0.28)
            spot = (-1.25 + 0.02 * i, where[1] + 0.3 * (i - 1), floor_z + height + side / 2)
            parts.append(box((0.2, side, side), cover, spot))
    for _ in range(5):  # things on the table, out of the arm's way
        if rng.random() < 0.5:
            print_ = Material((1, 1, 1), 0.5, texture=poster(rng), texture_size=0.2)
            a, b, c = rng.uniform(0.05, 0.14, 3)
            thing = box((a, b, c), print_, (0, 0, c / 2))
        else:
            r, h = rng.uniform(0.025, 0.05), rng.uniform(0.06, 0.2)
            profile = np.array([[1e-4, 0], [r, 0], [r, h], [r * 0.4, h * 1.2], [1e-4, h * 1.2]])
            thing = revolve(profile, Material(tuple(rng.uniform(0.05, 0.9, 3)), 0.25))
        turn = rng.uniform(0, 6.3)
        T = np.eye(4)
        T[:2, :2] = [[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]]
        T[:3, 3] = rng.uniform(0.3, 1.1), rng.choice([-1, 1]) * rng.uniform(0.45, 0.7), table_height
        parts.append(thing.placed(T))
    return parts
