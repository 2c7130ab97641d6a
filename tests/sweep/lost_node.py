"""A sweep on a cluster that loses a worker node: lost_node.py ROOT head|worker (where the driver runs).

Prints as JSON where the processes lay and how the trials ended.
"""

import json
import logging
import sys
from pathlib import Path

import jobs
import ray
import ray.cloudpickle
from processes import pids
from ray.cluster_utils import Cluster
from trivial_sweeps import Memory, plan

from gensweep.config.sweep_config import Resources
from gensweep.sweep.cluster import set_switches
from gensweep.sweep.events import Evaluated
from gensweep.sweep.run import run_plan

COORDINATING = ["TrialQueue", "TrialRunner", "TrainController", "SynchronizationActor"]


def raylet(node):
    """The process id of a node's raylet."""
    return node.all_processes["raylet"][0].process.pid


class Loser(Memory):
    """Notes where the processes lie at the first checkpoints, then takes away a node that trains."""

    def __init__(self, cluster, nodes, drivers):
        super().__init__()
        self.cluster, self.nodes, self.drivers = cluster, nodes, drivers
        self.elsewhere = {}
        self.counted = {}

    def __call__(self, event, state):
        super().__call__(event, state)
        if self.counted or not isinstance(event, Evaluated) or event.evaluation.images != 200:
            return
        others = [node for node in self.nodes if node is not self.drivers]
        for actor in COORDINATING:
            self.counted[actor] = len(pids(actor, [raylet(self.drivers)]))
            self.elsewhere[actor] = len(pids(actor, [raylet(node) for node in others]))
        lost = next(node for node in others if pids("RayTrainWorker", [raylet(node)]))
        self.cluster.remove_node(lost)


if __name__ == "__main__":
    ray.cloudpickle.register_pickle_by_value(jobs)
    set_switches()
    options = {"object_store_memory": 100 * 2**20, "include_dashboard": False}
    cluster = Cluster(True, head_node_args={"num_cpus": 0, **options})
    here = sys.argv[2]
    workers = [cluster.add_node(num_cpus=2, node_ip_address=f"127.0.0.{i}", **options) for i in (2, 3)]
    if here == "worker":
        workers.append(cluster.add_node(num_cpus=0, node_ip_address="127.0.0.4", **options))
    ray.init(
        cluster.address,
        log_to_driver=False,
        logging_level=logging.ERROR,
        **({"_node_ip_address": "127.0.0.4"} if here == "worker" else {}),
    )
    drivers = workers[-1] if here == "worker" else cluster.head_node
    loser = Loser(cluster, [cluster.head_node, *workers], drivers)
    configs = [{"sleep": 0.3}, {"sleep": 0.3}, {}]
    result = run_plan(
        plan(trials=3, configs=configs, resources=Resources(concurrent=2)), [loser], root=Path(sys.argv[1])
    )
    trials = result.state.trials.values()
    sums = [trial.best and trial.best.evaluation.signals["sum"] for trial in trials]
    statuses = [trial.status for trial in trials]
    sys.stdout.write(
        json.dumps({"here": loser.counted, "elsewhere": loser.elsewhere, "statuses": statuses, "sums": sums}) + "\n"
    )
    ray.shutdown()
    cluster.shutdown()
