"""Which scheduler decides how far the trials of a sweep train; at most one of the two is not None."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gensweep.config.search_methods import AshaSettings, Fifo
from gensweep.sweep.early_stopping import Asha
from gensweep.sweep.sweep_plan import SweepPlan

if TYPE_CHECKING:
    from gensweep.sweep.tune_scheduler import TuneScheduler


def asha(plan: SweepPlan) -> Asha | None:
    """The rule by which trials stop that never wait for others."""
    settings = plan.search.scheduler
    if not isinstance(settings, AshaSettings):
        return None
    return Asha(plan.budget, plan.grace, settings.reduction, by_family=settings.by_family)


def tune_scheduler(plan: SweepPlan) -> TuneScheduler | None:
    """Tune's scheduler of a sweep; None where trials are stopped by ASHA, or not at all."""
    if isinstance(plan.search.scheduler, AshaSettings | Fifo):
        return None
    from gensweep.sweep.tune_scheduler import TuneScheduler

    return TuneScheduler(
        plan.search.scheduler,
        mode=plan.objective.mode,
        budget=plan.budget,
        grace=plan.grace,
        nodes=plan.nodes,
        seed=plan.search.seed,
    )
