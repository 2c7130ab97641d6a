"""A sweep that begins on a cluster without workers: autoscaled.py VERSION, that of Ray's autoscaler, 1 or 2.

Prints the number of nodes over time, what the display says, and as JSON how it ended.
"""

from __future__ import annotations

import io
import json
import os
import sys
import tempfile
import threading
import time
from pathlib import Path

import jobs
import ray
import ray.cloudpickle
from autoscaled_nodes import autoscaling_cluster
from trivial_sweeps import Memory, plan

from gensweep.config.sweep_config import Resources
from gensweep.errors import ConfigError
from gensweep.report.display import ProgressDisplay
from gensweep.sweep.cluster import set_switches
from gensweep.sweep.events import Scaled
from gensweep.sweep.run import run_plan

IDLE_MINUTES = 1.0  # until the autoscaler ends a node: longer than workers take to start
GONE_SECONDS = 120  # until all nodes have left after the sweep


class NodesOverTime(threading.Thread):
    """Writes down whenever the number of living nodes changes."""

    def __init__(self):
        super().__init__(daemon=True)
        self.began, self.counts, self.ended = time.monotonic(), [], threading.Event()

    def run(self):
        while not self.ended.wait(0.5):
            count = sum(node["Alive"] for node in ray.nodes())
            if not self.counts or self.counts[-1][1] != count:
                self.counts.append((round(time.monotonic() - self.began, 1), count))


def drill(root):
    refused = ""
    try:
        run_plan(plan("b", trials=4, resources=Resources(workers=3)), root=root)
    except ConfigError as error:
        refused = str(error)
    nodes, memory, words = NodesOverTime(), Memory(), io.StringIO()
    nodes.start()
    configs = [{"sleep": 0.5}] * 4
    display = ProgressDisplay(words, live=False)
    sweep = plan(trials=4, configs=configs, resources=Resources())
    result = run_plan(sweep, [memory, display], root=root, storage=str(root / "storage"))
    deadline = time.monotonic() + GONE_SECONDS
    while nodes.counts[-1][1] > 1 and time.monotonic() < deadline:
        time.sleep(1)
    nodes.ended.set()
    sys.stdout.write(words.getvalue())
    sys.stdout.write("".join(f"{seconds:6.1f} s: {count} nodes\n" for seconds, count in nodes.counts))
    return {
        "refused": refused,
        "statuses": [trial.status for trial in result.state.trials.values()],
        "nodes": [count for _, count in nodes.counts],
        "scaled": [[event.concurrent, event.missing] for event in memory.of(Scaled)],
    }


if __name__ == "__main__":
    ray.cloudpickle.register_pickle_by_value(jobs)
    set_switches()
    with (
        tempfile.TemporaryDirectory(prefix="gs", dir="/tmp", ignore_cleanup_errors=True) as home,
        autoscaling_cluster(Path(home), version=int(sys.argv[1]), workers=2, cpus=1, idle_minutes=IDLE_MINUTES) as at,
    ):
        os.environ |= {"RAY_ADDRESS": at, "HOME": home}
        ray.init(at, log_to_driver=False, logging_level="ERROR")
        told = drill(Path(home))
        ray.shutdown()
    sys.stdout.write(json.dumps(told) + "\n")
