"""Watch for AWS's notice that it reclaims this spot machine: `python -m gensweep.extras.cluster.spot_notice`.

AWS announces it two minutes before, on the machine itself.  A file then makes the trials here save their state, and Ray
drains the node, so that it places no more trials there.  Ray offers this only as a command.
Source: Amazon EC2 User Guide, spot instance interruption notices.
"""

from __future__ import annotations

import fcntl
import json
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from datetime import UTC, datetime
from pathlib import Path

from gensweep.run.cluster import notice_file

#: Address of the metadata service of an AWS machine.
METADATA = "http://169.254.169.254"
#: Seconds between two checks, as AWS recommends.
LOOK_INTERVAL = 5.0
#: Seconds to wait for an answer, which comes from the machine's host.
ANSWER_TIMEOUT = 2.0
#: Lifetime of a token of the metadata service, in seconds.
TOKEN_SECONDS = 60


def announced_end(metadata: str = METADATA) -> datetime | None:
    """When this machine will be reclaimed, or None if nothing was announced."""
    try:
        headers = {"X-aws-ec2-metadata-token-ttl-seconds": str(TOKEN_SECONDS)}
        token = _answer(urllib.request.Request(f"{metadata}/latest/api/token", method="PUT", headers=headers))
        headers = {"X-aws-ec2-metadata-token": token}
        url = f"{metadata}/latest/meta-data/spot/instance-action"
        notice = json.loads(_answer(urllib.request.Request(url, headers=headers)))
        return datetime.fromisoformat(notice["time"])
    except (OSError, ValueError, KeyError):  # 404 means nothing was announced; no answer means unknown
        return None


def drain(cluster: str, node: str, end: datetime, ray_command: Path) -> None:
    """Let Ray drain a node of the cluster at an address until that time."""
    seconds = max(0, int((end - datetime.now(UTC)).total_seconds()))
    why = ["--reason", "DRAIN_NODE_REASON_PREEMPTION", "--reason-message", "the spot machine is taken away"]
    until = ["--deadline-remaining-seconds", str(seconds)]
    command = [str(ray_command), "drain-node", "--address", cluster, "--node-id", node, *why, *until]
    subprocess.run(command, check=True)


def _answer(request: urllib.request.Request) -> str:
    with urllib.request.urlopen(request, timeout=ANSWER_TIMEOUT) as answer:
        return str(answer.read().decode())


def main() -> None:
    """Check repeatedly until the end is announced; one process per machine."""
    with (Path(tempfile.gettempdir()) / "gensweep-spot-notice.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return
        notice_file().unlink(missing_ok=True)
        while (end := announced_end()) is None:
            time.sleep(LOOK_INTERVAL)
        notice_file().touch()
        import ray

        ray.init("auto", log_to_driver=False)
        context = ray.get_runtime_context()
        cluster, node = str(context.gcs_address), str(context.get_node_id())
        ray.shutdown()
        drain(cluster, node, end, Path(sys.executable).with_name("ray"))


if __name__ == "__main__":
    main()
