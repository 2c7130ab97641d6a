"""A machine that AWS will take away tells Ray so."""

from __future__ import annotations

import json
import threading
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from gensweep.extras.cluster.spot_notice import announced_end, drain

NOTICE = {"action": "terminate", "time": "2026-11-26T18:02:00Z"}


class Metadata(BaseHTTPRequestHandler):
    """Answers as AWS does to those who have a token; the class knows what was announced."""

    notice = None

    def do_PUT(self):
        self.answer(200 if "X-aws-ec2-metadata-token-ttl-seconds" in self.headers else 400, "token")

    def do_GET(self):
        if self.headers.get("X-aws-ec2-metadata-token") != "token":
            return self.answer(401, "")
        known = self.path == "/latest/meta-data/spot/instance-action" and self.notice is not None
        return self.answer(200, self.notice) if known else self.answer(404, "")

    def answer(self, code, text):
        self.send_response(code)
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, *_):
        pass


@contextmanager
def metadata(notice):
    handler = type("Handler", (Metadata,), {"notice": notice})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.mark.waits
def test_the_announced_end_of_a_spot_node_is_found():
    with metadata(json.dumps(NOTICE)) as url:
        assert announced_end(url) == datetime(2026, 11, 26, 18, 2, tzinfo=UTC)
    with metadata(None) as url:
        assert announced_end(url) is None
    with metadata("no JSON") as url:
        assert announced_end(url) is None
    assert announced_end(url) is None  # nobody answers any more


def test_ray_is_told_which_node_goes_and_how_long_it_has(tmp_path):
    command = tmp_path / "ray"
    command.write_text(f'#!/bin/sh\nprintf "%s\\n" "$@" > {tmp_path}/told\n')
    command.chmod(0o755)
    drain("10.0.0.1:6379", "ab12", datetime.now(UTC) + timedelta(seconds=100.5), command)
    told = (tmp_path / "told").read_text().splitlines()
    assert told[0] == "drain-node"
    options = dict(zip(told[1::2], told[2::2], strict=True))
    assert (options["--address"], options["--node-id"]) == ("10.0.0.1:6379", "ab12")
    assert options["--reason"] == "DRAIN_NODE_REASON_PREEMPTION"
    assert 90 <= int(options["--deadline-remaining-seconds"]) <= 100
