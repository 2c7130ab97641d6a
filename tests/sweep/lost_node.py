"""A sweep on a cluster that loses worker nodes: lost_node.py ROOT replaced|drained.

`replaced`: all nodes that can train go, and later another one comes; the driver runs on a node that stays, which is not
the head.  `drained`: Ray is told before that a node will go; the driver runs on the head.

Writes where the processes lay, what was noted and how the trials ended to ROOT/said.json.
"""

import json
import logging
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import jobs
import ray
import ray.cloudpickle
from processes import pids
from ray.cluster_utils import Cluster
from trivial_sweeps import Memory, plan

from gensweep.config.sweep_config import Resources
from gensweep.sweep.cluster import set_switches
from gensweep.sweep.events import Evaluated, Lost, Saved
from gensweep.sweep.run import run_plan

RAY = Path(sys.executable).with_name("ray")
OPTIONS = {"object_store_memory": 100 * 2**20, "include_dashboard": False}
START_TIMEOUT = 20  # seconds after which Ray Train gives up starting workers
COORDINATING = ["TrialQueue", "TrialRunner", "TrainController", "SynchronizationActor"]


def raylet(node):
    """The process id of a node's raylet."""
    return node.all_processes["raylet"][0].process.pid


class Loser(Memory):
    """Notes where the processes lie at the first checkpoints, then takes away a node that trains."""

    def __init__(self, cluster, nodes, drivers, mode):
        super().__init__()
        self.cluster, self.nodes, self.drivers, self.mode = cluster, nodes, drivers, mode
        self.gone = Path(sys.argv[1]) / "gone"
        self.replacement = None
        self.elsewhere = {}
        self.counted = {}

    def __call__(self, event, state):
        super().__call__(event, state)
        if isinstance(event, Lost):
            self.gone.touch()
        if self.counted or not isinstance(event, Evaluated) or event.evaluation.images != 200:
            return
        others = [node for node in self.nodes if node is not self.drivers]
        for actor in COORDINATING:
            self.counted[actor] = len(pids(actor, [raylet(self.drivers)]))
            self.elsewhere[actor] = len(pids(actor, [raylet(node) for node in others]))
        match self.mode:
            case "drained":
                lost = next(node for node in others if pids("RayTrainWorker", [raylet(node)]))
                drain(self.cluster.address, lost.node_id)
            case "replaced":
                for node in others:
                    if node is not self.cluster.head_node:
                        self.cluster.remove_node(node)
                threading.Thread(target=self.replace).start()

    def replace(self):
        """Once both trials have lost their workers, and have waited in vain, a node comes."""
        while len(self.of(Lost)) < 2:
            time.sleep(0.1)
        time.sleep(START_TIMEOUT + 5)
        options = {"address": self.cluster.address, "num-cpus": 2, "node-ip-address": "127.0.0.5"}
        options |= {"object-store-memory": OPTIONS["object_store_memory"]}
        words = [f"--{name}={value}" for name, value in options.items()]
        self.replacement = subprocess.Popen([RAY, "start", "--block", *words], stdout=subprocess.DEVNULL)


def drain(address, node):
    """What a spot notice does: the node will go in some seconds."""
    words = {"address": address, "node-id": node, "reason": "DRAIN_NODE_REASON_PREEMPTION", "reason-message": "spot"}
    command = [RAY, "drain-node", *(f"--{key}={value}" for key, value in words.items())]
    subprocess.run([*command, "--deadline-remaining-seconds=6"], check=True, capture_output=True)


if __name__ == "__main__":
    ray.cloudpickle.register_pickle_by_value(jobs)
    os.environ["RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S"] = str(START_TIMEOUT if sys.argv[2] == "replaced" else 300)
    set_switches()
    cluster = Cluster(True, head_node_args={"num_cpus": 0, **OPTIONS})
    mode = sys.argv[2]
    nodes = [cluster.add_node(num_cpus=2, node_ip_address=f"127.0.0.{i}", **OPTIONS) for i in (2, 3)]
    drivers, place = cluster.head_node, {}
    if mode == "replaced":
        place = {"_node_ip_address": "127.0.0.4"}
        drivers = cluster.add_node(num_cpus=0, node_ip_address="127.0.0.4", **OPTIONS)
        nodes.append(drivers)
    ray.init(cluster.address, log_to_driver=False, logging_level=logging.ERROR, **place)
    loser = Loser(cluster, [cluster.head_node, *nodes], drivers, mode)
    steps = 12 if mode == "drained" else 6
    slow = {"sleep": 0.3, "steps": steps}
    if mode == "drained":
        # The two do not end before the node goes, and each has a whole node, so that one stays undisturbed.
        slow |= {"sleep": 2.0, "wait_at": steps, "gate": str(loser.gone)}
    configs = [slow, slow, {"steps": steps}]
    settings = Resources(concurrent=2, cpus_per_worker=2 if mode == "drained" else 1, retries=0)
    result = run_plan(plan(trials=3, configs=configs, resources=settings), [loser], root=Path(sys.argv[1]))
    trials = result.state.trials.values()
    sums = [trial.best and trial.best.evaluation.signals["sum"] for trial in trials]
    statuses = [trial.status for trial in trials]
    said = {"here": loser.counted, "elsewhere": loser.elsewhere, "statuses": statuses, "sums": sums}
    said |= {"losses": [[loss.cause, loss.counts] for loss in loser.of(Lost)]}
    said |= {"saved": [[saved.trial, saved.images] for saved in loser.of(Saved)]}
    Path(sys.argv[1], "said.json").write_text(json.dumps(said))  # Ray prints warnings on stdout
    ray.shutdown()
    if loser.replacement is not None:
        loser.replacement.terminate()
        loser.replacement.wait()
    cluster.shutdown()
