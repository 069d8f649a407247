"""Pages in a headless Chromium, driven over its DevTools protocol: what they show, log and ask for.

    visit = browse(Path("report.html"), until="document.images.length > 3")
    assert not visit.errors and not visit.outside
    assert visit.variety > 20          # not an empty page
    visit.save("page.png")             # to look at

`browse` skips the test where Chromium or `websockets` is missing.
"""

from __future__ import annotations

import base64
import json
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from urllib.request import urlopen

import cv2
import numpy as np
import pytest

PROGRAMS = ("chromium", "chromium-browser", "google-chrome", "chrome")
ARGUMENTS = (
    "--headless=new", "--remote-debugging-port=0", "--no-first-run", "--no-default-browser-check", "--disable-sync",
    "--disable-background-networking", "--disable-component-update", "--disable-extensions", "--disable-dev-shm-usage",
    "--hide-scrollbars", "--mute-audio", "--use-angle=swiftshader", "--enable-unsafe-swiftshader",
)  # fmt: skip
HERE = ("", "localhost", "127.0.0.1", "::1")
OWN = ("data", "blob", "about", "file", "chrome", "devtools")  # schemes that never leave the machine
LONGEST = 200  # letters of an address: some hold whole files
SETTLE = 0.3  # s after which a page that is ready is looked at


@dataclass
class Visit:
    """What was seen on a page.

    Attributes:
        errors: uncaught exceptions, console errors, failed requests.
        requests: every address that was asked for.
        picture: (H,W,3) uint8 RGB, the whole page.
        value: what the `script` gave.
    """

    errors: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)
    picture: np.ndarray = field(default_factory=lambda: np.zeros((0, 0, 3), np.uint8))
    value: Any = None

    @property
    def outside(self) -> list[str]:
        """Requests to anything but this machine."""
        parts = [(url, urlsplit(url)) for url in self.requests]
        return [url for url, part in parts if part.scheme not in OWN and part.hostname not in HERE]

    @property
    def variety(self) -> int:
        """Number of colours (of 4096) that cover at least 1 pixel in 10,000: 1 for an empty page."""
        coarse = (self.picture.reshape(-1, 3) >> 4).astype(int) @ [256, 16, 1]
        return int((np.bincount(coarse, minlength=4096) > len(coarse) / 10_000).sum())

    def save(self, path: str | Path) -> None:
        """Writes the picture as a PNG."""
        cv2.imwrite(str(path), self.picture[..., ::-1])


def browse(
    url: str | Path, until: str = "true", script: str | None = None, size: tuple[int, int] = (1280, 900),
    timeout: float = 60.0, whole: bool = True,
) -> Visit:  # fmt: skip
    """Opens a page, waits until it is loaded and the JavaScript expression `until` is true, and looks.

    Args:
        url: an address, or the path of a file.
        script: an expression (a promise is awaited) that is evaluated before the picture is taken.
        size: width and height of the window in pixels.
        timeout: seconds after which a page that is not ready fails the test.
        whole: the picture holds the whole page, not only what the window shows.
    """
    url = url.resolve().as_uri() if isinstance(url, Path) else url
    ends = time.monotonic() + timeout
    with _browser(size, ends) as connection:
        tab = _Tab(connection, ends)
        for domain in ("Page", "Runtime", "Log", "Network"):
            tab.call(f"{domain}.enable")
        tab.call("Page.navigate", url=url)
        ready = f"document.readyState === 'complete' && location.href !== 'about:blank' && Boolean({until})"
        while not tab.evaluate(ready):
            if time.monotonic() > ends:
                pytest.fail(f"{url} was not ready after {timeout:.0f} s ({until}); errors: {tab.visit.errors}")
            time.sleep(0.05)
        tab.visit.value = tab.evaluate(script) if script else None
        time.sleep(SETTLE)
        tab.evaluate("0")  # takes in what happened meanwhile
        shot = tab.call("Page.captureScreenshot", format="png", captureBeyondViewport=whole)
        coded = np.frombuffer(base64.b64decode(shot["data"]), np.uint8)
        tab.visit.picture = np.ascontiguousarray(cv2.imdecode(coded, cv2.IMREAD_COLOR)[..., ::-1])
        return tab.visit


class _Tab:
    """One page: sends commands and notes what happens between their answers."""

    def __init__(self, connection: Any, ends: float) -> None:
        self.connection, self.ends, self.visit, self._sent = connection, ends, Visit(), 0
        self._asked: dict[str, str] = {}  # address of every request

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """The answer to one command."""
        self._sent += 1
        self.connection.send(json.dumps({"id": self._sent, "method": method, "params": parameters}))
        while True:
            left = max(1.0, self.ends - time.monotonic())
            message = json.loads(self.connection.recv(timeout=left))
            if message.get("id") == self._sent:
                if "error" in message:
                    raise RuntimeError(f"{method}: {message['error']}")
                return dict(message["result"])
            self._note(message.get("method"), message.get("params", {}))

    def evaluate(self, expression: str) -> Any:
        """The value of a JavaScript expression, awaited; None when it throws (a page that is still loading)."""
        try:
            answer = self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        except RuntimeError:  # the page was replaced meanwhile
            return None
        return answer["result"].get("value")

    def _note(self, event: str | None, about: dict[str, Any]) -> None:
        visit = self.visit
        if event in ("Network.requestWillBeSent", "Network.webSocketCreated"):
            url = str(about.get("url") or about["request"]["url"])
            visit.requests.append(url[:LONGEST])
            self._asked[about["requestId"]] = url
        elif event == "Network.loadingFailed" and not about.get("canceled"):
            url = self._asked.get(about["requestId"], "?")
            visit.errors.append(f"request failed: {url[:LONGEST]}: {about.get('errorText')}")
        elif event == "Runtime.exceptionThrown":
            details = about["exceptionDetails"]
            visit.errors.append(details.get("exception", {}).get("description") or details["text"])
        elif event == "Runtime.consoleAPICalled" and about["type"] in ("error", "assert"):
            said = [str(arg.get("value", arg.get("description"))) for arg in about["args"]]
            visit.errors.append("console: " + " ".join(said))
        elif event == "Log.entryAdded" and about["entry"]["level"] == "error":
            visit.errors.append(f"{about['entry']['text']}: {about['entry'].get('url', '')[:LONGEST]}")


@contextmanager
def _browser(size: tuple[int, int], ends: float) -> Iterator[Any]:
    """A connection to the only page of a browser of its own, which ends with the block."""
    program = next((found for name in PROGRAMS if (found := shutil.which(name))), None)
    if program is None:
        pytest.skip("needs chromium")
    client = pytest.importorskip("websockets.sync.client", reason="needs websockets (extra view)")
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        sandbox = ("--no-sandbox",) if os.geteuid() == 0 else ()  # Chromium refuses its sandbox to root
        window = f"--window-size={size[0]},{size[1]}"
        process = subprocess.Popen(
            [program, *ARGUMENTS, *sandbox, window, f"--user-data-dir={profile}", "about:blank"],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
        )  # fmt: skip
        try:
            with client.connect(_address(Path(profile), process, ends), max_size=None) as connection:
                yield connection
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)  # the group is the browser's own: its helpers end with it
            process.wait()


def _address(profile: Path, process: subprocess.Popen[bytes], ends: float) -> str:
    """Where the browser's page listens, once it does."""
    noted = profile / "DevToolsActivePort"
    while time.monotonic() < ends:
        assert process.poll() is None, f"chromium ended with {process.returncode} before it listened"
        with suppress(OSError, ValueError, StopIteration):
            port = int(noted.read_text().split()[0])
            with urlopen(f"http://127.0.0.1:{port}/json/list", timeout=5) as answer:
                pages = json.loads(answer.read())
            return str(next(page["webSocketDebuggerUrl"] for page in pages if page["type"] == "page"))
        time.sleep(0.05)
    pytest.fail("chromium did not listen in time")
