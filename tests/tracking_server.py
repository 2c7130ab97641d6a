"""A tracking server on loopback that dies and comes back, and what stands in front of one that is in trouble."""

from __future__ import annotations

import contextlib
import http.client
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Literal

Trouble = Literal["503", "drops connections", "hangs", "loses replies"]

#: Seconds that a request hangs: longer than any client of ours waits.
HANGING = 30.0
#: Headers that belong to one connection.
OF_THE_CONNECTION = ("host", "connection", "accept-encoding", "transfer-encoding", "content-length")


class TrackingServer:
    """`mlflow server`, started and killed at will."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.process: subprocess.Popen[bytes] | None = None
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.uri = f"http://127.0.0.1:{self.port}"

    def launch(self) -> None:
        """Start it, and return at once."""
        command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(self.port)]
        command += ["--workers", "1", "--backend-store-uri", f"sqlite:///{self.folder / 'server.db'}"]
        command += ["--artifacts-destination", str(self.folder / "artifacts")]
        environment = {k: v for k, v in os.environ.items() if not k.startswith("MLFLOW_")}
        environment["MLFLOW_DISABLE_TELEMETRY"] = "true"
        environment["MLFLOW_SERVER_ENABLE_JOB_EXECUTION"] = "false"  # eight processes that nobody needs here
        with (self.folder / "server.log").open("ab") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True, env=environment)

    def start(self) -> None:
        """Start it, and wait until it answers."""
        self.launch()
        deadline = time.monotonic() + 240
        while time.monotonic() < deadline:
            if self.answers:
                return
            time.sleep(0.1)
        raise AssertionError((self.folder / "server.log").read_text())

    @property
    def answers(self) -> bool:
        """Whether it serves requests now."""
        try:
            with urllib.request.urlopen(f"{self.uri}/health", timeout=1):
                return True
        except (urllib.error.URLError, OSError):
            return False

    def kill(self) -> None:
        """End it at once, if it runs."""
        if self.process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait(10)
            self.process = None


class TroubledProxy:
    """A proxy in front of a server, which passes everything on, or does what its `trouble` says."""

    def __init__(self, behind: TrackingServer) -> None:
        self.trouble: Trouble | None = None
        self.refused = 0
        """Requests that were not answered as they should be."""
        proxy = self

        class Handler(BaseHTTPRequestHandler):
            def _handle(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                trouble = proxy.trouble
                proxy.refused += trouble is not None
                if trouble == "503":
                    self._answer(503, [], b"")
                    return
                if trouble == "hangs":
                    time.sleep(HANGING)
                if trouble in ("drops connections", "hangs"):
                    return
                try:
                    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", behind.port, timeout=60)) as link:
                        link.request(self.command, self.path, body, dict(_passed_on(self.headers.items())))
                        reply = link.getresponse()
                        content = reply.read()
                except OSError:
                    self._answer(502, [], b"")
                    return
                if trouble is None:
                    self._answer(reply.status, _passed_on(reply.getheaders()), content)

            do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = do_HEAD = _handle  # noqa: N815

            def _answer(self, status: int, headers: list[tuple[str, str]], content: bytes) -> None:
                self.send_response(status)
                for name, value in (*headers, ("Content-Length", str(len(content)))):
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, format: str, *arguments: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.uri = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        """Free its port."""
        self._server.shutdown()
        self._server.server_close()


def _passed_on(headers: object) -> list[tuple[str, str]]:
    return [(name, value) for name, value in headers if name.lower() not in OF_THE_CONNECTION]  # type: ignore[attr-defined]
