"""A page in headless Chromium, driven by its debugging protocol over two pipes."""

import base64
import fcntl
import json
import os
import shutil
import subprocess
from contextlib import contextmanager
from pathlib import Path

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


class Page:
    """One page; ``errors`` are exceptions and refused requests, ``requests`` the addresses that it loads."""

    def __init__(self, write, read):
        self.write, self.read = write, read
        self.number, self.session = 0, None
        self.errors, self.requests, self.loaded = [], [], set()
        (target,) = (one for one in self.send("Target.getTargets")["targetInfos"] if one["type"] == "page")
        attached = self.send("Target.attachToTarget", targetId=target["targetId"], flatten=True)
        self.session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.send(f"{domain}.enable")
        self.send("Page.setLifecycleEventsEnabled", enabled=True)

    def send(self, method, **params):
        """Result of a command; events that come before it are noted."""
        self.number += 1
        message = {"id": self.number, "method": method, "params": params}
        if self.session:
            message["sessionId"] = self.session
        self.write.write(json.dumps(message).encode() + b"\0")
        self.write.flush()
        while True:
            answer = self._next()
            if answer.get("id") == self.number:
                assert "error" not in answer, (method, answer["error"])
                return answer["result"]

    def _next(self):
        parts = bytearray()
        while (byte := self.read.read(1)) != b"\0":
            assert byte, "Chromium ended"
            parts += byte
        event = json.loads(parts)
        params = event.get("params", {})
        if event.get("method") == "Runtime.exceptionThrown":
            self.errors.append(params["exceptionDetails"])
        elif event.get("method") == "Log.entryAdded" and params["entry"]["level"] == "error":
            self.errors.append(params["entry"]["text"])
        elif event.get("method") == "Network.requestWillBeSent":
            self.requests.append(params["request"]["url"])
        elif event.get("method") == "Page.lifecycleEvent" and params["name"] == "load":
            self.loaded.add(params["loaderId"])
        return event

    def open(self, path, width=1400, height=900, *, phone=False):
        """Load a file in a window of a size in CSS pixels."""
        scale = 3 if phone else 1
        self.send(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=scale,
            mobile=phone,
        )
        self.send("Emulation.setTouchEmulationEnabled", enabled=phone)
        loader = self.send("Page.navigate", url=Path(path).resolve().as_uri())["loaderId"]
        while loader not in self.loaded:
            self._next()
        self.settle()

    def settle(self):
        """Wait for two frames and decoded images."""
        frames = "requestAnimationFrame(() => requestAnimationFrame(() => setTimeout(done, 50)))"
        self.do(f"new Promise(done => {frames})")

    def do(self, expression):
        """Value of an expression of the page's script."""
        result = self.send("Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in result, result["exceptionDetails"]
        return result["result"].get("value")

    def mouse(self, kind, x, y, **params):
        """Send a mouse event: ``Pressed``, ``Released``, ``Moved`` or ``Wheel``."""
        if kind in ("Pressed", "Released"):
            params = dict(button="left", clickCount=1) | params
        self.send("Input.dispatchMouseEvent", type=f"mouse{kind}", x=x, y=y, **params)

    def click(self, x, y):
        """Click at a position."""
        self.mouse("Moved", x, y)
        self.mouse("Pressed", x, y)
        self.mouse("Released", x, y)
        self.settle()

    def drag(self, positions):
        """Drag the mouse along positions."""
        self.mouse("Moved", *positions[0])
        self.mouse("Pressed", *positions[0])
        for position in positions[1:]:
            self.mouse("Moved", *position, button="left", buttons=1)
        self.mouse("Released", *positions[-1])
        self.settle()

    def touch(self, kind, *positions):
        """Send a touch event: ``Start``, ``Move`` or ``End``."""
        points = [dict(x=x, y=y, id=number) for number, (x, y) in enumerate(positions)]
        self.send("Input.dispatchTouchEvent", type=f"touch{kind}", touchPoints=points)

    def screenshot(self, path, *, whole=False):
        """Save a PNG of the window, or of the whole page."""
        shot = self.send(
            "Page.captureScreenshot", captureBeyondViewport=whole, **self._clip() if whole else {}
        )
        Path(path).write_bytes(base64.b64decode(shot["data"]))

    def _clip(self):
        size = self.send("Page.getLayoutMetrics")["cssContentSize"]
        return {"clip": dict(x=0, y=0, width=size["width"], height=size["height"], scale=1)}


@contextmanager
def chromium(profile):
    """Start Chromium with a profile in a folder; yields its page."""
    to_child, from_test = os.pipe()
    to_test, from_child = os.pipe()

    def place():
        # Chromium reads from 3 and writes to 4, which may be other ends of these pipes now.
        moved = [fcntl.fcntl(fd, fcntl.F_DUPFD, 10) for fd in (to_child, from_child)]
        for fd, number in zip(moved, (3, 4), strict=True):
            os.dup2(fd, number)

    command = [CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--remote-debugging-pipe"]
    command += ["--no-first-run", "--disable-dev-shm-usage", f"--user-data-dir={profile}", "about:blank"]
    process = subprocess.Popen(
        command, preexec_fn=place, pass_fds=(3, 4), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    for fd in (to_child, from_child):
        os.close(fd)
    with os.fdopen(from_test, "wb") as write, os.fdopen(to_test, "rb") as read:
        try:
            yield Page(write, read)
        finally:
            process.kill()
            process.wait()
