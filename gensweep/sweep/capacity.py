"""How many trials a cluster holds at this moment, and asking its autoscaler for the nodes that are missing.

Nodes are asked for with placement groups that wait, one for each trial without a place.  One that has found its place
is removed at once, so that the workers of a trial get it.  Ray drops these groups when the driver ends, however that
comes about, so nothing goes on asking after it.  (`request_resources` would: its last call holds until the next one,
and those of Ray Train would replace the driver's.)
"""

from __future__ import annotations

import time
from collections.abc import Callable

from ray.util.placement_group import PlacementGroup, placement_group, placement_group_table, remove_placement_group

from gensweep.config.sweep_config import Resources
from gensweep.errors import GensweepError
from gensweep.sweep.allotment import allot, bundle, limited, scarce_words, trials_that_fit
from gensweep.sweep.events import Scaled
from gensweep.sweep.node_types import cluster_nodes
from gensweep.sweep.placement import node_resources

LOOK_INTERVAL = 1.0  # seconds between two looks at the nodes
REMINDER_INTERVAL = 60.0  # seconds after which it is noted again that no trial can run
MOST_REQUESTS = 16  # groups of workers for which nodes are asked at once; more are asked for as these come


class Capacity:
    """How many trials may run; closed at the end of the sweep.

    Raises ConfigError if no node that is there, or that the autoscaler may add, can ever hold a trial.  Of an
    autoscaler whose node types cannot be known everything is hoped for.
    """

    def __init__(self, resources: Resources) -> None:
        nodes = cluster_nodes(resources)
        self._resources = resources
        self._grows = nodes.addable is None or bool(nodes.addable)
        self._most = None if nodes.addable is None else allot(resources, nodes.living, nodes.addable).concurrent
        self.trials = limited(resources, trials_that_fit(resources, nodes.living))
        """How many fit the living nodes at once."""
        # Where a trial may begin with fewer workers, a place for each of them is of use by itself.
        self._together = resources.worker_counts[0] if len(resources.worker_counts) == 1 else 1
        self._requests: list[PlacementGroup] = []
        self._looked = self._noted = float("-inf")
        self._last = Scaled(len(nodes.living), self.trials, 0, scarce_words(resources))

    def update(self, running: int, pending: int, note: Callable[[Scaled], None]) -> None:
        """Look at the nodes, once a second at most, and ask for those that are missing.

        So many trials are `running` (or wait for workers that were lost), and so many more could start.  `note` hears
        what has changed.  Raises GensweepError if there is no node at all: none replaces the driver's own.
        """
        now = time.monotonic()
        if now - self._looked < LOOK_INTERVAL:
            return
        self._looked = now
        nodes = node_resources()
        if not nodes:
            raise GensweepError(
                "Ray has lost this machine: its process raylet was ended, or had no processor for so long that it was "
                "taken to be; the trials go on from their last checkpoints once the sweep does"
            )
        self.trials = limited(self._resources, trials_that_fit(self._resources, nodes))
        wanted = limited(self._resources, running + pending)
        if self._most is not None:
            wanted = min(wanted, max(self._most, running))
        # Workers that were lost wait in a placement group of their own.
        workers = self._resources.worker_counts[0]
        asked = (wanted - max(self.trials, running)) * workers // self._together
        self._ask(min(MOST_REQUESTS, asked) if self._grows else 0)
        # Without an autoscaler nobody brings nodes for more trials at once.
        hoped_for = wanted if self._grows else min(wanted, max(1, running))
        missing = max(0, hoped_for - self.trials) * workers
        scaled = Scaled(len(nodes), self.trials, missing, scarce_words(self._resources))
        overdue = missing > 0 and not self.trials and now - self._noted >= REMINDER_INTERVAL
        if scaled != self._last or overdue:
            self._last, self._noted = scaled, now
            note(scaled)

    def close(self) -> None:
        """Ask for nothing any more."""
        self._ask(0)

    def _ask(self, count: int) -> None:
        """Let so many requests wait."""
        if not self._requests and count <= 0:
            return
        table = placement_group_table()
        waiting = [each for each in self._requests if table.get(each.id.hex(), {}).get("state") == "PENDING"]
        for request in self._requests:
            if request not in waiting[: max(0, count)]:
                remove_placement_group(request)
        # Where one has just found a place, the next one would take that place before the workers of a trial do.
        found = len(waiting) < len(self._requests)
        self._requests = waiting[: max(0, count)]
        while len(self._requests) < count and not found:
            self._requests.append(placement_group([bundle(self._resources)] * self._together))
