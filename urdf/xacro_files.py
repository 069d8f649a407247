"""xacro to URDF text, without ROS. A xacro file holds expressions that are run: expand what you trust."""

from __future__ import annotations

import io
import re
from collections.abc import Mapping
from contextlib import redirect_stderr
from pathlib import Path
from threading import Lock

from urdf.errors import RobotError
from urdf.paths import Finder

_lock = Lock()  # the xacro library keeps its state in globals


def expand(path: Path, finder: Finder, arguments: Mapping[str, str], source: str) -> bytes:
    """The URDF text of a xacro file.

    Raises:
        RobotError: the file does not expand, or includes a ROS package that is nowhere near it.
    """
    import xacro
    from xacrodoc import XacroDoc, packages

    text = path.read_text(encoding="utf-8", errors="replace")
    with _lock:
        packages.reset()
        packages.update_package_cache({name: str(folder) for name, folder in finder.packages.items()})
        packages.walk_up_from(path)
        while True:
            xacro.init_stacks(str(path))
            try:
                with redirect_stderr(io.StringIO()):
                    document = XacroDoc.from_string(text, subargs=dict(arguments), resolve_packages=False)
                return document.to_urdf_string().encode()
            except Exception as error:  # expressions raise anything
                reason = " ".join(str(error).split()) or type(error).__name__
                wanted = re.search(r"Package not found: (\S+)", reason)
                if wanted and (found := finder.package(wanted[1])) is not None:
                    packages.update_package_cache({wanted[1]: str(found)})
                    continue
                if wanted:
                    place = "found neither in nor beside the folders above it"
                    raise RobotError(f"{source}: it includes ROS package {wanted[1]!r}, {place}") from None
                raise RobotError(f"{source}: xacro could not expand it ({reason[:200]})") from None
