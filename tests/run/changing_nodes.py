"""Sweeps on a cluster whose nodes come and go: changing_nodes.py ROOT.

`replaced`: the cluster grows from one place to train to two.  Then both are lost, and later one comes.  The driver runs
on a node that stays, which is not the head.

`drained`: a trial trains on two nodes, and a notice says that one goes.  The driver runs on the head.

Writes to ROOT/told.json where the processes ran, what was noted and how the trials ended.
"""

import json
import logging
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
from gensweep.run.cluster import notice_file, set_switches
from gensweep.run.driver import run_plan
from gensweep.sweep.events import Evaluated, Lost, Saved, Scaled

RAY = Path(sys.executable).with_name("ray")
MEMORY = 100 * 2**20
OPTIONS = {"object_store_memory": MEMORY, "include_dashboard": False}
NOTICE = 8  # seconds between the notice that a node goes and its end
WAITING = 5  # seconds for which lost trials find no node


class Observer(Memory):
    """Counts the processes that hold the sweep together, on the driver's node and on others."""

    COORDINATING = ("Bell",)

    def __init__(self, cluster, drivers, root):
        super().__init__()
        self.cluster, self.drivers, self.gate = cluster, drivers, root / "gate"
        self.here, self.elsewhere, self.running = {}, {}, 0

    def __call__(self, event, state):
        super().__call__(event, state)
        self.running = max(self.running, len(state.running))

    def count(self):
        """Look where the processes lie."""
        raylets = {node: node.all_processes["raylet"][0].process.pid for node in self.cluster.list_all_nodes()}
        others = [pid for node, pid in raylets.items() if node is not self.drivers]
        for actor in self.COORDINATING:
            self.here[actor] = len(pids(actor, [raylets[self.drivers]]))
            self.elsewhere[actor] = len(pids(actor, others))

    def told(self, result):
        """What is known of a sweep that has ended."""
        trials = result.state.trials.values()
        return {
            "here": self.here,
            "elsewhere": self.elsewhere,
            "running": self.running,
            "scaled": [event.concurrent for event in self.of(Scaled)],
            "statuses": [trial.status for trial in trials],
            "sums": [trial.best and trial.best.evaluation.signals["sum"] for trial in trials],
            "worlds": [[event.trial, event.evaluation.signals["world"]] for event in self.of(Evaluated)],
            "losses": [[loss.cause, loss.counts] for loss in self.of(Lost)],
            "saved": [[saved.trial, saved.images] for saved in self.of(Saved)],
        }


class Replacer(Observer):
    """Adds a node at the first checkpoint; once two trials train at once, takes away all that train.

    The two are looked at after every event, as either may have lost its workers for a while.
    """

    def __init__(self, cluster, drivers, root, training):
        super().__init__(cluster, drivers, root)
        self.training, self.replacement = [training], None

    def __call__(self, event, state):
        super().__call__(event, state)
        if isinstance(event, Evaluated) and len(self.training) == 1:
            self.training.append(self.cluster.add_node(num_cpus=1, node_ip_address="127.0.0.3", **OPTIONS))
        if not self.here and len(state.running) == 2 and all(trial.evaluations for trial in state.running):
            self.count()
            for node in self.training:
                self.cluster.remove_node(node)
            self.gate.touch()
            threading.Thread(target=self.replace).start()

    def replace(self):
        """Once both trials have lost their processes, and have waited in vain, a node comes."""
        while len(self.of(Lost)) < 2:
            time.sleep(0.1)
        time.sleep(WAITING)
        options = {"address": self.cluster.address, "num-cpus": 1, "node-ip-address": "127.0.0.5"}
        words = [f"--{name}={value}" for name, value in {**options, "object-store-memory": MEMORY}.items()]
        self.replacement = subprocess.Popen([RAY, "start", "--block", *words], stdout=subprocess.DEVNULL)


class Drainer(Observer):
    """Gives notice after 200 images that a node goes, which then goes, and opens the gate once its workers are lost."""

    COORDINATING = ("Bell", "SweepTrial", "TrainController", "Mailbox")

    def __init__(self, cluster, drivers, root, training):
        super().__init__(cluster, drivers, root)
        self.training = training

    def __call__(self, event, state):
        super().__call__(event, state)
        if isinstance(event, Lost):
            notice_file().unlink()  # the other nodes of this machine stay
            self.gate.touch()
        if not self.here and isinstance(event, Evaluated) and event.evaluation.images == 200:
            self.count()
            notice_file().touch()
            threading.Timer(NOTICE, self.cluster.remove_node, [self.training]).start()


def replaced(cluster, root):
    """See the module."""
    training = cluster.add_node(num_cpus=1, node_ip_address="127.0.0.2", **OPTIONS)
    drivers = cluster.add_node(num_cpus=0, node_ip_address="127.0.0.4", **OPTIONS)
    ray.init(cluster.address, log_to_driver=False, logging_level=logging.ERROR, _node_ip_address="127.0.0.4")
    observer = Replacer(cluster, drivers, root, training)
    waiting = {"steps": 6, "wait_at": 3, "gate": str(observer.gate)}
    settings = {"trials": 2, "configs": [waiting] * 2, "resources": Resources(retries=0)}
    result = run_plan(plan("replaced", budget=600, **settings), [observer], root=root)
    ray.shutdown()
    return observer.told(result), observer.replacement


def drained(cluster, root):
    """See the module."""
    training = cluster.add_node(num_cpus=1, node_ip_address="127.0.0.6", **OPTIONS)
    ray.init(cluster.address, log_to_driver=False, logging_level=logging.ERROR)
    observer = Drainer(cluster, cluster.head_node, root, training)
    # The first trial does not end before the node goes.
    slow = {"steps": 12, "sleep": 2.0, "wait_at": 12, "gate": str(observer.gate)}
    resources = Resources(workers={"min": 1, "max": 2}, concurrent=1, retries=0)
    settings = {"trials": 2, "configs": [slow, {"steps": 12}], "resources": resources}
    result = run_plan(plan("drained", budget=1200, **settings), [observer], root=root)
    ray.shutdown()
    return observer.told(result)


if __name__ == "__main__":
    ray.cloudpickle.register_pickle_by_value(jobs)
    set_switches()
    cluster = Cluster(True, head_node_args={"num_cpus": 0, **OPTIONS})
    roots = {mode: Path(sys.argv[1]) / mode for mode in ("replaced", "drained")}
    for root in roots.values():
        root.mkdir()
    first, replacement = replaced(cluster, roots["replaced"])
    told = {"replaced": first, "drained": drained(cluster, roots["drained"])}
    Path(sys.argv[1], "told.json").write_text(json.dumps(told))  # Ray prints warnings on stdout
    replacement.terminate()
    replacement.wait()
    cluster.shutdown()
