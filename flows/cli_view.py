"""`urdfit view`: an episode or a scene to look at."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def view(
    folder: Annotated[Path, typer.Argument(metavar="EPISODE|SCENE", help="Folder of `urdfit run` or `urdfit twin`.")],
    report: Annotated[bool, typer.Option("--report", help="Open the folder's report instead.")] = False,
    rerun: Annotated[bool, typer.Option("--rerun", help="Open its recording in Rerun's viewer instead.")] = False,
    path_only: Annotated[
        bool, typer.Option("--print", help="Print the path of the report, or of the recording, and do not open it.")
    ] = False,
    port: Annotated[
        int, typer.Option("--port", min=0, max=65535, help="Of the page; the next free one is taken. 0: any.")
    ] = 8080,
    no_browser: Annotated[bool, typer.Option("--no-browser", help="Only say where the page is.")] = False,
) -> None:
    """A page with the robot, cameras, masks and joints over time, served to this machine until Ctrl-C.

    For a scene: its background, objects, collision pieces, cameras and the robot's motion. Needs viser: pip install
    'urdfit[view]'.
    """
    if report or rerun or path_only:
        _open_file(folder / ("scene.rrd" if rerun else "report.html"), rerun, path_only)
        return
    import threading
    import webbrowser

    from flows.viewing import open_page

    with open_page(folder, port) as page:
        typer.echo(f"{page.url}  (Ctrl-C ends it)")
        if not no_browser:
            webbrowser.open(page.url)
        threading.Event().wait()


def _open_file(file: Path, rerun: bool, path_only: bool) -> None:
    """Opens a report in the browser or a recording in Rerun, or prints where it is."""
    import shutil
    import subprocess
    import sys
    import webbrowser

    from flows.errors import FlowError

    if not file.is_file():
        raise FlowError(f"{file}: no such file; make it with `urdfit run` or `urdfit twin`")
    typer.echo(str(file.absolute()))
    if path_only:
        return
    if not rerun:
        webbrowser.open(file.absolute().as_uri())
        return
    viewer = Path(sys.executable).with_name("rerun")
    command = str(viewer) if viewer.exists() else shutil.which("rerun")
    if command is None:
        raise FlowError("Rerun's viewer is not installed: pip install rerun-sdk")
    raise typer.Exit(subprocess.call([command, str(file)]))
