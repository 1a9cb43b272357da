"""A headless browser, controlled over two pipes by the DevTools protocol.

The pipes carry JSON that ends with a zero byte, so nothing but the standard library is
needed. Pages are laid out as by the browser of a phone, which is narrower than a window
can be.
"""

import fcntl
import itertools
import json
import os
import select
import shutil
import signal

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
_FLAGS = (
    *("--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"),
    *("--no-first-run", "--disable-background-networking", "--disable-extensions"),
    *("--disable-dev-shm-usage", "--mute-audio", "--remote-debugging-pipe"),
)


#: Seconds to wait for an answer.
_TIMEOUT = 60


def find():
    """Path of a browser; None if there is none."""
    return next(filter(None, map(shutil.which, NAMES)), None)


class Browser:
    """A browser with one tab; `events` are those it has sent: (method, parameters)."""

    def __init__(self, executable, profile):
        self._unread = b""
        self._ids = itertools.count(1)
        self._session = None
        self.events = []
        to_read, self._in = os.pipe()
        self._out, to_write = os.pipe()
        self._process = _spawn(
            [executable, *_FLAGS, f"--user-data-dir={profile}"], to_read, to_write
        )
        for end in (to_read, to_write):
            os.close(end)
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        attached = self.call("Target.attachToTarget", targetId=target, flatten=True)
        self._session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")

    def close(self):
        os.kill(self._process, signal.SIGKILL)
        os.waitpid(self._process, 0)
        for end in (self._in, self._out):
            os.close(end)

    def call(self, method, **parameters):
        """Returns the result of a command of the protocol."""
        number = next(self._ids)
        message = {"id": number, "method": method, "params": parameters}
        if self._session is not None:
            message["sessionId"] = self._session
        os.write(self._in, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._read()
            if answer.get("id") == number:
                assert "error" not in answer, answer
                return answer["result"]
            self.events.append((answer["method"], answer.get("params")))

    def open(self, url, *, width, height=900, dark=False):
        """Opens a page at a width in CSS pixels, and waits until it is loaded."""
        self.events.clear()
        self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=width < 600,
        )
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setEmulatedMedia", features=[scheme])
        self.call("Page.navigate", url=url)
        while not any(method == "Page.loadEventFired" for method, _ in self.events):
            answer = self._read()
            self.events.append((answer["method"], answer.get("params")))

    def evaluate(self, expression):
        """Returns the value of a JavaScript expression in the page."""
        found = self.call("Runtime.evaluate", expression=expression, returnByValue=True)
        assert "exceptionDetails" not in found, found
        return found["result"].get("value")

    def _read(self):
        while b"\0" not in self._unread:
            ready, _, _ = select.select([self._out], [], [], _TIMEOUT)
            assert ready, f"no answer of the browser for {_TIMEOUT} seconds"
            chunk = os.read(self._out, 2**20)
            assert chunk, "the browser has ended"
            self._unread += chunk
        message, _, self._unread = self._unread.partition(b"\0")
        return json.loads(message)


def _spawn(command, to_read, to_write):
    """Starts a process that reads from 3 and writes to 4; returns its number."""
    # Where 3 or 4 is one of the two, it must not be overwritten by the other.
    high = [fcntl.fcntl(end, fcntl.F_DUPFD_CLOEXEC, 10) for end in (to_read, to_write)]
    actions = [
        (os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0),
        (os.POSIX_SPAWN_OPEN, 2, os.devnull, os.O_WRONLY, 0),
        *((os.POSIX_SPAWN_DUP2, end, 3 + i) for i, end in enumerate(high)),
    ]
    process = os.posix_spawn(command[0], command, os.environ, file_actions=actions)
    for end in high:
        os.close(end)
    return process
