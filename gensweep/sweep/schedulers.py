"""Which scheduler decides how far the trials of a sweep train."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Literal, Protocol

from gensweep.config.search_methods import AshaSettings, Fifo
from gensweep.sweep import events
from gensweep.sweep.asha import Asha
from gensweep.sweep.search_budget import Step
from gensweep.sweep.state import SweepState
from gensweep.sweep.sweep_plan import SweepPlan

if TYPE_CHECKING:
    from gensweep.sweep.tune_scheduler import Clone


class Scheduler(Protocol):
    """What decides about trials; all that it knows comes from the log."""

    def apply(self, event: events.Event, state: SweepState) -> None:
        """Take in the next event, with the state that follows from it."""

    def wants(self, name: str) -> Literal["go on", "pause", "stop"]:
        """What is to become of a trial that has not ended."""

    def stopping(self) -> Collection[str]:
        """The trials that are to stop; of those that have stopped it may name some, too."""

    def offered(self) -> list[str]:
        """The trials that may run now, the next one first; NEW stands for one that is to be drawn."""

    def going_on(self) -> Mapping[str, float]:
        """The shares of what paused trials have not spent that they will spend if no other one is drawn, by name."""

    @property
    def first_step(self) -> Step:
        """How far a trial that is drawn trains before it may wait."""

    def clones(self) -> Mapping[str, Clone]:
        """By their names, trials that are to go on from checkpoints of others, and do not yet."""


def make_scheduler(plan: SweepPlan) -> Scheduler | None:
    """The scheduler of a sweep; None where every trial runs to its end."""
    settings = plan.search.scheduler
    match settings:
        case Fifo():
            return None
        case AshaSettings():
            return Asha(plan.budget, plan.grace, settings.reduction, by_family=settings.by_family)
    from gensweep.sweep.tune_scheduler import TuneScheduler

    return TuneScheduler(
        settings,
        mode=plan.objective.mode,
        budget=plan.budget,
        grace=plan.grace,
        nodes=plan.nodes,
        seed=plan.search.seed,
    )
