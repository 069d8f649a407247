"""MJCF text made safe for MuJoCo: included files spliced in, and only what a robot's shape and motion need.

MuJoCo's own reader sees nothing but the text made here. It names no file: meshes are stood in for by a
tetrahedron, textures by their mean colour, and whatever could name a file, load a plugin or take memory without
bound (composites, replicas, height fields, memory sizes) is left out or refused.
Source of the meaning of elements: MuJoCo's XML reference, https://mujoco.readthedocs.io/en/stable/XMLreference.html.
"""

from __future__ import annotations

import io
import os
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from lxml import etree

from urdf.description import MAX_BYTES, MAX_LINKS, parse_xml, show
from urdf.errors import RobotError
from urdf.paths import Finder

MAX_INCLUDES = 100
MAX_DEPTH = 10  # of files that include files
MAX_GEOMS = 50_000
MAX_PIXELS = 64_000_000  # of a texture
SHADES = (("rgb1", "0.8 0.8 0.8"), ("rgb2", "0.5 0.5 0.5"))  # of a built-in texture, with MuJoCo's defaults
TETRAHEDRON = "0 0 0 1 0 0 0 1 0 0 0 1"  # in place of a mesh's vertices
ORIENTED = {"pos", "quat", "axisangle", "euler", "xyaxes", "zaxis"}
PLACED = {"name", "class", *ORIENTED}
KEPT: dict[str, set[str]] = {  # element: its attributes that matter here
    "default": {"class"},
    "body": {"name", "childclass", "mocap", *ORIENTED},
    "frame": {"name", "childclass", *ORIENTED},
    "joint": {"name", "class", "type", "axis", "pos", "ref", "range", "limited"},
    "freejoint": {"name"},
    "geom": {*PLACED, "type", "size", "fromto", "contype", "conaffinity", "group", "rgba", "material", "mesh"},
    "site": {*PLACED, "type", "size", "fromto"},
    "mesh": {"name", "class", "scale", "refpos", "refquat"},
    "material": {"name", "class", "rgba"},
    "fixed": {"name"},
}
WORDS = {"name", "class", "childclass", "type", "material", "mesh", "limited", "mocap"}  # the others are numbers
COUPLINGS = {
    "joint": {"active", "joint1", "joint2", "polycoef"},
    "tendon": {"active", "tendon1", "tendon2", "polycoef"},
    "connect": {"active", "body1", "body2", "anchor", "site1", "site2"},
    "weld": {"active", "body1", "body2", "anchor", "relpose", "site1", "site2"},
}
REFUSED = ("composite", "flexcomp", "replicate", "attach", "plugin")


@dataclass
class SafeModel:
    """What `read_safely` makes of a file.

    Attributes:
        xml: text for MuJoCo.
        name: of the model, empty when the file gives none.
        finder, mesh_folder: where the meshes' files are.
        meshes: mesh name to the file it names, "" when it names none.
        textures: material name to the mean colour of its texture, rgb in 0..1.
        driven: names of joints that actuators move.
        home: joint values of the key frame "home", in MuJoCo's order; None without one.
    """

    finder: Finder
    xml: str = ""
    name: str = ""
    mesh_folder: str = ""
    strip: bool = False
    meshes: dict[str, str] = field(default_factory=dict)
    textures: dict[str, np.ndarray] = field(default_factory=dict)
    driven: set[str] = field(default_factory=set)
    home: list[float] | None = None

    def mesh(self, name: str, link: str) -> Path:
        """The checked file of a mesh.

        Raises:
            RobotError: it names none, or one that is absent, too large, of another type or outside the folders.
        """
        file = self.meshes.get(name, "")
        if not file:
            raise RobotError(f"mesh {show(name)} of link {show(link)} names no file; save its vertices as .obj first")
        place = os.path.join(self.mesh_folder, os.path.basename(file) if self.strip else file)
        inside(self.finder, place, f"mesh {show(file)} of link {show(link)}")
        return self.finder.find(place, link)


def inside(finder: Finder, name: str, what: str) -> Path:
    """The path of a name relative to the description; refused when it leaves the description's folders."""
    if "\0" in name or "://" in name:
        raise RobotError(f"{what}: expected the path of a file")
    path = Path(os.path.normpath(finder.folder / name.replace("\\", "/")))
    if not path.is_relative_to(os.path.normpath(finder.boundary())):
        raise RobotError(f"{what} leaves the description's folder {finder.boundary()}; keep its files inside it")
    return path


def read_safely(path: Path, source: str) -> SafeModel:
    """An MJCF file and the files it includes, cleaned; no mesh is opened.

    Raises:
        RobotError: broken or hostile text, or elements that cannot be read.
    """
    path = Path(os.path.abspath(path))
    model = SafeModel(Finder(path.parent))
    root = _Includes(model.finder, source).read(path)
    if root.tag != "mujoco":
        raise RobotError(f"{source}: the root element is <{str(root.tag)[:40]}>, expected <mujoco> of an MJCF file")
    model.name = root.get("model") or ""
    settings = {key: value for e in root.findall("compiler") for key, value in e.attrib.items()}
    model.mesh_folder = settings.get("meshdir", settings.get("assetdir", ""))
    model.strip = settings.get("strippath") == "true"
    clean = etree.Element("mujoco")
    # bodies without mass would be refused; their mass matters to nobody here
    etree.SubElement(
        clean, "compiler", boundmass="1e-3", boundinertia="1e-6", balanceinertia="true", inertiafromgeom="true",
        **{key: settings[key] for key in ("angle", "eulerseq", "autolimits", "coordinate") if key in settings},
    )  # fmt: skip
    classes = {e.get("class") for e in root.iter("default")} | {"main"}
    for section in root:
        if section.tag in ("default", "worldbody"):
            _copy(section, clean, classes, source)
    _meshes(root, clean, model, classes, source)
    _materials(root, clean, model, settings, classes, source)
    _couplings(root, clean)
    _home(root, model)
    tendons = {e.get("tendon") for e in root.iterfind("actuator/*")}
    model.driven = {e.get("joint") for e in root.iterfind("actuator/*")} | {
        joint.get("joint") for e in root.iterfind("tendon/fixed") if e.get("name") in tendons for joint in e
    }
    for i, geom in enumerate(clean.iterfind("worldbody//geom")):
        geom.set("name", str(i))  # so that they are known again in the compiled model
        if i > MAX_GEOMS:
            raise RobotError(f"{source}: more than {MAX_GEOMS} geoms")
    if sum(1 for _ in clean.iterfind("worldbody//body")) >= MAX_LINKS:
        raise RobotError(f"{source}: {MAX_LINKS} bodies or more")
    model.xml = etree.tostring(clean, encoding="unicode")
    return model


class _Includes:
    """Reads a file with everything it includes, within bounds."""

    def __init__(self, finder: Finder, source: str) -> None:
        self.finder, self.source = finder, source
        self.seen: set[Path] = set()
        self.bytes = 0

    def read(self, path: Path, depth: int = 0) -> etree._Element:
        if path in self.seen:
            raise RobotError(f"{self.source}: {show(path.name)} is included twice, or includes itself")
        self.seen.add(path)
        if len(self.seen) > MAX_INCLUDES or depth > MAX_DEPTH:
            raise RobotError(f"{self.source}: more than {MAX_INCLUDES} included files, or {MAX_DEPTH} in a chain")
        try:
            self.bytes += os.path.getsize(path)
            if self.bytes > MAX_BYTES:
                raise RobotError(f"{self.source}: more than {MAX_BYTES // 10**6} MB of XML with the included files")
            data = path.read_bytes()
        except OSError as error:
            raise RobotError(f"{self.source}: {show(path)} cannot be read ({error.strerror})") from None
        root = parse_xml(data, self.source if depth == 0 else f"{self.source}: included {show(path.name)}")
        for element in list(root.iter("include")):
            name = element.get("file") or ""
            what = f"{self.source}: included file {show(name)}"
            found = inside(self.finder, name, what)
            if not found.is_file():  # MuJoCo starts at the main file; older models at the including one
                found = inside(self.finder, str(path.parent / name), what)
            if not name or not found.is_file():
                raise RobotError(f"{what} was not found; looked in {found.parent}")
            inner = self.read(found, depth + 1)
            parent = element.getparent()
            if parent is None:
                raise RobotError(f"{self.source}: the root element is an <include>")
            at = parent.index(element)
            parent[at : at + 1] = list(inner)
        return root


def _copy(element: etree._Element, parent: etree._Element, classes: set, source: str) -> None:
    """Copy the parts of an element that matter here."""
    made = etree.SubElement(parent, element.tag)
    for key in KEPT.get(element.tag, ()):
        value = element.get(key)
        # models meant to be built into others name classes that only those have
        if value is not None and (key not in ("class", "childclass") or value in classes or element.tag == "default"):
            if key not in WORDS and not _finite(value):
                where = f"{source}: <{element.tag}> in line {element.sourceline}"
                raise RobotError(f"{where}: {key} is {show(value)}; expected finite numbers below 1e9")
            made.set(key, value)
    for child in element:
        if child.tag in REFUSED:
            raise RobotError(
                f"{source}: <{child.tag}> in line {child.sourceline} is not read; save the model expanded "
                "(mujoco.mj_saveLastXML) first"
            )
        if child.tag == "geom" and (child.get("hfield") or child.get("type") in ("hfield", "sdf")):
            continue
        if child.tag in KEPT and not (element.tag == "default" and child.tag == "fixed"):
            _copy(child, made, classes, source)


def _finite(text: str) -> bool:
    try:
        return all(abs(float(v)) < 1e9 for v in text.split())
    except ValueError:
        return False


def _stem(element: etree._Element) -> str:
    return element.get("name") or Path((element.get("file") or "").replace("\\", "/")).stem


def _meshes(root: etree._Element, clean: etree._Element, model: SafeModel, classes: set, source: str) -> None:
    assets = etree.SubElement(clean, "asset")
    for element in root.iterfind("asset/mesh"):
        name = _stem(element)
        if name in model.meshes:
            raise RobotError(f"{source}: two meshes are called {show(name)}; names must be unique")
        model.meshes[name] = element.get("file") or ""
        _copy(element, assets, classes, source)
        assets[-1].set("name", name)
        assets[-1].set("vertex", TETRAHEDRON)


def _materials(
    root: etree._Element, clean: etree._Element, model: SafeModel, settings: dict, classes: set, source: str
) -> None:
    folder = settings.get("texturedir", settings.get("assetdir", ""))
    assets = etree.SubElement(clean, "asset")
    textures = {_stem(e): e for e in root.iterfind("asset/texture")}
    for element in root.iterfind("asset/material"):
        _copy(element, assets, classes, source)
        layers = [e.get("texture") for e in element.iterfind("layer") if e.get("role") in ("rgb", "rgba")]
        texture = textures.get(next(iter(layers), element.get("texture")))
        if texture is not None and (color := _mean(texture, model, folder)) is not None:
            model.textures[element.get("name") or ""] = color


def _mean(texture: etree._Element, model: SafeModel, folder: str) -> np.ndarray | None:
    """The mean colour of a texture; None when it cannot be had: a colour is no reason to refuse a robot."""
    try:
        if texture.get("builtin", "none") != "none":
            first, second = (np.array(texture.get(*key).split(), float) for key in SHADES)
            color = first if texture.get("builtin") == "flat" else (first + second) / 2
        else:
            from PIL import Image

            name = texture.get("file") or ""
            path = inside(model.finder, os.path.join(folder, os.path.basename(name) if model.strip else name), name)
            with Image.open(io.BytesIO(path.read_bytes())) as image:
                if image.width * image.height > MAX_PIXELS:
                    return None
                color = np.asarray(image.convert("RGB").resize((1, 1), Image.Resampling.BOX), float).reshape(3) / 255
    except Exception:
        return None
    return np.clip(color, 0, 1) if color.shape == (3,) and np.isfinite(color).all() else None


def _couplings(root: etree._Element, clean: etree._Element) -> None:
    tendons = etree.SubElement(clean, "tendon")
    for element in root.iterfind("tendon/fixed"):
        if element.get("name"):
            made = etree.SubElement(tendons, "fixed", name=element.get("name"))
            for joint in element.iterfind("joint"):
                etree.SubElement(made, "joint", {k: joint.get(k) for k in ("joint", "coef") if joint.get(k)})
    known = {e.get("name") for e in tendons}
    equalities = etree.SubElement(clean, "equality")
    for element in root.iterfind("equality/*"):
        ends = [element.get(key) for key in ("tendon1", "tendon2") if element.get(key)]
        if element.tag in COUPLINGS and all(e in known for e in ends):
            kept = {k: element.get(k) for k in sorted(COUPLINGS[element.tag]) if element.get(k) is not None}
            etree.SubElement(equalities, element.tag, kept)


def _home(root: etree._Element, model: SafeModel) -> None:
    for key in root.iterfind("keyframe/key"):
        if key.get("name") == "home" and key.get("qpos"):
            try:
                model.home = [float(v) for v in key.get("qpos").split()]
            except ValueError:
                return
