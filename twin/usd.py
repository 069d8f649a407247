"""The scene as USD with physics: metres, Z up, kilograms; every collision shape says how it is approximated.

Objects are rigid bodies with mass and convex pieces; the robot is an articulation of rigid links at its fitted pose,
its joints driven there. Source of the schemas: UsdPhysics, https://openusd.org/release/api/usd_physics_page_front.html
(angles of joints in degrees, an axis is X, Y or Z of the joint's frame).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from pxr import Gf, Sdf, Tf, Usd, UsdGeom, UsdPhysics, UsdShade, Vt
from scipy.spatial.transform import Rotation

from twin.links import LinkBody, joint_limits, joint_values
from twin.mesh import Mesh
from twin.model_files import simulated
from twin.scene import Body, Scene
from twin.xml import quaternion, unique
from urdf import Robot
from urdf.robot import FIXED, REVOLUTE

STIFFNESS, DAMPING = 1000.0, 100.0  # of the robot's drives; N(m) a degree or metre


def write_usd(path: Path, scene: Scene, robot: Robot | None, q: np.ndarray | None, parts: tuple[LinkBody, ...]) -> None:
    """Write scene.usda; textures lie beside it as objects/<name>/visual.png.

    Args:
        q: (n,) the robot's joints in the file, radians and metres. parts: its links, see `twin.links`.
    """
    temporary = path.with_name(f".{path.stem}.tmp{path.suffix}")
    temporary.unlink(missing_ok=True)
    stage = Usd.Stage.CreateInMemory()
    UsdGeom.SetStageMetersPerUnit(stage, 1.0)
    UsdGeom.SetStageUpAxis(stage, UsdGeom.Tokens.z)
    UsdPhysics.SetStageKilogramsPerUnit(stage, 1.0)
    world = UsdGeom.Xform.Define(stage, "/World")
    stage.SetDefaultPrim(world.GetPrim())
    physics = UsdPhysics.Scene.Define(stage, "/World/physics")
    pull = np.asarray(scene.gravity, float)
    strength = float(np.linalg.norm(pull))
    physics.CreateGravityMagnitudeAttr(strength)
    if strength > 0:
        physics.CreateGravityDirectionAttr(Gf.Vec3f(*(pull / strength).tolist()))
    if scene.background is not None:
        _mesh(stage, "/World/background", simulated(scene.background))
    names: set[str] = set()
    for body in scene.bodies:
        _body(stage, f"/World/objects/{unique(_identifier(body.name), names)}", body)
    if robot is not None and q is not None:
        _robot(stage, "/World/robot", robot, q, parts)
    try:
        stage.GetRootLayer().Export(str(temporary))
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def _identifier(name: str) -> str:
    """A name as USD allows it: no digit first."""
    return Tf.MakeValidIdentifier(f"_{name}" if name[:1].isdigit() else name)


def _place(prim: Any, T: np.ndarray) -> None:
    """A transform; USD multiplies row vectors from the left."""
    UsdGeom.Xformable(prim).AddTransformOp().Set(Gf.Matrix4d(np.asarray(T, float).T.tolist()))


def _mesh(stage: Any, path: str, mesh: Mesh) -> Any:
    shape = UsdGeom.Mesh.Define(stage, path)
    points = np.ascontiguousarray(mesh.vertices, np.float32)
    shape.CreatePointsAttr(Vt.Vec3fArray.FromNumpy(points))
    shape.CreateFaceVertexCountsAttr(Vt.IntArray.FromNumpy(np.full(len(mesh.faces), 3, np.int32)))
    shape.CreateFaceVertexIndicesAttr(Vt.IntArray.FromNumpy(np.ascontiguousarray(mesh.faces.ravel(), np.int32)))
    shape.CreateExtentAttr(Vt.Vec3fArray.FromNumpy(np.stack([points.min(0), points.max(0)])))
    shape.CreateSubdivisionSchemeAttr(UsdGeom.Tokens.none)
    if mesh.colors is not None and mesh.texture is None:
        linear = ((mesh.colors / 255.0) ** 2.2).astype(np.float32)  # displayColor is linear
        shape.CreateDisplayColorPrimvar(UsdGeom.Tokens.vertex).Set(Vt.Vec3fArray.FromNumpy(linear))
    return shape


def _body(stage: Any, path: str, body: Body) -> None:
    prim = UsdGeom.Xform.Define(stage, path).GetPrim()
    _place(prim, body.T_base_body)
    if not body.static:
        UsdPhysics.RigidBodyAPI.Apply(prim)
        _mass(prim, body)
    visual = _mesh(stage, f"{path}/visual", body.visual)
    if body.visual.texture is not None and body.visual.uv is not None:
        _texture(stage, f"{path}/look", visual, body)
    material = UsdShade.Material.Define(stage, f"{path}/surface")
    rough = UsdPhysics.MaterialAPI.Apply(material.GetPrim())
    rough.CreateStaticFrictionAttr(float(body.friction))
    rough.CreateDynamicFrictionAttr(float(body.friction))
    rough.CreateRestitutionAttr(0.0)
    rough.CreateDensityAttr(float(body.density))
    for number, piece in enumerate(body.collision):
        solid = _piece(stage, f"{path}/collision_{number}", piece)
        UsdShade.MaterialBindingAPI.Apply(solid).Bind(material, materialPurpose="physics")


def _piece(stage: Any, path: str, mesh: Mesh) -> Any:
    shape = _mesh(stage, path, mesh)
    shape.CreatePurposeAttr(UsdGeom.Tokens.guide)
    UsdPhysics.CollisionAPI.Apply(shape.GetPrim())
    UsdPhysics.MeshCollisionAPI.Apply(shape.GetPrim()).CreateApproximationAttr(UsdPhysics.Tokens.convexHull)
    return shape.GetPrim()


def _mass(prim: Any, body: Body | LinkBody) -> None:
    api = UsdPhysics.MassAPI.Apply(prim)
    api.CreateMassAttr(float(body.mass))
    api.CreateCenterOfMassAttr(Gf.Vec3f(*np.asarray(body.center, float).tolist()))
    moments, axes = np.linalg.eigh(np.asarray(body.inertia, float))
    if np.linalg.det(axes) < 0:
        axes[:, 0] *= -1
    api.CreateDiagonalInertiaAttr(Gf.Vec3f(*moments.tolist()))
    api.CreatePrincipalAxesAttr(_quat(axes))


def _quat(R: np.ndarray) -> Any:
    w, x, y, z = quaternion(R).tolist()
    return Gf.Quatf(w, x, y, z)


def _texture(stage: Any, path: str, visual: Any, body: Body) -> None:
    st = UsdGeom.PrimvarsAPI(visual).CreatePrimvar("st", Sdf.ValueTypeNames.TexCoord2fArray, UsdGeom.Tokens.vertex)
    st.Set(Vt.Vec2fArray.FromNumpy(np.ascontiguousarray(body.visual.uv, np.float32)))
    material = UsdShade.Material.Define(stage, path)
    reader = UsdShade.Shader.Define(stage, f"{path}/uv")
    reader.CreateIdAttr("UsdPrimvarReader_float2")
    reader.CreateInput("varname", Sdf.ValueTypeNames.String).Set("st")
    image = UsdShade.Shader.Define(stage, f"{path}/image")
    image.CreateIdAttr("UsdUVTexture")
    image.CreateInput("file", Sdf.ValueTypeNames.Asset).Set(f"./objects/{body.name}/visual.png")
    image.CreateInput("st", Sdf.ValueTypeNames.Float2).ConnectToSource(
        reader.CreateOutput("result", Sdf.ValueTypeNames.Float2)
    )
    surface = UsdShade.Shader.Define(stage, f"{path}/preview")
    surface.CreateIdAttr("UsdPreviewSurface")
    surface.CreateInput("roughness", Sdf.ValueTypeNames.Float).Set(0.8)
    surface.CreateInput("diffuseColor", Sdf.ValueTypeNames.Color3f).ConnectToSource(
        image.CreateOutput("rgb", Sdf.ValueTypeNames.Float3)
    )
    material.CreateSurfaceOutput().ConnectToSource(surface.CreateOutput("surface", Sdf.ValueTypeNames.Token))
    UsdShade.MaterialBindingAPI.Apply(visual.GetPrim()).Bind(material)


def _robot(stage: Any, path: str, robot: Robot, q: np.ndarray, parts: tuple[LinkBody, ...]) -> None:
    root = UsdGeom.Xform.Define(stage, path).GetPrim()
    UsdPhysics.ArticulationRootAPI.Apply(root)
    q = robot.clip(q)
    poses, values = robot.link_poses(q), joint_values(robot, q)
    names: set[str] = set()
    paths = [f"{path}/{unique(_identifier(part.name), names)}" for part in parts]
    for part, link in zip(parts, paths):
        prim = UsdGeom.Xform.Define(stage, link).GetPrim()
        _place(prim, poses[part.row])
        UsdPhysics.RigidBodyAPI.Apply(prim)
        _mass(prim, part)
        if part.visual is not None:
            _mesh(stage, f"{link}/visual", part.visual)
        if part.hull is not None:
            _piece(stage, f"{link}/collision", part.hull)
    base = UsdPhysics.FixedJoint.Define(stage, f"{path}/base_joint")
    base.CreateBody1Rel().SetTargets([paths[0]])
    for part in parts:
        if robot.tree.parent[part.row] >= 0:
            _joint(stage, path, names, robot, part, paths, float(values[part.row]))


def _joint(
    stage: Any, path: str, names: set[str], robot: Robot, part: LinkBody, paths: list[str], value: float
) -> None:
    tree, row = robot.tree, part.row
    name = f"{path}/{unique(_identifier(part.joint or part.name), names)}"
    kind = FIXED if tree.kind[row] == FIXED else tree.kind[row]
    schema = {FIXED: UsdPhysics.FixedJoint, REVOLUTE: UsdPhysics.RevoluteJoint}.get(kind, UsdPhysics.PrismaticJoint)
    joint = schema.Define(stage, name)
    joint.CreateBody0Rel().SetTargets([paths[tree.parent[row]]])
    joint.CreateBody1Rel().SetTargets([paths[row]])
    along = Rotation.align_vectors([tree.axis[row]], [[1.0, 0, 0]])[0].as_matrix() if kind != FIXED else np.eye(3)
    origin = tree.origin[row]
    joint.CreateLocalPos0Attr(Gf.Vec3f(*origin[:3, 3].tolist()))
    joint.CreateLocalRot0Attr(_quat(origin[:3, :3] @ along))
    joint.CreateLocalPos1Attr(Gf.Vec3f(0.0))
    joint.CreateLocalRot1Attr(_quat(along))
    if kind == FIXED:
        return
    unit = float(np.rad2deg(1.0)) if kind == REVOLUTE else 1.0
    joint.CreateAxisAttr(UsdGeom.Tokens.x)
    limits = joint_limits(robot, row)
    if limits is not None:
        joint.CreateLowerLimitAttr(limits[0] * unit)
        joint.CreateUpperLimitAttr(limits[1] * unit)
    drive = UsdPhysics.DriveAPI.Apply(joint.GetPrim(), "angular" if kind == REVOLUTE else "linear")
    drive.CreateTypeAttr("force")
    drive.CreateTargetPositionAttr(value * unit)
    drive.CreateStiffnessAttr(STIFFNESS)
    drive.CreateDampingAttr(DAMPING)
