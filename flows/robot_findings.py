"""A description and its robot looked at from all sides, one function a side."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from flows.robot_symmetry import turn_changes
from flows.robot_views import base_mask
from urdf import Robot
from urdf.description import REACH, Description
from urdf.reference import reference_poses
from urdf.robot import FIXED

SAMPLES = 100
TOLERANCE = 1e-6
LARGE, SMALL = 10.0, 0.01  # metres: no link or joint offset is longer, no robot smaller
NEVER_OPENS, NEVER_CLOSES = 0.3, 0.03  # metres: odd for a gripper
OFF_MIDDLE = 0.03  # metres from the middle of the fingers that a tool frame may lie
SPECK = 0.06  # metres: a sticker or a sensor that the fitting mesh may lose
ALIKE, DIFFERENT = 0.002, 0.03  # metres that a surface moves when a joint turns: nothing to see, plain to see
STATES = ("ok", "warn", "FAIL")


@dataclass(frozen=True)
class Finding:
    """One result: `state` of STATES, one line of text, and more lines where it takes a list."""

    state: str
    text: str
    lines: tuple[str, ...] = ()


def counted(count: int, one: str, many: str = "") -> str:
    """A number with its noun in singular or plural."""
    return f"{count} {one if count == 1 else many or one + 's'}"


def _joints(description: Description, robot: Robot) -> list[Finding]:
    moving = [j for j in description.joints if j.kind != "fixed"]
    count, mimics = len(robot.joint_names), sum(j.mimic is not None for j in moving)
    text = counted(count, "actuated joint") + (f" and {mimics} that follow" if mimics else "")
    findings = [Finding("ok" if count else "FAIL", text)]
    odd = []
    for joint in moving:
        flag = limit_flag(joint.kind, joint.lower, joint.upper)
        if flag and joint.mimic is None:
            odd.append(f"{joint.name}: {flag}")
    if odd:
        findings.append(Finding("warn", f"odd limits of {counted(len(odd), 'joint')}", tuple(odd)))
    else:
        findings.append(Finding("ok", "all joints have usable limits"))
    return findings


def limit_flag(kind: str, lower: float, upper: float) -> str:
    """What is odd about a joint's limits, "" when nothing is."""
    if kind == "continuous":
        return ""
    if upper - lower < 1e-6:
        return "cannot move: lower and upper limit are the same"
    if kind == "prismatic":
        if upper >= REACH or lower <= -REACH:
            return f"slides without a limit; taken as {lower:g} to {upper:g} m"
        return f"slides {upper - lower:.3g} m: millimetres?" if upper - lower > 3 else ""
    return f"turns only {np.rad2deg(upper - lower):.2g} degrees" if upper - lower < np.deg2rad(1) else ""


def _kinematics(description: Description, robot: Robot) -> list[Finding]:
    rng = np.random.default_rng(0)
    q = np.array([robot.random_configuration(rng) for _ in range(SAMPLES)])
    gap = float(np.abs(robot.link_poses(q) - reference_poses(robot, q)).max())
    text = f"kinematics agree with pinocchio to {gap:.1e} over {SAMPLES} configurations"
    return [Finding("ok" if gap < TOLERANCE else "FAIL", text)]


def _units(description: Description, robot: Robot) -> list[Finding]:
    wrong = []
    for link, name in enumerate(robot.link_names):
        offset = float(np.linalg.norm(robot.tree.origin[link, :3, 3]))
        if offset > LARGE:
            wrong.append(f"joint above link {name}: {offset:.4g} m from its parent; origins in millimetres?")
        points = robot.mesh.vertices[robot.mesh.vertex_link == link]
        span = float(np.ptp(points, axis=0).max()) if len(points) else 0.0
        if span > LARGE:
            wrong.append(f"link {name}: {span:.4g} m long; a mesh in millimetres needs scale 0.001")
    poses = robot.link_poses(robot.rest)[robot.mesh.vertex_link]
    points = np.einsum("vij,vj->vi", poses[:, :3, :3], robot.mesh.vertices) + poses[:, :3, 3]
    span = np.ptp(points, axis=0)
    if span.max() < SMALL:
        wrong.append(f"the whole robot is {1000 * span.max():.3g} mm long; meshes scaled down twice?")
    chain = float(np.linalg.norm(robot.tree.origin[:, :3, 3], axis=1).sum())
    own = max(float(np.ptp(robot.mesh.vertices[robot.mesh.vertex_link == i], axis=0).max())
              for i in np.unique(robot.mesh.vertex_link))  # fmt: skip
    if not wrong and chain > 0.05 and not 1 / 300 < own / chain < 300:
        wrong.append(f"largest link {own:.3g} m, sum of all joint offsets {chain:.3g} m: different units?")
    if wrong:
        return [Finding("FAIL", "lengths that cannot be metres", tuple(wrong))]
    size = " x ".join(f"{v:.2f}" for v in span)
    return [Finding("ok", f"lengths are plausible in metres: {size} m at rest")]


def _parts(description: Description, robot: Robot) -> list[Finding]:
    drawn = np.isin(np.arange(len(robot.link_names)), robot.mesh.face_link)
    hand = np.array([p == "gripper" for p in robot.link_parts])
    base = base_mask(robot)
    known = description.labels.gripper_links is not None
    counts = (
        f"links with geometry: {int((drawn & ~hand & ~base).sum())} arm, {int((drawn & hand).sum())} gripper, "
        f"{int((drawn & base).sum())} base ({'as labelled' if known else 'guessed from names'})"
    )
    if not (drawn & ~hand).any():
        return [Finding("warn", counts + ": everything is gripper", (HOW_TO_LABEL,))]
    if not hand.any() and not known:
        return [Finding("warn", counts + ": no gripper found", (HOW_TO_LABEL,))]
    return [Finding("ok", counts)]


HOW_TO_LABEL = "if that is wrong, name gripper_links in a TOML entry of your own"


def _rest(description: Description, robot: Robot) -> list[Finding]:
    outside = []
    limits = {j.name: (j.lower, j.upper) for j in description.joints if j.kind != "continuous"}
    for name, value in description.labels.rest.items():
        lower, upper = limits.get(name, (-np.inf, np.inf))
        if not lower - 1e-6 <= value <= upper + 1e-6:
            outside.append(f"{name}: {value:.4g} is not in {lower:.4g} .. {upper:.4g}")
    if outside:
        return [Finding("FAIL", "rest pose outside the limits", tuple(outside))]
    return [Finding("ok", "rest pose inside the limits")]


def _couplings(description: Description, robot: Robot) -> list[Finding]:
    joints = {j.name: j for j in description.joints}
    lines, beyond = [], []
    for joint in description.joints:
        if joint.mimic is None or joint.kind == "fixed":
            continue
        leader, multiplier, offset = joint.mimic
        shift = f" {'+' if offset >= 0 else '-'} {abs(offset):.4g}" if offset else ""
        lines.append(f"{joint.name} = {multiplier:.4g} x {leader}{shift}")
        ends = sorted(multiplier * v + offset for v in (joints[leader].lower, joints[leader].upper))
        slack = 0.02 * (joint.upper - joint.lower) + 1e-3
        if joint.kind != "continuous" and (ends[0] < joint.lower - slack or ends[1] > joint.upper + slack):
            beyond.append(f"{joint.name} is led to {ends[0]:.3g} .. {ends[1]:.3g}, "
                          f"its own limits are {joint.lower:.3g} .. {joint.upper:.3g}")  # fmt: skip
    if not lines:
        return []
    findings = [Finding("ok", counted(len(lines), "coupling"), tuple(lines))]
    if beyond:
        findings.append(Finding("warn", "couplings beyond a joint's own limits", tuple(beyond)))
    return findings


def _grippers(description: Description, robot: Robot) -> list[Finding]:
    findings = []
    slides = {j.name: j.kind == "prismatic" for j in description.joints}
    for gripper in robot.grippers:
        name = robot.joint_names[gripper.joint]
        rows = np.linspace(0, len(gripper.values) - 1, 5).round().astype(int)
        factor, unit = (1000.0, " mm") if slides[name] else (float(np.rad2deg(1.0)), "°")
        pairs = [f"{factor * gripper.values[i]:.1f}{unit}: {1000 * gripper.openings[i]:.1f} mm" for i in rows]
        steps = np.diff(gripper.openings)
        low, high = float(gripper.openings.min()), float(gripper.openings.max())
        text = f"gripper {name} opens {round(1000 * low)} to {1000 * high:.0f} mm"
        text += " (from its labelled pads)" if description.labels.grippers else " (measured on its meshes)"
        state = "ok"
        if not ((steps >= -1e-9).all() or (steps <= 1e-9).all()):
            state, text = "FAIL", text + ", but not steadily"
        elif high > NEVER_OPENS or low > NEVER_CLOSES or low < -0.01:
            state, text = "warn", text + ": an odd range"
        findings.append(Finding(state, text, ("   ".join(pairs),)))
    if not robot.grippers and "gripper" in robot.link_parts:
        findings.append(Finding("warn", "no joint opens the gripper clearly: its opening will be NaN"))
    elif not robot.grippers:
        findings.append(Finding("ok", "no gripper: its opening will be NaN"))
    return findings


def _tool(description: Description, robot: Robot) -> list[Finding]:
    known = "as labelled" if description.labels.end_effector else "guessed"
    text = f"tool frame {robot.ee_link} ({known})"
    if not description.labels.grippers:
        return [Finding("ok", text)]
    poses = robot.link_poses(robot.rest)
    tool = poses[robot.ee_index, :3, 3]
    pads = np.array([
        (poses[robot.link_names.index(p.link)] @ [*p.xyz, 1.0])[:3] for p in description.labels.grippers[0].pads
    ])  # fmt: skip
    across = pads[1] - pads[0]
    length = float(np.linalg.norm(across))
    aside = abs(float((tool - pads.mean(0)) @ across)) / max(length, 1e-9)
    text += f", {1000 * aside:.0f} mm beside the middle of the fingers"
    return [Finding("ok" if aside < OFF_MIDDLE else "warn", text)]


def _symmetry(description: Description, robot: Robot) -> list[Finding]:
    lines, state = [], "ok"
    slides = {j.name: j.kind == "prismatic" for j in description.joints}
    named = dict(robot.symmetric)
    angles = {c: named.get(n) for c, n in enumerate(robot.joint_names)}
    for name in robot.unobservable:
        change = turn_changes(robot, robot.joint_names.index(name)).max()
        lines.append(f"{name}: unobservable; turning it moves the surface by {1000 * change:.0f} mm at most")
        state = "warn" if change > DIFFERENT else state
    for column, angle in angles.items():
        if angle is not None:
            change = float(turn_changes(robot, column, (angle,))[0])
            name = robot.joint_names[column]
            lines.append(f"{name}: alike after {np.rad2deg(angle):.0f}°, but for {1000 * change:.0f} mm")
            state = "warn" if change > DIFFERENT else state
    for column in robot.arm_joints:
        name = robot.joint_names[column]
        if name not in robot.unobservable and not slides[name]:
            change = turn_changes(robot, int(column)).max()
            if change < ALIKE:
                lines.append(f"{name}: nothing to see when it turns; it should be labelled unobservable")
                state = "warn"
    if not lines:
        return [Finding("ok", "every joint shows when it turns")]
    return [Finding(state, "joints that a picture shows badly", tuple(lines))]


def _surface(description: Description, robot: Robot) -> list[Finding]:
    fit, display = len(robot.mesh.faces), len(robot.display_mesh.faces)
    empty = [n for i, n in enumerate(robot.link_names) if i and robot.tree.kind[i] != FIXED
             and not np.isin(i, robot.display_mesh.face_link)]  # fmt: skip
    findings = [Finding("ok", f"meshes of {fit} triangles for fitting, {display} for display")]
    lost = set(robot.display_mesh.face_link.tolist()) - set(robot.mesh.face_link.tolist())
    if lost:
        fine = robot.display_mesh
        spans = [np.ptp(fine.vertices[fine.vertex_link == i], axis=0).max() for i in sorted(lost)]
        names = ", ".join(robot.link_names[i] for i in sorted(lost))
        findings.append(Finding("ok" if max(spans) < SPECK else "warn", "not in the fitting mesh", (names,)))
    if empty:
        findings.append(Finding("ok", f"without geometry: {counted(len(empty), 'moving link')}", (", ".join(empty),)))
    return findings


CHECKS = (_joints, _kinematics, _units, _parts, _rest, _couplings, _grippers, _tool, _symmetry, _surface)
