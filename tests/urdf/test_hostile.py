"""Descriptions that mean harm: each ends in one clear line, soon, and without much memory."""

from __future__ import annotations

import gzip
import json
import os
import resource
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import trimesh
from toy_urdf import BOX, joint, link

from urdf import Robot, RobotError, load_robot

Write = Callable[..., Path]
XACRO = '<robot name="x" xmlns:xacro="http://www.ros.org/wiki/xacro">{}</robot>'
SECONDS, MEGABYTES = 20, 1200  # for any of these, on a busy machine; most take milliseconds


@pytest.fixture(autouse=True)
def _bounded() -> Iterator[None]:
    start, before = time.process_time(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    yield
    assert time.process_time() - start < SECONDS
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 1000 * MEGABYTES


def refused(path: Path, *words: str) -> None:
    with pytest.raises(RobotError) as caught:
        load_robot(path)
    message = str(caught.value)
    assert "\n" not in message and len(message) < 1500
    for word in words:
        assert word in message


def sound(robot: Robot) -> None:
    assert np.isfinite(robot.link_poses(robot.rest)).all() and np.isfinite(robot.mesh.vertices).all()
    assert (robot.lower <= robot.rest).all() and (robot.rest <= robot.upper).all()


def mesh_link(filename: str) -> str:
    return link("a", f'<visual><geometry><mesh filename="{filename}"/></geometry></visual>')


def chain(count: int, inside: Callable[[int], str] = lambda i: "") -> str:
    links = link("l0") + "".join(link(f"l{i}", "") for i in range(1, count))
    return links + "".join(joint(f"j{i}", f"l{i - 1}", f"l{i}", inside=inside(i)) for i in range(1, count))


# XML


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "utf-32", "utf-7"])
@pytest.mark.parametrize("bomb", ["laughs", "external", "parameter"])
def test_entities(write: Write, encoding: str, bomb: str) -> None:
    laughs = "".join(f'<!ENTITY e{i} "{f"&e{i - 1};" * 10}">' for i in range(1, 10))
    inner = {
        "laughs": f'<!ENTITY e0 "ha">{laughs}',
        "external": '<!ENTITY e9 SYSTEM "file:///etc/passwd">',
        "parameter": '<!ENTITY % p SYSTEM "http://127.0.0.1:9/x.dtd">%p;',
    }[bomb]
    text = f'<?xml version="1.0" encoding="{encoding}"?><!DOCTYPE r [{inner}]><robot name="&e9;">{link("a")}</robot>'
    path = write()
    path.write_bytes(text.encode(encoding))
    refused(path)


def test_sizes(write: Write) -> None:
    path = write()
    with path.open("wb") as stream:
        stream.truncate(10**11)  # takes no disk
    refused(path, "too much XML")
    refused(write(*(f'<link name="l{i}"/>' for i in range(100_000))), "100000 links; at most")
    same = '<joint name="j" type="fixed"><parent link="a"/><child link="b"/></joint>'
    refused(write(link("a"), same * 100_000), "100000 joints; at most")
    ball = '<visual><geometry><sphere radius="1"/></geometry></visual>'
    refused(write(link("a", ball * 100_000)), "100000 visuals; at most")
    refused(write("<a>" * 5000 + "</a>" * 5000), "not readable as XML")
    path.write_bytes(gzip.compress(b"<robot>" + b" " * 10**7 + b"</robot>"))
    refused(path)


# trees


def test_deep_and_wide_trees_load(write: Write) -> None:
    robot = load_robot(write(chain(1000)))
    sound(robot)
    assert len(robot.joint_names) == 999
    wide = load_robot(write(link("l0"), *(link(f"l{i}", "") + joint(f"j{i}", "l0", f"l{i}") for i in range(1, 1000))))
    sound(wide)


def test_mimic_chains(write: Write) -> None:
    robot = load_robot(write(chain(50, lambda i: f'<mimic joint="j{i - 1}" multiplier="-1"/>' if i > 1 else "")))
    np.testing.assert_array_equal(robot.tree.multiplier[1:], [(-1.0) ** i for i in range(49)])
    for body, words in (
        (chain(500, lambda i: f'<mimic joint="j{i - 1}"/>' if i > 1 else ""), "the chain is too long"),
        (chain(60, lambda i: f'<mimic joint="j{i - 1}" multiplier="-1e3"/>' if i > 1 else ""), "multiplies up"),
        (chain(60, lambda i: f'<mimic joint="j{i % 59 + 1}" multiplier="-1"/>'), "leads back to itself"),
        (chain(2, lambda i: '<mimic joint="j1"/>'), "leads back to itself"),
        (chain(2, lambda i: '<mimic joint="j1" multiplier="nan"/>'), "'nan'"),
    ):
        refused(write(body), words)


@pytest.mark.parametrize(
    ("lower", "upper", "words"),
    [
        ("-inf", "-inf", ""), ("inf", "inf", ""), ("-1e400", "0", ""), ("0", "1e308", ""),
        ("1e308", "1e308", "expected radians"), ("nan", "1", "'nan'"), ("", "1", "expected a number"),
        ("2", "1", "above the upper"), ("1", "1", ""),
    ],
)  # fmt: skip
@pytest.mark.parametrize("kind", ["revolute", "prismatic", "continuous"])
def test_limits(write: Write, kind: str, lower: str, upper: str, words: str) -> None:
    limit = f'<limit lower="{lower}" upper="{upper}" velocity="1" effort="1"/>'
    path = write(link("a"), link("b"), joint("j", "a", "b", kind, limit))
    try:
        sound(load_robot(path))
    except RobotError as error:
        assert words and words in str(error)


@pytest.mark.parametrize("value", ["nan", "inf", "-inf", "1e400", "1e30", "0x10", "1,5", "", "1 2 3 4"])
@pytest.mark.parametrize("old", ["0 0 0.3", "0 1 0", "0.1 0.1 0.3"])
def test_numbers(write: Write, old: str, value: str) -> None:
    text = f"{value} 0 0" if value != "1 2 3 4" else value
    path = write(link("a"), link("b", ""), joint("j", "a", "b"))
    path.write_text(path.read_text().replace(old, text))
    try:
        sound(load_robot(path))
    except RobotError as error:
        assert "expected 3 finite numbers" in str(error)


def test_names(write: Write) -> None:
    """Names that mean something to others: file systems, terminals, pinocchio."""
    from urdf.reference import reference_poses

    names = ["universe", "root_joint", "a b", "../..", "&lt;x&gt;", "&#10;", "\u202e", "world", "x" * 10_000]
    links = link("l0") + "".join(link(n, "") for n in names)
    before = ["l0", *names]
    robot = load_robot(write(links, *(joint(n, before[i], n) for i, n in enumerate(names))))
    sound(robot)
    try:
        reference = reference_poses(robot, robot.rest[None])
    except (ValueError, RuntimeError):
        return  # pinocchio refuses a name of its own
    np.testing.assert_allclose(reference[0], robot.link_poses(robot.rest), atol=1e-9)


# files


def test_paths(write: Write, tmp_path: Path) -> None:
    folder = tmp_path / "pkg" / "urdf"
    folder.mkdir(parents=True)
    os.mkfifo(folder / "pipe.stl")
    (folder / "zero.stl").symlink_to("/dev/zero")
    (folder / "loop.stl").symlink_to("loop.stl")
    (folder / "passwd.stl").symlink_to("/etc/passwd")
    (folder / "folder.stl").mkdir()
    for name, words in (
        ("pipe.stl", "was not found"),
        ("zero.stl", "was not found"),
        ("loop.stl", "was not found"),
        ("folder.stl", "was not found"),
        ("passwd.stl", "mesh"),
        ("/etc/passwd", "file type none is not read"),
        ("file:///etc/passwd", "file type none is not read"),
        ("/dev/zero", "was not found"),
        ("file:///dev/stdin", "was not found"),
        ("../../../../etc/passwd", "leaves"),
        ("..\\\\..\\\\..\\\\..\\\\etc\\\\passwd", "leaves"),
        ("package://pkg/../../../etc/passwd", "leaves"),
        ("package://../../../etc/passwd", "leaves"),
        ("package://" + "a" * 5000 + "/x.stl", "was not found"),
        ("package://", "was not found"),
        ("~/x.stl", "was not found"),
        ("$HOME/x.stl", "was not found"),
        ("http://127.0.0.1:9/x.stl", "only package:// and file://"),
        ("file://", "was not found"),
        ("", "names no file"),
    ):
        refused(write(mesh_link(name)), words)


def test_stl_that_claims_what_it_has_not(write: Write, tmp_path: Path) -> None:
    path = write(mesh_link("a.stl"))
    mesh = path.parent / "a.stl"
    for data in (
        b"\0" * 80 + b"\xff" * 4,
        b"\0" * 80 + b"\xff" * 4 + b"\0" * 5000,
        b"\0" * 84,
        b"solid x\n" + b"facet\n" * 1000,
        b"solid" + b"\0" * 200,
        b"",
    ):
        mesh.write_bytes(data)
        refused(path, "a.stl")
    with mesh.open("wb") as stream:
        stream.write(b"\0" * 80 + b"\xff" * 4)
        stream.truncate(2_000_000_000)
    refused(path, "2000 MB; a mesh file may have")


def test_collada(write: Write) -> None:
    path = write(mesh_link("a.dae"))
    mesh = path.parent / "a.dae"
    bomb = '<!DOCTYPE C [<!ENTITY a "x"><!ENTITY b "&a;&a;">]><COLLADA>&b;</COLLADA>'
    for encoding in ("utf-8", "utf-16"):
        mesh.write_bytes(f'<?xml version="1.0" encoding="{encoding}"?>{bomb}'.encode(encoding))
        refused(path, "a.dae")
    mesh.write_bytes(gzip.compress(b" " * 10**7))
    refused(path, "a.dae")
    refused(write(mesh_link("a.zae")), "was not found")


def test_files_that_meshes_name(write: Write, tmp_path: Path) -> None:
    """Materials, pictures and buffers come from the mesh's folder, and only from ordinary files."""
    path = write(mesh_link("a.obj"))
    secret = tmp_path / "secret.mtl"
    secret.write_text("newmtl m\nKd 0 0 1\n")
    os.mkfifo(path.parent / "pipe.mtl")
    (path.parent / "zero.mtl").symlink_to("/dev/zero")
    (path.parent / "own.mtl").write_text("newmtl m\nKd 1 0 0\nmap_Kd pipe.mtl\n")
    for name in ("../../secret.mtl", str(secret), "file://" + str(secret), "pipe.mtl", "zero.mtl", "own.mtl"):
        (path.parent / "a.obj").write_text(f"mtllib {name}\nv 0 0 0\nv 1 0 0\nv 0 1 0\nusemtl m\nf 1 2 3\n")
        robot = load_robot(path)
        assert len(robot.mesh.faces) == 1 and robot.mesh.face_color[0, 2] < 0.9  # not the secret's blue
    (path.parent / "a.obj").write_text("v 0 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 99999999\n")
    refused(path, "a.obj")


@pytest.mark.parametrize("uri", ["../../secret.bin", "/etc/passwd", "pipe.bin", "http://127.0.0.1:9/x", "data:,x"])
def test_buffers_of_gltf(write: Write, tmp_path: Path, uri: str) -> None:
    path = write(mesh_link("a.gltf"))
    (tmp_path / "secret.bin").write_bytes(bytes(1000))
    os.mkfifo(path.parent / "pipe.bin")
    files = trimesh.exchange.gltf.export_gltf(trimesh.Scene(trimesh.creation.box()))
    tree = json.loads(files["model.gltf"])
    for buffer in tree["buffers"]:
        buffer["uri"] = uri
    (path.parent / "a.gltf").write_text(json.dumps(tree))
    refused(path, "a.gltf")


@pytest.mark.parametrize(
    ("key", "value"),
    [("count", 10**12), ("count", -1), ("componentType", 1), ("bufferView", 99), ("byteOffset", 10**12), ("type", "X")],
)
def test_accessors_of_gltf(write: Write, key: str, value: object) -> None:
    path = write(mesh_link("a.gltf"))
    files = trimesh.exchange.gltf.export_gltf(trimesh.Scene(trimesh.creation.box()))
    tree = json.loads(files["model.gltf"])
    for accessor in tree["accessors"]:
        accessor[key] = value
    for name, data in files.items():
        (path.parent / name).write_bytes(data)
    (path.parent / "a.gltf").write_text(json.dumps(tree))
    refused(path, "a.gltf")


# xacro


@pytest.mark.parametrize(
    "expression",
    [
        "__import__(\\'os\\').getcwd()", "().__class__", "(lambda: ().__class__)()", "[x.__class__ for x in [1]][0]",
        "open(\\'/etc/passwd\\')", "python.vars(python)", "(lambda p: p.type)(python)", "math.__loader__",
        "(x for x in [1]).gi_frame.f_back.f_builtins", "python.str.mro()", "eval(\\'1\\')", "getattr(1, \\'real\\')",
    ],
)  # fmt: skip
def test_expressions_that_reach_out(write: Write, expression: str) -> None:
    path = write(name="a.xacro")
    expression = expression.replace("\\'", "'")
    path.write_text(XACRO.format(f'<link name="${{{expression}}}">{BOX}</link>'))
    refused(path, "xacro could not expand it")


def test_eval_of_xacro_reaches_no_builtins(write: Write) -> None:
    path = write(name="a.xacro")
    for expression in ("open", "eval", "exec", "getattr", "dirname.f_globals"):
        path.write_text(XACRO.format(f'<link name="$(eval {expression})">{BOX}</link>'))
        refused(path, "xacro could not expand it")
    path.write_text(XACRO.format(f'<link name="$(eval 1 + 2)">{BOX}</link>'))
    assert load_robot(path).link_names == ("3",)


def test_xacro_that_grows(write: Write) -> None:
    path = write(name="a.xacro")
    again = '<xacro:macro name="a" params=""><xacro:a/></xacro:macro><xacro:a/>'
    for body in (
        again,
        '<xacro:include filename="a.xacro"/>',
        '<xacro:include filename="/etc/passwd"/>',
        f"<link name=\"${{'a' * 10**10}}\">{BOX}</link>",
        f"<link name=\"${{'a' * 3 * 10**7}}\">{BOX}</link>",
    ):
        path.write_text(XACRO.format(body))
        refused(path)
    (path.parent / "bomb.xml").write_text('<!DOCTYPE r [<!ENTITY e SYSTEM "file:///etc/passwd">]><r a="1">&e;</r>')
    path.write_text(XACRO.format('<xacro:include filename="bomb.xml"/>' + link("a")))
    assert load_robot(path).link_names == ("a",)


def test_billion_laughs_of_xacro(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing but the limits ends it; the child is given a tenth of the time."""
    from urdf import xacro_files

    path, real = write(name="a.xacro"), xacro_files.subprocess.run
    monkeypatch.setattr(xacro_files.subprocess, "run", lambda *a, **k: real(*a, **{**k, "timeout": 3}))
    laughs = "".join(f'<xacro:macro name="m{i}">{f"<xacro:m{i + 1}/>" * 10}</xacro:macro>' for i in range(12))
    path.write_text(XACRO.format(f'{laughs}<xacro:macro name="m12"><link name="a"/></xacro:macro><xacro:m0/>'))
    refused(path, "ran past the limits", "does a macro include itself?")


# MJCF


@pytest.mark.parametrize(
    "body",
    [
        '<worldbody><body><geom size="nan"/></body></worldbody>',
        '<worldbody><body pos="1e400 0 0"><geom size="1"/></body></worldbody>',
        "<worldbody>" + "<body>" * 300 + "</body>" * 300 + "</worldbody>",
        "<worldbody>" + '<body><geom size="1"/></body>' * 3000 + "</worldbody>",
        '<asset><mesh name="m" file="/etc/passwd"/></asset><worldbody><geom type="mesh" mesh="m"/></worldbody>',
        '<include file="robot.xml"/>',
        '<extension><plugin plugin="x"/></extension>',
    ],
)
def test_mjcf(write: Write, body: str) -> None:
    path = write(name="robot.xml")
    path.write_text(f"<mujoco>{body}</mujoco>")
    refused(path)
