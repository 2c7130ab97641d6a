"""An S3 on loopback that can be slow, answer 503, or be gone."""

from __future__ import annotations

import logging
import threading
import time
import urllib.request

BUCKET = "bucket"
ENVIRONMENT = {
    "AWS_ACCESS_KEY_ID": "key",
    "AWS_SECRET_ACCESS_KEY": "secret",
    "AWS_EC2_METADATA_DISABLED": "true",
    "AWS_DEFAULT_REGION": "us-east-1",
}


class ObjectStore:
    """moto's server; `url` names a folder in its bucket.

    `trouble` is None, "503" (every request), "gone" (connections are closed), or seconds that each request waits.
    `requests` are (method, path) of all that came.
    """

    def __init__(self) -> None:
        from moto.moto_server.werkzeug_app import DomainDispatcherApplication, MotoRequestHandler, create_backend_app
        from werkzeug.serving import make_server

        logging.getLogger("werkzeug").setLevel(logging.ERROR)
        self.trouble: str | float | None = None
        self.requests: list[tuple[str, str]] = []
        store = self

        class Handler(MotoRequestHandler):
            def run_wsgi(self) -> None:
                store.requests.append((self.command, self.path))
                if isinstance(store.trouble, float):
                    time.sleep(store.trouble)
                elif store.trouble is not None:
                    self.close_connection = True
                    self.rfile.read(int(self.headers.get("Content-Length", 0)))
                    if store.trouble == "503":
                        self.wfile.write(b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n")
                    return
                super().run_wsgi()

        app = DomainDispatcherApplication(create_backend_app)
        self._server = make_server("127.0.0.1", 0, app, threaded=True, request_handler=Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        self._thread.start()
        self.endpoint = f"http://127.0.0.1:{self._server.port}"

    def make_bucket(self) -> None:
        """Make the bucket, unless it is there: moto forgets it where another test of this process resets moto."""
        urllib.request.urlopen(urllib.request.Request(f"{self.endpoint}/{BUCKET}", method="PUT")).close()

    def url(self, path: str) -> str:
        return f"s3://{BUCKET}/{path}?endpoint_override={self.endpoint}&region=us-east-1"

    def put(self, url: str, name: str, content: bytes) -> None:
        """Store an object below a URL, under a name that a file system may refuse."""
        import boto3

        key = f"{url.removeprefix(f's3://{BUCKET}/').partition('?')[0]}/{name}"
        boto3.client("s3", endpoint_url=self.endpoint).put_object(Bucket=BUCKET, Key=key, Body=content)

    def count(self, method: str, path: str) -> int:
        """How many requests of a method there were for paths that hold some text."""
        return sum(each == method and path in where for each, where in self.requests)

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
