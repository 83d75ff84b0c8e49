"""Firefox by its own remote protocol (Marionette), for tests of the page: no driver and no package is needed."""

import base64
import contextlib
import json
import shutil
import socket
import subprocess
import time

NAMES = ("firefox-esr", "firefox")
MISSING = "no Firefox (`apt-get install firefox-esr`): the page was NOT tested in it"


def find_firefox():
    return next(filter(None, map(shutil.which, NAMES)), None)


class Firefox:
    """A headless window; a context manager."""

    def __init__(self, path, profile):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        settings = {"marionette.port": port, "datareporting.policy.dataSubmissionEnabled": False}
        lines = (f"user_pref({json.dumps(name)}, {json.dumps(value)});\n" for name, value in settings.items())
        (profile / "user.js").write_text("".join(lines))
        command = [path, "--headless", "--marionette", "--no-remote", "--profile", str(profile)]
        self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self._number = 0
        try:
            self._socket = self._connected(port)
            self._read()  # its greeting
            self("WebDriver:NewSession", capabilities={})
        except BaseException:
            self._process.kill()
            raise

    def _connected(self, port):
        deadline = time.monotonic() + 40
        while True:
            try:
                return socket.create_connection(("127.0.0.1", port), timeout=40)
            except OSError:
                if time.monotonic() > deadline or self._process.poll() is not None:
                    raise
                time.sleep(0.2)

    def _read(self):
        size = b""
        while not size.endswith(b":"):
            size += self._socket.recv(1) or b":"
        data = b""
        while len(data) < int(size[:-1]):
            data += self._socket.recv(int(size[:-1]) - len(data))
        return json.loads(data)

    def __call__(self, name, **values):
        self._number += 1
        data = json.dumps([0, self._number, name, values])
        self._socket.sendall(f"{len(data)}:{data}".encode())
        _, _, error, result = self._read()
        assert not error, error
        return result

    def run(self, script, *args):
        """What a function's body returns in the page."""
        return self("WebDriver:ExecuteScript", script=script, args=list(args))["value"]

    def until(self, condition):
        """Wait for something to be true in the page."""
        deadline = time.monotonic() + 15
        while not self.run(f"return Boolean({condition})"):
            assert time.monotonic() < deadline, f"never true: {condition}"
            time.sleep(0.05)

    def screenshot(self):
        """PNG of the window."""
        return base64.b64decode(self("WebDriver:TakeScreenshot", full=False)["value"])

    def __enter__(self):
        return self

    def __exit__(self, *error):
        with contextlib.suppress(Exception):
            self("Marionette:Quit", flags=["eForceQuit"])
        self._socket.close()
        try:
            self._process.wait(20)
        except subprocess.TimeoutExpired:
            self._process.kill()
