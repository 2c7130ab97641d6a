"""Searches of gensweep's in a replay that begin with what an earlier one found out, rightly or wrongly."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, TypeAlias

from replays.product_search import ProductSearch
from replays.table_replay import Pool, replay

from gensweep.search.sweep_plan import MOST_QUEUED
from gensweep.sweep.events import WarmStarted
from gensweep.sweep.state import SweepState

#: `ranks`: the settings of the best come first; `wrong`: the settings of the worst.
Knowledge: TypeAlias = Literal["ranks", "wrong"]
#: Whole trainings that the earlier search took.
EARLIER = 12
#: Seeds of earlier searches begin here.
OTHER_SEEDS = 10_000


def warm_search(pool: Pool, make: Callable[..., ProductSearch], knowledge: Knowledge) -> ProductSearch:
    """A search that knows another one, with another seed, of the same population; `make` takes a pool and a name."""
    other = Pool(pool.population, pool.budget, pool.shares, OTHER_SEEDS + pool.seed)
    earlier = make(other, "earlier")
    replay(earlier, other, flops=EARLIER * pool.budget, workers=1)
    return make(pool, "replay", warm_starts=(_known(earlier.state, knowledge),))


def _known(state: SweepState, knowledge: Knowledge) -> WarmStarted:
    scored = state.ranking
    taken = scored[:MOST_QUEUED] if knowledge == "ranks" else scored[-MOST_QUEUED:]
    return WarmStarted("earlier", [dict(trial.suggested) for trial in taken])
