"""An S3 that can be slow or full, and a tally of the steps that were trained: s3_simulator.py ADDRESS PORT.

PUT of a mode to /drill/mode:   ok, slow (each request takes SLOWNESS seconds) or full (writing is answered with 507)
POST of a step to /drill/steps: prints it with the time, as a line of JSON
Everything else is moto's: S3, and the other services of AWS.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterable
from typing import Any

from moto.server import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import run_simple

SLOWNESS = 1.5  # seconds, so that a checkpoint of a few files takes longer than a step of a drill
WRITING = ("PUT", "POST")
FULL = b"<Error><Code>InsufficientStorage</Code><Message>the drill wants it full</Message></Error>"


class Simulator:
    """A WSGI application around moto's."""

    def __init__(self) -> None:
        self._aws = DomainDispatcherApplication(create_backend_app)
        self._mode = "ok"

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        """One request."""
        path, method = environ["PATH_INFO"], environ["REQUEST_METHOD"]
        if path.startswith("/drill/"):
            return self._drill(method, environ, start_response)
        if self._mode == "slow":
            time.sleep(SLOWNESS)
        if self._mode == "full" and method in WRITING:
            sys.stdout.write("REFUSED\n")
            environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
            start_response("507 Insufficient Storage", [("Content-Type", "application/xml")])
            return [FULL]
        return self._aws(environ, start_response)

    def _drill(self, method: str, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        said = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0)).decode()
        if method == "PUT":
            self._mode = said
        elif method == "POST":
            sys.stdout.write(json.dumps({"time": time.time(), **json.loads(said)}) + "\n")
        sys.stdout.flush()
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [b""]


if __name__ == "__main__":
    run_simple(sys.argv[1], int(sys.argv[2]), Simulator(), threaded=True)
