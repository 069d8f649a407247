"""Fetching: verified, atomic, one process at a time, nothing hostile unpacked, and a way to do it by hand."""

from __future__ import annotations

import hashlib
import multiprocessing
import os
import shutil
import signal
import stat
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import toy_sources as toy

from urdf import downloads, list_robots, load_robot, sources, unpacking
from urdf.errors import RobotError

fork = multiprocessing.get_context("fork")
needs_git = pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache; pip sees nothing but the folder `index`."""
    monkeypatch.setenv("URDFIT_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("URDFIT_OFFLINE", raising=False)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "index"))
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(tmp_path / "gitconfig"))
    return tmp_path / "cache"


@pytest.fixture
def use(monkeypatch: pytest.MonkeyPatch) -> Callable[[dict[str, Any]], None]:
    """Makes a table the only source, named toy."""
    return lambda table: monkeypatch.setattr(sources, "entries", lambda: {"toy": table})


def contents(folder: Path) -> dict[str, bytes]:
    inside = {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}
    del inside[sources.MARKER]
    return inside


def wanted() -> dict[str, bytes]:
    return {name: data for name, data in toy.FILES.items() if "unused" not in name}


def refusal() -> str:
    """The message of the RobotError, which must be one line and leave nothing behind."""
    with pytest.raises(RobotError) as caught:
        sources.folder("toy")
    assert "\n" not in str(caught.value)
    assert sources.state("toy") == "absent"
    return str(caught.value)


@pytest.mark.parametrize("tags", ["py3-none-any", "cp311-cp311-win_amd64", "cp311-cp311-manylinux_2_28_aarch64"])
def test_a_wheel_is_fetched_by_pip_whatever_machine_it_is_for(
    tags: str, home: Path, tmp_path: Path, use: Any, capfd: Any, monkeypatch: Any
) -> None:
    use(toy.wheel_table(toy.wheel(tmp_path / "index", tags)))
    assert sources.state("toy") == "absent"
    folder = sources.folder("toy")
    assert contents(folder) == wanted()
    assert folder.parent == home / "sources"
    out, err = capfd.readouterr()
    assert out == "" and len(err.splitlines()) == 2 and "0.1 MB, licence MIT" in err
    assert list((home / "wheels").iterdir()) == []
    monkeypatch.setattr(downloads, "_run", None)
    assert sources.folder("toy") == sources.fetch("toy") == folder and sources.state("toy") == "cached"
    assert capfd.readouterr().err == ""


def test_a_build_with_another_hash_does_not_hide_the_right_one(
    home: Path, tmp_path: Path, use: Any, monkeypatch: Any
) -> None:
    use(toy.wheel_table(toy.wheel(tmp_path / "index")))
    page = ""
    for file in (tmp_path / "index" / "toy-1.0-py3-none-any.whl", toy.wheel(tmp_path, "7-py3-none-any", {"new": b""})):
        page += f'<a href="{file.as_uri()}#sha256={hashlib.sha256(file.read_bytes()).hexdigest()}">{file.name}</a>\n'
    (tmp_path / "links.html").write_text(page)
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "links.html"))
    assert contents(sources.folder("toy")) == wanted()


def test_a_wheel_put_there_by_hand_is_used_offline_and_kept(home: Path, use: Any, capfd: Any, monkeypatch: Any) -> None:
    file = toy.wheel(home / "wheels")
    use(toy.wheel_table(file))
    monkeypatch.setenv("URDFIT_OFFLINE", "1")
    assert contents(sources.folder("toy")) == wanted()
    assert file.is_file() and "licence MIT" in capfd.readouterr().err


@pytest.mark.parametrize("by_hand", [True, False])
def test_a_wheel_with_another_hash_is_refused(by_hand: bool, home: Path, tmp_path: Path, use: Any) -> None:
    file = toy.wheel(home / "wheels" if by_hand else tmp_path / "index")
    table = toy.wheel_table(file)
    file.write_bytes(file.read_bytes() + b"!")
    use(table)
    message = refusal()
    assert table["sha256"] in message and hashlib.sha256(file.read_bytes()).hexdigest() in message
    assert file.is_file()
    assert by_hand or not list((home / "wheels").iterdir())


def test_offline_the_message_tells_what_to_run_and_where_to_put_it(
    home: Path, tmp_path: Path, use: Any, monkeypatch: Any
) -> None:
    use(toy.wheel_table(toy.wheel(tmp_path / "index", "cp311-cp311-win_amd64")))
    monkeypatch.setenv("URDFIT_OFFLINE", "1")
    message = refusal()
    assert "URDFIT_OFFLINE is set" in message and f"into {home / 'wheels'}" in message
    command = message.split("`")[1]
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "python").write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')
    (tmp_path / "bin" / "python").chmod(0o755)
    environment = {**os.environ, "PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}"}
    subprocess.run(command, shell=True, cwd=home / "wheels", check=True, env=environment, capture_output=True)
    assert contents(sources.folder("toy")) == wanted()


def test_what_pip_says_is_passed_on(home: Path, tmp_path: Path, use: Any, monkeypatch: Any) -> None:
    use(toy.wheel_table(toy.wheel(tmp_path)))
    assert "pip: No matching distribution found for toy==1.0" in refusal()
    monkeypatch.setattr(downloads.importlib.util, "find_spec", lambda name: None)
    assert "no pip" in refusal()


def test_the_cause_of_a_broken_connection_is_named() -> None:
    text = (
        "WARNING: Retrying (Retry(total=0)) after connection broken by 'NewConnectionError('unreachable')': /x/\n"
        "ERROR: Could not find a version\nERROR: No matching distribution found for x\n"
    )
    reason = downloads._pip_reason(text, "0")
    assert reason == "pip: No matching distribution found for x; NewConnectionError('unreachable')"


def slow_pip(log: Path, wheel: Path) -> Callable[[dict[str, Any], Path], Path]:
    def download(entry: dict[str, Any], folder: Path) -> Path:
        with log.open("a") as stream:
            stream.write("download\n")
        time.sleep(0.4)
        folder.mkdir()
        return Path(shutil.copy(wheel, folder))

    return download


def test_of_two_processes_one_fetches_and_the_other_waits(
    home: Path, tmp_path: Path, use: Any, monkeypatch: Any, capfd: Any
) -> None:
    file = toy.wheel(tmp_path)
    use(toy.wheel_table(file))
    monkeypatch.setattr(downloads, "pip_wheel", slow_pip(tmp_path / "log", file))

    def child() -> None:
        sources.folder("toy")
        os._exit(0)  # a forked test run must not go through its parent's handlers

    both = [fork.Process(target=child) for _ in range(2)]
    for process in both:
        process.start()
    for process in both:
        process.join(20)
    assert [process.exitcode for process in both] == [0, 0]
    assert (tmp_path / "log").read_text() == "download\n"
    assert contents(sources.folder("toy")) == wanted()
    assert "waiting for another process" in capfd.readouterr().err


@pytest.mark.parametrize("at", ["download", "unpack", "rename"])
def test_a_killed_run_leaves_nothing_half_usable(
    at: str, home: Path, tmp_path: Path, use: Any, monkeypatch: Any
) -> None:
    file = toy.wheel(tmp_path)
    use(toy.wheel_table(file))
    flag = tmp_path / "reached"

    def stop(*_: Any) -> Any:
        flag.touch()
        time.sleep(60)

    def half(folder: Path, files: Any, *_: Any) -> Any:
        name, data = next(iter(files))
        (folder / name).parent.mkdir(parents=True)
        (folder / name).write_bytes(data[:1])
        stop()

    def child() -> None:
        downloads.pip_wheel = slow_pip(tmp_path / "log", file)
        if at == "download":
            downloads.pip_wheel = stop
        elif at == "unpack":
            sources.write_files = half
        else:
            os.rename = stop
        sources.folder("toy")

    process = fork.Process(target=child)
    process.start()
    while not flag.exists():
        assert process.is_alive()
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGKILL)  # type: ignore[arg-type]
    process.join()
    assert sources.state("toy") == "absent"
    again = slow_pip(tmp_path / "log2", file) if at == "download" else None  # the verified wheel is still there
    monkeypatch.setattr(downloads, "pip_wheel", again)
    folder = sources.folder("toy")
    assert contents(folder) == wanted()
    assert {p.name for p in folder.parent.iterdir()} == {folder.name, f".{folder.name}.lock"}


def test_a_cleaned_cache_or_other_paths_are_fetched_again(home: Path, use: Any) -> None:
    table = toy.wheel_table(toy.wheel(home / "wheels"))
    use(table)
    folder = sources.folder("toy")
    (folder / "toy" / "robot.urdf").write_bytes(b"")
    assert sources.state("toy") == "absent"
    assert contents(sources.folder("toy")) == wanted()
    use({**table, "paths": ["toy/*"]})
    assert sources.state("toy") == "absent"
    assert "toy/big/unused.bin" in contents(sources.folder("toy"))
    use({**table, "paths": ["toy/*", "absent/*"]})
    assert "nothing named absent/*" in refusal()


def link(archive: zipfile.ZipFile) -> None:
    info = zipfile.ZipInfo("toy/meshes/link.stl")
    info.create_system, info.external_attr = 3, (stat.S_IFLNK | 0o777) << 16
    archive.writestr(info, "/etc/hosts")


HOSTILE: dict[str, Callable[[zipfile.ZipFile], None]] = {
    "parent": lambda a: a.writestr("toy/meshes/../../../../evil", b""),
    "absolute": lambda a: a.writestr("/toy/evil", b""),
    "drive": lambda a: a.writestr("C:/toy/evil", b""),
    "backslash": lambda a: a.writestr("toy\\..\\..\\evil", b""),
    "link": link,
    "twice": lambda a: a.writestr("toy/robot.urdf", b"other"),
    "bomb": lambda a: a.writestr("toy/meshes/zeros.stl", bytes(3_000_000)),
    "many": lambda a: [a.writestr(f"toy/{i}", b"") for i in range(60)] and None,
    "file as folder": lambda a: a.writestr("toy/meshes/arm.stl/evil", b""),
}


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize("kind", HOSTILE)
def test_a_hostile_archive_is_refused(kind: str, home: Path, use: Any, monkeypatch: Any, tmp_path: Path) -> None:
    monkeypatch.setattr(unpacking, "MAX_BYTES", 2_000_000)
    monkeypatch.setattr(unpacking, "MAX_MEMBERS", 50)
    file = toy.wheel(home / "wheels")
    with zipfile.ZipFile(file, "a", zipfile.ZIP_DEFLATED) as archive:
        HOSTILE[kind](archive)
    use(toy.wheel_table(file))
    assert "refused" in refusal()
    assert not list(tmp_path.rglob("*evil*")) and not list((home / "sources").glob("[!.]*"))


def test_a_damaged_archive_is_a_clean_error(home: Path, use: Any) -> None:
    file = toy.wheel(home / "wheels")
    data = bytearray(file.read_bytes())
    for position in range(40, len(data), 37):
        broken = data.copy()
        broken[position] ^= 0xFF
        file.write_bytes(broken)
        use(toy.wheel_table(file))
        try:
            assert contents(sources.folder("toy")).keys() == wanted().keys()
        except RobotError as error:
            assert "\n" not in str(error)
    file.write_bytes(b"no zip")
    use(toy.wheel_table(file))
    assert "no usable zip archive" in refusal()


@needs_git
def test_git_gets_only_what_is_wanted_and_runs_nothing(home: Path, tmp_path: Path, use: Any, capfd: Any) -> None:
    table = toy.repository(tmp_path / "upstream")
    use(table)
    hooks = tmp_path / "hooks"
    hooks.mkdir()
    for name in ("reference-transaction", "post-checkout"):
        (hooks / name).write_text(f"#!/bin/sh\ntouch {tmp_path}/evil\n")
        (hooks / name).chmod(0o755)
    evil = f'[filter "evil"]\nsmudge = "touch {tmp_path}/evil; cat"\nrequired = true\n'
    (tmp_path / "gitconfig").write_text(f"[core]\nhooksPath = {hooks}\nautocrlf = true\n{evil}")
    assert contents(sources.folder("toy")) == {**wanted(), "toy/lines.txt": b"a\nb\n"}
    assert not (tmp_path / "evil").exists()
    assert len(capfd.readouterr().err.splitlines()) == 2
    downloads.git_repository(table, tmp_path / "clone")
    here = toy.git(tmp_path, "--git-dir=clone", "cat-file", "--batch-check", "--batch-all-objects").splitlines()
    assert sum(" blob " in line for line in here) == len(wanted()) + 1


@needs_git
def test_git_refuses_links_and_other_contents(home: Path, tmp_path: Path, use: Any) -> None:
    table = toy.repository(tmp_path / "upstream")
    use({**table, "paths": ["toy/*"]})
    assert "is a link" in refusal()
    use({**table, "objects": {"toy": "0" * 40}})
    assert "expected " + "0" * 40 in refusal()
    use({**table, "commit": "1" * 40})
    assert "git: " in refusal()
    use({**table, "git": str(tmp_path / "nowhere")})
    assert "does not appear to be a git repository" in refusal()


@needs_git
def test_the_git_commands_of_the_message_make_an_accepted_zip(
    home: Path, tmp_path: Path, use: Any, monkeypatch: Any
) -> None:
    table = toy.repository(tmp_path / "upstream", link=False)
    use(table)
    monkeypatch.setenv("URDFIT_OFFLINE", "1")
    message = refusal()
    assert f"into {home / 'archives'}" in message
    subprocess.run(message.split("`")[1], shell=True, cwd=tmp_path, check=True, capture_output=True)
    (made,) = tmp_path.glob("toy-*/*.zip")
    shutil.copy(made, home / "archives")
    assert contents(sources.folder("toy")) == {**wanted(), "toy/lines.txt": b"a\nb\n"}
    shutil.rmtree(home / "sources")
    with zipfile.ZipFile(home / "archives" / made.name, "a") as archive:
        archive.writestr("toy/meshes/more.stl", b"")
    assert table["objects"]["toy"] in refusal()


def test_the_id_of_a_folder_sorts_as_git_does() -> None:
    # `git write-tree` of an executable a.b and a file a/b, both empty
    files = {"top/a.b": b"", "top/a/b": b""}
    blob = "e69de29bb2d1d6434b8b29ae775ad8c2e48c5391"
    assert unpacking.object_id(files, set(), "top/a.b") == blob
    inner = b"100644 b\0" + bytes.fromhex(blob)
    tree = hashlib.sha1(b"tree %d\0" % len(inner) + inner).digest()
    outer = b"100755 a.b\0" + bytes.fromhex(blob) + b"40000 a\0" + tree
    assert unpacking.object_id(files, {"top/a.b"}, "top") == hashlib.sha1(b"tree %d\0" % len(outer) + outer).hexdigest()
    with pytest.raises(RobotError, match="no other"):
        unpacking.object_id(files, set(), "other")


def test_names_packages_and_caches_that_do_not_work(home: Path, use: Any, monkeypatch: Any, tmp_path: Path) -> None:
    with pytest.raises(RobotError, match="unknown robot source 'nobody'; known are rtb_data, own"):
        sources.folder("nobody")
    assert sources.state("rtb_data") == "installed" and (sources.fetch("rtb_data") / "xacro").is_dir()
    assert sources.state("own") == "installed" and sources.folder("own").name == "descriptions"
    assert list_robots() and not home.exists()
    use({"package": "not_installed"})
    assert sources.state("toy") == "absent" and "not installed" in refusal()
    use(toy.wheel_table(toy.wheel(tmp_path)))
    (tmp_path / "file").touch()
    monkeypatch.setenv("URDFIT_CACHE", str(tmp_path / "file"))
    assert "set URDFIT_CACHE" in refusal()


def test_every_table_is_complete() -> None:
    for name, table in sources.entries().items():
        assert {"version", "licence", "licence_files", "homepage"} <= table.keys(), name
        if "package" in table:
            continue
        assert table["megabytes"] > 0 and table["paths"] and table["licence_files"], name
        assert all(unpacking.matching(file, table["paths"]) for file in table["licence_files"]), name
        if "wheel" in table:
            assert len(table["sha256"]) == 64 and table["wheel"].split("-")[1] == table["version"], name
        else:
            assert len(table["commit"]) == 40 and table["commit"].startswith(table["version"]), name
            assert all(any(p == t or p.startswith(f"{t}/") for t in table["objects"]) for p in table["paths"]), name


def test_the_ur5e_of_the_package_index_loads(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setenv("URDFIT_CACHE", str(tmp_path))
    monkeypatch.setenv("PIP_RETRIES", "0")
    monkeypatch.setenv("PIP_DEFAULT_TIMEOUT", "10")
    try:
        folder = sources.folder("airo_models")
    except RobotError as error:
        if "cannot be downloaded" in str(error) and "sha256" not in str(error).split("; on a machine")[0]:
            pytest.skip(f"the package index cannot be reached: {error}")
        raise
    robot = load_robot(folder / "airo_models/arms/ur5e/ur5e.urdf")
    assert len(robot.joint_names) == 6 and all((folder / p).is_file() for p in licences("airo_models"))


def licences(name: str) -> list[str]:
    return sources.entries()[name]["licence_files"]
