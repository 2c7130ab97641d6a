"""A sweep on a cluster that grows and shrinks: resized.py ROOT.  Writes how trials ran and ended to ROOT/told.json."""

import json
import logging
import sys
from pathlib import Path

import jobs
import ray
import ray.cloudpickle
from ray.cluster_utils import Cluster
from trivial_sweeps import Memory, plan

from gensweep.config.sweep_config import Resources
from gensweep.sweep.cluster import set_switches
from gensweep.sweep.events import Evaluated, Scaled
from gensweep.sweep.run import run_plan

OPTIONS = {"object_store_memory": 100 * 2**20, "include_dashboard": False}


class Resizer(Memory):
    """Adds a node at the first checkpoint, and takes it away once two trials run at once; then opens the gate."""

    def __init__(self, cluster, gate):
        super().__init__()
        self.cluster, self.gate, self.added, self.removed, self.running = cluster, gate, None, False, []

    def __call__(self, event, state):
        super().__call__(event, state)
        if not self.running or len(state.running) != self.running[-1]:
            self.running.append(len(state.running))
        if not isinstance(event, Evaluated):
            return
        if self.added is None:
            self.added = self.cluster.add_node(num_cpus=1, node_ip_address="127.0.0.3", **OPTIONS)
        elif not self.removed and len(state.running) == 2 and all(trial.evaluations for trial in state.running):
            self.cluster.remove_node(self.added)
            self.removed = True
            self.gate.touch()


class Loser(Memory):
    """Takes a node away at the first checkpoint."""

    def __init__(self, cluster, node):
        super().__init__()
        self.cluster, self.node = cluster, node

    def __call__(self, event, state):
        super().__call__(event, state)
        if isinstance(event, Evaluated) and self.node is not None:
            node, self.node = self.node, None
            self.cluster.remove_node(node)

    def signals(self, name):
        return [event.evaluation.signals[name] for event in self.of(Evaluated)]


def fewer_workers(cluster, root):
    """Two trials of one or two workers, the first of which loses one of two."""
    loser = Loser(cluster, cluster.add_node(num_cpus=1, node_ip_address="127.0.0.4", **OPTIONS))
    resources = Resources(workers={"min": 1, "max": 2}, concurrent=1)
    result = run_plan(plan("b", trials=2, configs=[{"sleep": 0.5}, {}], resources=resources), [loser], root=root)
    sums = [trial.best.evaluation.signals["sum"] for trial in result.state.trials.values()]
    return {"worlds": loser.signals("world"), "sums": sums}


if __name__ == "__main__":
    ray.cloudpickle.register_pickle_by_value(jobs)
    set_switches()
    cluster = Cluster(True, head_node_args={"num_cpus": 0, **OPTIONS})
    cluster.add_node(num_cpus=1, node_ip_address="127.0.0.2", **OPTIONS)
    ray.init(cluster.address, log_to_driver=False, logging_level=logging.ERROR)
    root = Path(sys.argv[1])
    resizer = Resizer(cluster, root / "gate")
    configs = [*[{"wait_at": 3, "gate": str(resizer.gate)}] * 2, {}]
    result = run_plan(plan(trials=3, configs=configs, resources=Resources()), [resizer], root=root)
    trials = result.state.trials.values()
    told = {
        "running": max(resizer.running),
        "removed": resizer.removed,
        "scaled": [event.concurrent for event in resizer.of(Scaled)],
        "statuses": [trial.status for trial in trials],
    }
    told |= fewer_workers(cluster, root)
    (root / "told.json").write_text(json.dumps(told))  # Ray prints warnings on stdout
    ray.shutdown()
    cluster.shutdown()
