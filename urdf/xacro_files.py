"""xacro to URDF text, without ROS. Files that do not come from the catalogue are expanded in a process of their own."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from threading import Lock

from urdf import xacro_run
from urdf.errors import RobotError
from urdf.paths import Finder

_lock = Lock()  # the xacro library keeps its state in globals


def expand(path: Path, finder: Finder, arguments: Mapping[str, str], source: str, *, trusted: bool = False) -> bytes:
    """The URDF text of a xacro file.

    Args:
        path: the file.
        finder: finds the ROS packages that it names.
        arguments: of xacro.
        source: for messages.
        trusted: expand it in this process, which is faster and without limits of time and memory.

    Raises:
        RobotError: the file does not expand, or includes a ROS package that is nowhere near it.
    """
    packages = {name: str(folder) for name, folder in finder.packages.items()}
    task = {"text": path.read_text(encoding="utf-8", errors="replace"), "path": str(path), "packages": packages}
    task["arguments"] = {name: str(value) for name, value in arguments.items()}
    while True:
        answer = _here(task) if trusted else _apart(task)
        if "urdf" in answer:
            return answer["urdf"].encode()
        reason = answer["error"]
        wanted = re.search(r"Package not found: (\S+)", reason)
        if wanted and wanted[1] not in packages and (found := finder.package(wanted[1])) is not None:
            packages[wanted[1]] = str(found)
            continue
        if wanted:
            place = "found neither in nor beside the folders above it"
            raise RobotError(f"{source}: it includes ROS package {wanted[1][:100]!r}, {place}")
        raise RobotError(f"{source}: xacro could not expand it ({reason[:200]})")


def _here(task: dict) -> dict[str, str]:
    try:
        with _lock:
            return {"urdf": xacro_run.run(**task)}
    except Exception as error:  # expressions raise anything
        return {"error": " ".join(str(error).split()) or type(error).__name__}


def _apart(task: dict) -> dict[str, str]:
    """The answer of `urdf.xacro_run` as a program."""
    with tempfile.TemporaryFile() as out:
        try:
            subprocess.run(
                [sys.executable, xacro_run.__file__], input=json.dumps(task).encode(), stdout=out,
                stderr=subprocess.DEVNULL, timeout=3 * xacro_run.SECONDS, check=True,
            )  # fmt: skip
            out.seek(0)
            return json.loads(out.read())
        except (subprocess.SubprocessError, ValueError):
            limits = f"{xacro_run.SECONDS} s and {xacro_run.BYTES // 10**9} GB"
            return {"error": f"it ran past the limits of {limits}; does a macro include itself?"}
