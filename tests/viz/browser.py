"""A real browser for tests of pages: Chromium without a window, spoken to over two pipes.

    with Browser() as browser:
        browser.open(path)
        browser.run("document.title")
        browser.key("ArrowRight")
        assert not browser.errors

The protocol is Chrome's DevTools protocol: JSON messages that end in a zero byte, our commands into
the browser's file descriptor 3, its answers and events out of 4.
"""

import base64
import fcntl
import json
import os
import select
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

FOUND = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "chrome"))),
    None,
)
PATIENCE = 120.0  # seconds for an answer, on a busy machine


class Browser:
    """One page in one browser. `errors` are the exceptions that its scripts did not catch."""

    def __init__(self, width: int = 1366, height: int = 768) -> None:
        self.errors: list[str] = []
        self._loaded = 0
        self._count = 0
        self._unread = b""
        self._folder = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
        to_read, self._write = os.pipe()
        self._read, to_write = os.pipe()
        ends = [fcntl.fcntl(end, fcntl.F_DUPFD, 10) for end in (to_read, to_write)]

        def connect():
            for number, end in enumerate(ends, 3):
                os.dup2(end, number)

        self._process = subprocess.Popen(
            [
                *(FOUND, "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run"),
                *("--remote-debugging-pipe", f"--user-data-dir={self._folder.name}"),
                "about:blank",
            ],
            preexec_fn=connect,
            pass_fds=(3, 4),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        for end in (*ends, to_read, to_write):
            os.close(end)
        self._session = None
        target = self._ask("Target.createTarget", url="about:blank")["targetId"]
        attached = self._ask("Target.attachToTarget", targetId=target, flatten=True)
        self._session = attached["sessionId"]
        self._ask("Page.enable")
        self._ask("Runtime.enable")
        self._ask(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=False,
        )

    def __enter__(self):
        return self

    def __exit__(self, *exception) -> None:
        self._process.kill()
        self._process.wait()
        os.close(self._read)
        os.close(self._write)
        self._folder.cleanup()

    def open(self, path, fragment: str = "", dark: bool = False) -> None:
        """Show a file, and wait until it is loaded and drawn."""
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self._ask("Emulation.setEmulatedMedia", features=[scheme])
        # By way of another page: a new fragment alone would not load this one anew.
        for url in ("about:blank", Path(path).resolve().as_uri() + fragment):
            before = self._loaded
            self._ask("Page.navigate", url=url)
            deadline = time.monotonic() + PATIENCE
            while self._loaded == before:
                self._take(deadline)
        self.drawn()

    def drawn(self) -> None:
        """Wait until the page has drawn what it was told."""
        self.run("new Promise(f => requestAnimationFrame(() => requestAnimationFrame(f)))")

    def run(self, script: str):
        """The value of a JavaScript expression."""
        answer = self._ask(
            "Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True
        )
        if "exceptionDetails" in answer:
            raise AssertionError(answer["exceptionDetails"]["exception"]["description"])
        return answer["result"].get("value")

    def click(self, selector: str) -> None:
        self.run(f"document.querySelector({selector!r}).click()")
        self.drawn()

    def key(self, key: str) -> None:
        for kind in ("keyDown", "keyUp"):
            self._ask("Input.dispatchKeyEvent", type=kind, key=key)
        self.drawn()

    def mouse(self, kind: str, x: float, y: float, **more) -> None:
        """kind: mouseMoved, mousePressed, mouseReleased or mouseWheel."""
        self._ask("Input.dispatchMouseEvent", type=kind, x=x, y=y, **more)
        self.drawn()

    def screenshot(self, path) -> None:
        data = self._ask("Page.captureScreenshot")["data"]
        Path(path).write_bytes(base64.b64decode(data))

    def _ask(self, method: str, **parameters) -> dict:
        self._count += 1
        message = {"id": self._count, "method": method, "params": parameters}
        if self._session is not None:
            message["sessionId"] = self._session
        os.write(self._write, json.dumps(message).encode() + b"\0")
        deadline = time.monotonic() + PATIENCE
        while True:
            answer = self._take(deadline)
            if answer.get("id") == self._count:
                assert "error" not in answer, (method, answer["error"])
                return answer["result"]

    def _take(self, deadline: float) -> dict:
        """The next message; events are noted."""
        while b"\0" not in self._unread:
            left = deadline - time.monotonic()
            ready = left > 0 and select.select([self._read], [], [], left)[0]
            chunk = os.read(self._read, 1 << 20) if ready else b""
            assert chunk, "the browser does not answer"
            self._unread += chunk
        text, self._unread = self._unread.split(b"\0", 1)
        message = json.loads(text)
        if message.get("method") == "Page.loadEventFired":
            self._loaded += 1
        if message.get("method") == "Runtime.exceptionThrown":
            details = message["params"]["exceptionDetails"]
            self.errors.append(details.get("exception", details).get("description", str(details)))
        return message
