"""A page in headless Chromium, driven by its DevTools protocol over two pipes: JSON, each ended by a null byte."""

from __future__ import annotations

import json
import os
import selectors
import shutil
import signal
import subprocess
import sys
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PROGRAM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
OPTIONS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--remote-debugging-pipe",
)
START = (
    "import os, sys; os.dup2(int(sys.argv[1]), 3); os.dup2(int(sys.argv[2]), 4); os.execv(sys.argv[3], sys.argv[3:])"
)
"""A program that starts another one, which reads from the third and writes to the fourth file."""
LIMIT = 60.0
"""Seconds that an answer may take."""
CLICKS = 20
"""How often one is made before it is given up."""


@dataclass
class Browser:
    """One page. What it complains of, at its console or otherwise, is kept in `complaints`."""

    to: int
    back: int
    session: str | None = None
    complaints: list[str] = field(default_factory=list)
    _events: list[str] = field(default_factory=list)
    _number: int = 0
    _unread: bytes = b""

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """What a method of the protocol returns."""
        self._number += 1
        session = {} if self.session is None else {"sessionId": self.session}
        message = {"id": self._number, "method": method, "params": parameters, **session}
        os.write(self.to, json.dumps(message).encode() + b"\0")
        while (reply := self._message()).get("id") != self._number:
            self._keep(reply)
        assert "error" not in reply, f"{method}: {reply}"
        return reply["result"]

    def wait_for(self, event: str) -> None:
        """Until an event has come that was not waited for yet."""
        while event not in self._events:
            self._keep(self._message())
        self._events.remove(event)

    def open(self, page: Path) -> None:
        """Load a file, with what it complains of from then on."""
        self._events.clear()
        self.complaints.clear()
        self.call("Page.navigate", url=page.as_uri())
        self.wait_for("Page.loadEventFired")

    def resize(self, width: int, height: int) -> None:
        """The size of the window in CSS pixels; a narrow one is that of a phone."""
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600}
        self.call("Emulation.setDeviceMetricsOverride", **size)

    def evaluate(self, expression: str) -> Any:
        """The value of an expression on the page, as JSON has it."""
        reply = self.call("Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in reply, reply["exceptionDetails"]
        return reply["result"].get("value")

    def until(self, expression: str, limit: float = LIMIT) -> None:
        """Until an expression on the page is true."""
        deadline = time.monotonic() + limit
        while not self.evaluate(expression):
            assert time.monotonic() < deadline, f"{expression} is not true after {limit:g} s"
            time.sleep(0.02)

    def click(self, element: str) -> None:
        """Click in the middle of what an expression on the page returns."""
        place = f"(e => {{ e.scrollIntoView({{block: 'center', inline: 'center'}}); return e }})({element})"
        box = self.evaluate(f"(({{x, y, width, height}}) => [x, y, width, height])({place}.getBoundingClientRect())")
        at = {"x": box[0] + box[2] / 2, "y": box[1] + box[3] / 2, "button": "left", "clickCount": 1}
        for kind in ("mousePressed", "mouseReleased"):
            self.call("Input.dispatchMouseEvent", type=kind, **at)

    def click_until(self, element: str, expression: str) -> None:
        """Click until an expression is true: while the page still scrolls, a click may go past what it is meant for."""
        for _ in range(CLICKS):
            self.click(element)
            with suppress(AssertionError):
                self.until(expression, LIMIT / CLICKS)
                break
        assert self.evaluate(expression), f"{expression} is not true after {CLICKS} clicks in {LIMIT:g} s"

    def _keep(self, message: dict[str, Any]) -> None:
        event, parameters = message.get("method", ""), message.get("params", {})
        self._events.append(event)
        if event in ("Runtime.exceptionThrown", "Runtime.consoleAPICalled", "Log.entryAdded"):
            self.complaints.append(json.dumps(parameters))

    def _message(self) -> dict[str, Any]:
        deadline = time.monotonic() + LIMIT
        with selectors.DefaultSelector() as selector:
            selector.register(self.back, selectors.EVENT_READ)
            while b"\0" not in self._unread:
                assert selector.select(max(0.0, deadline - time.monotonic())), f"no answer in {LIMIT:g} s"
                read = os.read(self.back, 1 << 16)
                assert read, "the browser ended"
                self._unread += read
        line, _, self._unread = self._unread.partition(b"\0")
        return json.loads(line)


@contextmanager
def browser() -> Iterator[Browser]:
    """An empty page, until the end of the block."""
    with TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        theirs, to = os.pipe()
        back, their_end = os.pipe()
        command = [str(PROGRAM), *OPTIONS, f"--user-data-dir={profile}", "about:blank"]
        process = subprocess.Popen(
            [sys.executable, "-c", START, str(theirs), str(their_end), *command],
            pass_fds=(theirs, their_end),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        os.close(theirs)
        os.close(their_end)
        try:
            started = Browser(to, back)
            target = started.call("Target.createTarget", url="about:blank")["targetId"]
            started.session = started.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
            for domain in ("Page", "Runtime", "Log"):
                started.call(f"{domain}.enable")
            yield started
        finally:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            os.close(to)
            os.close(back)
