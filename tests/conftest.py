"""Fixtures for all tests: few threads, an own cache folder, and the shared data where it is there."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

# Before anything heavy is imported: tests share a small machine, and must not read a user's cache.
THREADS = 1 if "PYTEST_XDIST_WORKER" in os.environ else min(2, os.cpu_count() or 1)
os.environ.setdefault("OMP_NUM_THREADS", str(THREADS))
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("MPLBACKEND", "Agg")
os.environ["DO_NOT_TRACK"] = "1"
os.environ["PREFECT_SERVER_ANALYTICS_ENABLED"] = "false"
os.environ["PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS"] = "180"
_FETCHED = Path(os.environ.get("URDFIT_CACHE") or Path.home() / ".cache" / "urdfit") / "sources"
_CACHE = Path(tempfile.mkdtemp(prefix="urdfit-tests-"))
os.environ["URDFIT_CACHE"] = str(_CACHE)
if _FETCHED.is_dir():  # robots that the user has fetched (their files are verified) are tested, others are skipped
    (_CACHE / "sources").symlink_to(_FETCHED, target_is_directory=True)

import pytest  # noqa: E402  (the settings above must come first)


@pytest.fixture(scope="session", autouse=True)
def _session_cache() -> Iterator[None]:
    """One cache folder a session, so that meshes are decimated once; gone at the end."""
    yield
    shutil.rmtree(_CACHE, ignore_errors=True)


@pytest.fixture(scope="session", autouse=True)
def _few_threads() -> None:
    import torch

    torch.set_num_threads(THREADS)


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder with third-party data beside the repository; tests that need it skip where it is absent."""
    folder = Path(__file__).parents[2] / "shared"
    if not (folder / "data").is_dir():
        pytest.skip(f"needs the shared data folder {folder}, which is not here")
    return folder


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache folder for this test alone, with the session's decimated meshes in it."""
    folder = tmp_path / "cache"
    folder.mkdir()
    for mesh in _CACHE.glob("mesh-*"):
        shutil.copy2(mesh, folder)
    monkeypatch.setenv("URDFIT_CACHE", str(folder))
    return folder
