"""A page for an episode or a scene, served to this machine only."""

from __future__ import annotations

import io
import socket
from contextlib import redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from flows.errors import FlowError

HOST = "127.0.0.1"  # whoever reads the page could also move the time line
PORT = 8080
NEIGHBOURS = 20  # ports tried after the one asked for


@dataclass
class Page:
    """A page that is being served at `url`; close it, or use it in a `with` block."""

    url: str
    server: Any
    content: Any

    def __enter__(self) -> Page:
        return self

    def __exit__(self, *_: Any) -> None:
        self.close()

    def close(self) -> None:
        """Ends the server and the player."""
        if self.content.timeline is not None:
            self.content.timeline.stop()
        with redirect_stdout(io.StringIO()):
            self.server.stop()


def open_page(folder: str | Path, port: int = PORT) -> Page:
    """Serve a page of an episode folder (`urdfit run`) or a scene folder (`urdfit twin`) on 127.0.0.1.

    Args:
        port: the first free one from here on; 0: any.

    Raises:
        FlowError: the folder holds neither, viser is missing, or no port is free.
        TwinError, RobotError: the folder's content is damaged, or its robot cannot be loaded.
    """
    folder = Path(folder)
    kinds = [kind for kind in ("episode", "scene") if (folder / f"{kind}.json").is_file()]
    if not kinds:
        raise FlowError(f"{folder}: holds neither an episode (episode.json) nor a scene (scene.json)")
    try:
        import viser
    except ImportError:
        raise FlowError(
            "`urdfit view` needs viser: pip install 'urdfit[view]'; without it `urdfit view --report` opens the report"
        ) from None
    from flows.viewing.episode_page import EpisodePage
    from flows.viewing.scene_page import ScenePage

    with redirect_stdout(io.StringIO()):  # its banner
        server = viser.ViserServer(host=HOST, port=_free(port), label=f"urdfit: {folder.resolve().name}", verbose=False)
    try:
        server.gui.configure_theme(control_layout="fixed", control_width="large", show_share_button=False)
        server.scene.set_up_direction("+z")
        server.scene.add_grid("/floor", 4.0, 4.0, plane="xy", cell_size=0.1, section_size=1.0, position=(0, 0, -0.002))
        content = (EpisodePage if kinds[0] == "episode" else ScenePage)(server, folder)
        _look_from(server, content)
    except BaseException:
        server.stop()
        raise
    return Page(f"http://{HOST}:{server.get_port()}", server, content)


def _free(port: int) -> int:
    """A port that nobody listens on: the first from `port` on, any for 0."""
    for candidate in range(port, port + NEIGHBOURS if port else 1):
        with socket.socket() as probe:
            try:
                probe.bind((HOST, candidate))
            except OSError:
                continue
            return int(probe.getsockname()[1])
    raise FlowError(f"ports {port} to {port + NEIGHBOURS - 1} are all taken; give another one with --port")


def _look_from(server: Any, content: Any) -> None:
    """The first view: from beside and behind the first camera, else from in front of the robot."""
    cameras = [content.episode.camera] if hasattr(content, "episode") else list(content.scene.cameras.values())
    poses = [np.linalg.inv(np.asarray(c.T_cam_base, float)) for c in cameras if c.T_cam_base is not None]
    eye = np.array([1.6, 1.0, 1.0])
    if poses:
        eye = poses[0][:3, 3] - 0.3 * poses[0][:3, 2] + 0.6 * poses[0][:3, 0] + [0, 0, 0.3]
    server.initial_camera.position = tuple(eye)
    server.initial_camera.look_at = (0.2, 0.0, 0.3)
