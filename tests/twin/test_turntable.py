"""Turntables with K [R t] a picture: the hull's bounding box."""

import cv2
import numpy as np
import pytest
from view_cases import around, sphere_view

from twin.errors import TwinError
from twin.hull import HullSettings, carve_hull
from twin.hull_turntable import read_turntable

BALLS = [((0, 0, 0), 0.05), ((0.06, 0.02, 0.01), 0.03), ((-0.02, -0.05, -0.03), 0.025)]


def write_turntable(folder, views):
    """Balls before black in Middlebury's layout."""
    lines = [str(len(views))]
    for n, eye in enumerate(views):
        parts = [sphere_view(eye, (320, 240), 440, center=center, radius=radius) for center, radius in BALLS]
        camera = parts[0].camera
        image = np.zeros((240, 320, 3), np.uint8)
        for part, grey in zip(parts, (90, 160, 230), strict=True):
            image[part.mask] = grey
        cv2.imwrite(str(folder / f"t{n:02d}.png"), image)
        T = camera.T_cam_base
        numbers = [*camera.K.ravel(), *T[:3, :3].ravel(), *T[:3, 3]]
        lines.append(f"t{n:02d}.png " + " ".join(f"{v:.12f}" for v in numbers))
    (folder / "balls_par.txt").write_text("\n".join(lines))


def test_bounding_box(tmp_path):
    """24 views of three balls: the box within 1.5 mm; a margin of masks makes it larger by its width."""
    write_turntable(tmp_path, list(around(12, (0.0, 0.5))))
    low = np.min([np.subtract(c, r) for c, r in BALLS], 0)
    high = np.max([np.add(c, r) for c, r in BALLS], 0)
    for growth in (3, 0):
        mesh = carve_hull(read_turntable(tmp_path, dilate=growth, erode=0), HullSettings(voxel=0.002))
        margin = growth * 0.5 / 440
        assert np.abs(mesh.vertices.min(0) - low + margin).max() < 1.5e-3
        assert np.abs(mesh.vertices.max(0) - high - margin).max() < 1.5e-3
    assert mesh.to_trimesh().is_watertight


def test_good_silhouettes_alone_have_masks(tmp_path):
    write_turntable(tmp_path, list(around(3, (0.2,))))
    (tmp_path / "balls_good_silhouette_images.txt").write_text("t00.png\nt02.png\n")
    assert [seen.mask is None for seen in read_turntable(tmp_path)] == [False, True, False]


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (None, "expected one file"),
        ("1\nt00.png 1 2 3", "21 numbers"),
        ("1\nt00.png " + "nan " * 21, "21 numbers"),
        ("1\n../t00.png " + "1 " * 21, "not the name of a file"),
        ("1\nno.png " + "1 " * 21, "no such picture"),
        ("1\nt00.png " + "1 " * 21, "K must read"),
    ],
)
def test_unfit_tables_are_refused(tmp_path, table, message):
    cv2.imwrite(str(tmp_path / "t00.png"), np.zeros((8, 8, 3), np.uint8))
    if table is not None:
        (tmp_path / "x_par.txt").write_text(table)
    with pytest.raises(TwinError, match=message):
        list(read_turntable(tmp_path))
