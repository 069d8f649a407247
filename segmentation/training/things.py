"""Things that are no robot: materials, objects, furniture; what networks mistook for robots is among them."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import trimesh

from pose.props import box, cylinder, poster, revolve, tube
from pose.shading import Material, Prop
from segmentation.training.assets import Assets, pick


def blob(rng: np.random.Generator) -> Prop:
    """A crumpled thing of longest side 1: a bag, a cloth, a toy."""
    ball = trimesh.creation.icosphere(subdivisions=3)
    v = ball.vertices.copy()
    for _ in range(6):
        d = rng.standard_normal((1, 3)) * rng.uniform(1, 6)
        v *= 1 + rng.uniform(0.03, 0.25) * np.sin(v @ d.T + rng.uniform(0, 6))
    v *= rng.uniform(0.3, 1, 3)
    v -= (v.max(0) + v.min(0)) / 2
    return Prop((v / np.ptp(v, axis=0).max()).astype(np.float32), np.asarray(ball.faces, np.int32))


def random_material(rng: np.random.Generator, assets: Assets, printed: float = 0.5) -> Material:
    """Colour, gloss, and often a texture: a material photo, a piece of a photo, or printed blocks."""
    grey = np.full(3, rng.uniform(0.02, 0.95))
    color = np.clip(grey + (rng.uniform(0.02, 0.95, 3) - grey) * rng.choice([0.1, 0.4, 1.0]), 0, 1)
    texture, draw = None, rng.random()
    if draw < printed:
        kind = rng.random()
        if kind < 0.3 and assets.textures:
            texture = pick(rng, assets.textures)
        elif kind < 0.75 and assets.photos:
            photo = pick(rng, assets.photos)
            n = min(256, *photo.shape[:2])
            y, x = rng.integers(photo.shape[0] - n + 1), rng.integers(photo.shape[1] - n + 1)
            texture = photo[y : y + n, x : x + n]
        elif kind < 0.85:
            texture = pick(rng, assets.drawn_textures)
        else:
            texture = poster(rng, 192)
        color = np.ones(3) if rng.random() < 0.6 else np.minimum(color + 0.4, 1)
    metal = float(rng.random() < 0.12)
    return Material(tuple(color), rng.uniform(0.1, 0.95), metal, texture, rng.uniform(0.2, 1.2))


def random_object(rng: np.random.Generator, assets: Assets) -> Prop:
    """Something of longest side about 1, about its centre, with a random material."""
    material, kind = random_material(rng, assets), rng.random()
    if rng.random() < 0.12:  # dishes, paper, boxes: white and smooth, and yet no robot
        return white_thing(rng)
    if kind < 0.45 and assets.objects:
        prop = pick(rng, assets.objects)
        return prop.dressed(material)
    if kind < 0.6:
        return blob(rng).dressed(material)
    if kind < 0.75:
        return box(tuple(rng.uniform(0.15, 1, 3)), material)
    if kind < 0.95:  # cups, bottles, bowls, lamps: a random profile
        n = rng.integers(3, 9)
        radius = np.abs(0.28 + 0.12 * np.cumsum(rng.standard_normal(n)) / np.sqrt(n)).clip(0.04, 0.5)
        profile = np.column_stack([np.r_[1e-4, radius, 1e-4], np.r_[0, np.linspace(0, 1, n), 1] - 0.5])
        return revolve(profile, material)
    return tube(np.cumsum(rng.standard_normal((24, 3)) * 0.08, 0), rng.uniform(0.005, 0.03), material)


def white_thing(rng: np.random.Generator) -> Prop:
    """A plate, bowl, mug, sheet of paper or carton in white, of longest side about 1."""
    shade = rng.uniform(0.6, 0.97) * (1 + rng.normal(0, 0.02, 3))
    material = Material(tuple(np.clip(shade, 0, 1)), rng.uniform(0.1, 0.9))
    kind = rng.random()
    if kind < 0.4:
        height = rng.uniform(0.05, 0.35)
        foot, rim = rng.uniform(0.15, 0.35), 0.5
        profile = [[1e-4, 0], [foot, 0], [rim, height], [rim * 0.96, height], [foot, 0.04], [1e-4, 0.03]]
        return revolve(np.array(profile), material, 40)
    if kind < 0.6:
        r = rng.uniform(0.25, 0.45)
        profile = [[1e-4, -0.5], [r, -0.5], [r, 0.5], [r * 0.9, 0.5], [r * 0.9, -0.45], [1e-4, -0.45]]
        return revolve(np.array(profile), material, 32)
    if kind < 0.8:
        return box((1.0, rng.uniform(0.5, 1), 0.004), material)
    return box((1.0, rng.uniform(0.3, 1), rng.uniform(0.1, 0.6)), material)


def furniture(rng: np.random.Generator, assets: Assets) -> list[Prop]:
    """A chair, a stand, a shelf or a pipe frame: thin parts and joints that are no robot; metres, on z = 0."""
    material = random_material(rng, assets, 0.15)
    kind, parts = rng.random(), []
    if kind < 0.35:  # office chair
        parts.append(cylinder(0.03, 0.45, material))
        seat = random_material(rng, assets, 0.3)
        parts.append(box((0.48, 0.48, 0.08), seat, (0, 0, 0.48)))
        parts.append(box((0.06, 0.44, 0.5), seat, (-0.24, 0, 0.8)))
        for a in np.arange(5) * 1.2566:
            path = np.array(
                [
                    [0, 0, 0.1],
                    [0.15 * np.cos(a), 0.15 * np.sin(a), 0.07],
                    [0.3 * np.cos(a), 0.3 * np.sin(a), 0.04],
                ]
            )
            parts.append(tube(path, 0.022, material))
    elif kind < 0.6:  # lamp or camera arm
        knots = np.cumsum(np.r_[[[0, 0, 0]], rng.standard_normal((4, 3)) * 0.18 + [0, 0, 0.16]], 0)
        for a, b in pairwise(knots):
            parts.append(tube(np.linspace(a, b, 4), rng.uniform(0.008, 0.018), material))
        parts.append(box(tuple(rng.uniform(0.04, 0.2, 3)), random_material(rng, assets), tuple(knots[-1])))
    elif kind < 0.8:  # shelf with things
        for z in np.arange(4) * 0.38:
            parts.append(box((0.35, 1.0, 0.025), material, (0, 0, z)))
            for y in rng.uniform(-0.45, 0.45, 3):
                size = rng.uniform(0.06, 0.3, 3)
                parts.append(box(tuple(size), random_material(rng, assets), (0, y, z + size[2] / 2)))
        for y in (-0.5, 0.5):
            parts.append(box((0.35, 0.025, 1.2), material, (0, y, 0.58)))
    else:  # profile frame
        a, b, h = rng.uniform(0.4, 1.6, 3)
        r = rng.uniform(0.015, 0.03)
        for x, y in ((0, 0), (a, 0), (0, b), (a, b)):
            parts.append(box((2 * r, 2 * r, h), material, (x, y, h / 2)))
        parts.append(box((a, 2 * r, 2 * r), material, (a / 2, 0, h)))
        parts.append(box((2 * r, b, 2 * r), material, (0, b / 2, h)))
    return parts
