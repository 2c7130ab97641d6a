"""A Ray cluster on this machine with Ray's own autoscaler, whose nodes are processes."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

from ray.autoscaler._private.fake_multi_node.node_provider import FAKE_HEAD_NODE_ID, FakeMultiNodeProvider
from ray.util import get_node_ip_address

START_SECONDS = 60  # until the head answers
COMMANDS = [f"{kind}_commands" for kind in ("initialization", "setup", "head_setup", "worker_setup")]
COMMANDS += [f"{kind}_start_ray_commands" for kind in ("head", "worker")]


class ProcessNodes(FakeMultiNodeProvider):
    """Starts raylets; the amount of memory, which real node types have, is left to Ray."""

    def create_node_with_resources_and_labels(self, node_config, tags, count, resources, labels):
        given = {name: value for name, value in resources.items() if name != "memory"}
        return super().create_node_with_resources_and_labels(node_config, tags, count, given, labels)


@contextmanager
def autoscaling_cluster(home: Path, *, version: int, workers: int, cpus: int, idle_minutes: float):
    """A head without CPUs, and up to so many workers with some; yields the address.

    The configuration lies in `home`, where `ray up` would leave it on a head.
    """
    host = get_node_ip_address()
    with socket.socket() as unused:
        unused.bind((host, 0))
        address = f"{host}:{unused.getsockname()[1]}"
    second = {"launch_multiple": True, "head_node_id": FAKE_HEAD_NODE_ID} if version == 2 else {}
    config = {
        "cluster_name": "test",
        "max_workers": workers,
        "upscaling_speed": 100.0,
        "idle_timeout_minutes": idle_minutes,
        "provider": {
            "type": "external",
            "module": "autoscaled_nodes.ProcessNodes",
            "use_node_id_as_ip": True,
            "disable_node_updaters": True,
            "disable_launch_config_check": True,
            "gcs_address": address,
            **second,
        },
        "head_node_type": "ray.head.default",
        "available_node_types": {
            "ray.head.default": {"resources": {}, "node_config": {}, "max_workers": 0},
            "worker": {
                "resources": {"CPU": cpus, "memory": 10**9, "object_store_memory": 10**8},
                "node_config": {},
                "min_workers": 0,
                "max_workers": workers,
            },
        },
        **{key: {} for key in ("auth", "docker", "file_mounts")},
        **{key: [] for key in ("cluster_synced_files", "rsync_exclude", "rsync_filter", *COMMANDS)},
        "file_mounts_sync_continuously": False,
    }
    file = home / "ray_bootstrap_config.yaml"
    file.write_text(json.dumps(config))
    here = os.pathsep.join([str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")])
    environment = {**os.environ, "PYTHONPATH": here, "RAY_TMPDIR": str(home), "RAY_FAKE_CLUSTER": "1"}
    environment |= {"AUTOSCALER_UPDATE_INTERVAL_S": "1", "RAY_enable_autoscaler_v2": str(version - 1)}
    if version == 2:
        environment |= dict.fromkeys(["RAY_CLOUD_INSTANCE_ID", "RAY_OVERRIDE_NODE_ID_FOR_TESTING"], FAKE_HEAD_NODE_ID)
    ray = [sys.executable, "-m", "ray.scripts.scripts"]
    command = [*ray, "start", "--head", "--block", f"--port={address.rpartition(':')[2]}", "--num-cpus=0"]
    command += ["--object-store-memory=100000000", "--include-dashboard=false", f"--autoscaling-config={file}"]
    with (home / "head.log").open("w") as log:
        head = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
    try:
        _wait_for(address)
        yield address
    finally:
        head.terminate()  # which ends the nodes, too
        head.wait()


def _wait_for(address: str) -> None:
    host, _, port = address.rpartition(":")
    deadline = time.monotonic() + START_SECONDS
    while True:
        try:
            return socket.create_connection((host, int(port)), timeout=1).close()
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.5)
