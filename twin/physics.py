"""Mass, centre and inertia of a closed mesh of even density."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from trimesh import triangles

from twin.errors import TwinError
from twin.mesh import Mesh


@dataclass(frozen=True, eq=False)
class MassProperties:
    """mass in kg; center (3,) of mass in the mesh's frame; inertia (3,3) kg m2 about it, in the mesh's axes."""

    mass: float
    center: np.ndarray
    inertia: np.ndarray


def mass_of(mesh: Mesh, density: float) -> MassProperties:
    """What a body weighs and how it resists turning.

    Source: integrals over the triangles of a closed surface by the divergence theorem (Eberly, "Polyhedral mass
    properties", 2002), as in trimesh. A mesh that is inside out is taken the right way round.

    Args:
        mesh: closed. density: kg/m3.

    Raises:
        TwinError: the density is not positive, or the mesh encloses no volume.
    """
    if not density > 0:
        raise TwinError(f"density {density}: expected a positive number of kg/m3")
    corners = mesh.vertices[mesh.faces]
    volume = np.einsum("fi,fi->", corners[:, 0], np.cross(corners[:, 1], corners[:, 2])) / 6
    if not (np.isfinite(volume) and abs(volume) > 1e-12):
        raise TwinError(f"the mesh encloses no volume ({len(mesh.faces)} triangles): no mass can be given to it")
    found = triangles.mass_properties(corners if volume > 0 else corners[:, ::-1], density=density)
    return MassProperties(float(found.mass), np.asarray(found.center_mass), np.asarray(found.inertia))
