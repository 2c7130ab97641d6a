"""An S3 on loopback, and a proxy before it that can be slow, answer 503, or be gone."""

from __future__ import annotations

import http.client
import logging
import threading
import time
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

BUCKET = "bucket"
ENVIRONMENT = {
    "AWS_ACCESS_KEY_ID": "key",
    "AWS_SECRET_ACCESS_KEY": "secret",
    "AWS_EC2_METADATA_DISABLED": "true",
    "AWS_DEFAULT_REGION": "us-east-1",
}


class ObjectStore:
    """The proxy; `url` names a folder in its bucket.

    `trouble` is None, "503" (every request), "gone" (connections are closed), or seconds that each request waits.
    `requests` are (method, path) of all that came.
    """

    def __init__(self) -> None:
        from moto.server import ThreadedMotoServer

        logging.getLogger("werkzeug").setLevel(logging.ERROR)
        self._moto = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
        self._moto.start()
        self.trouble: str | float | None = None
        self.requests: list[tuple[str, str]] = []
        self._proxy = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self, *self._moto.get_host_and_port()))
        self._proxy.daemon_threads = True
        self._thread = threading.Thread(target=self._proxy.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        self._thread.start()
        self.endpoint = f"http://127.0.0.1:{self._proxy.server_address[1]}"

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
        self._proxy.shutdown()
        self._proxy.server_close()
        self._moto.stop()


def _handler(store: ObjectStore, host: str, port: int) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def forward(self) -> None:
            body = self._body()
            store.requests.append((self.command, self.path))
            trouble = store.trouble
            if trouble == "gone":
                self.close_connection = True
                self.connection.close()
                return
            if trouble == "503":
                self.send_response(503)
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            if isinstance(trouble, float):
                time.sleep(trouble)
            onward = http.client.HTTPConnection(host, port)
            headers = {
                name: value for name, value in self.headers.items() if name.lower() not in ("transfer-encoding",)
            }
            onward.request(self.command, self.path, body, headers | {"Content-Length": str(len(body))})
            answer = onward.getresponse()
            content = answer.read()
            self.send_response(answer.status)
            for name, value in answer.getheaders():
                if name.lower() not in ("connection", "transfer-encoding", "content-length", "date", "server"):
                    self.send_header(name, value)
            length = answer.getheader("Content-Length") if self.command == "HEAD" else str(len(content))
            self.send_header("Content-Length", length or "0")
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(content)
            onward.close()

        def _body(self) -> bytes:
            if self.headers.get("Transfer-Encoding", "").lower() == "chunked":
                parts = []
                while size := int(self.rfile.readline().partition(b";")[0], 16):
                    parts.append(self.rfile.read(size))
                    self.rfile.readline()
                self.rfile.readline()
                return b"".join(parts)
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))

        def log_message(self, format: str, *args: object) -> None:
            pass

    for method in ("GET", "PUT", "POST", "DELETE", "HEAD"):
        setattr(Handler, f"do_{method}", Handler.forward)
    return Handler
