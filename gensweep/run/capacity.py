"""How many trials the cluster holds at this moment."""

from __future__ import annotations

import time
from collections.abc import Callable

from gensweep.config.sweep_config import Resources
from gensweep.errors import GensweepError
from gensweep.run.allotment import allot, limited, scarce_words, trials_that_fit
from gensweep.run.node_types import cluster_nodes
from gensweep.run.nodes import node_resources
from gensweep.sweep.events import Scaled

LOOK_INTERVAL = 1.0  # seconds between two looks at the nodes
REMINDER_INTERVAL = 60.0  # seconds after which it is noted again that no trial can run
MOST_WAITING = 16  # trials that wait at once for nodes of an autoscaler, which Ray asks for them


class Capacity:
    """How many trials may start.  With an autoscaler, some of them wait for a node.

    Raises ConfigError if no node that exists, or that the autoscaler may add, can ever hold a trial.
    """

    def __init__(self, resources: Resources) -> None:
        nodes = cluster_nodes(resources)
        most = None if nodes.addable is None else allot(resources, nodes.living, nodes.addable)
        self._resources, self._most = resources, most
        self._grows = nodes.addable is None or bool(nodes.addable)
        self.fit = limited(resources, trials_that_fit(resources, nodes.living))
        """How many trials fit the living nodes."""
        self._looked = self._noted = float("-inf")
        self._last = Scaled(len(nodes.living), self.fit, 0, scarce_words(resources))

    @property
    def trials(self) -> int:
        """How many trials may have started and not ended."""
        if not self._grows:
            return self.fit
        waiting = self.fit + MOST_WAITING
        return limited(self._resources, waiting if self._most is None else min(waiting, self._most.concurrent))

    def update(self, running: int, pending: int, note: Callable[[Scaled], None]) -> None:
        """Look at the nodes, once a second at most; `note` receives the changes.

        `running` trials have started, and `pending` more could.  Raises GensweepError if there is no node at all.
        """
        now = time.monotonic()
        if now - self._looked < LOOK_INTERVAL:
            return
        self._looked = now
        nodes = node_resources()
        if not nodes:
            raise GensweepError(
                "Ray has lost this machine: its process raylet has ended, or did not get a processor for minutes; "
                "resume the sweep, and its trials continue from their last checkpoints"
            )
        self.fit = limited(self._resources, trials_that_fit(self._resources, nodes))
        wanted = min(running + pending, self.trials) if self._grows else max(running, min(1, running + pending))
        missing = max(0, limited(self._resources, wanted) - self.fit) * self._resources.worker_counts[0]
        scaled = Scaled(len(nodes), self.fit, missing, scarce_words(self._resources))
        overdue = missing > 0 and not self.fit and now - self._noted >= REMINDER_INTERVAL
        if scaled != self._last or overdue:
            self._last, self._noted = scaled, now
            note(scaled)
