"""Searches of gensweep's in a replay that begin with what an earlier one found out, rightly or wrongly."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, TypeAlias

from replays.product_search import ProductSearch
from replays.table_replay import Pool, replay

from gensweep.sweep.events import WarmStarted
from gensweep.sweep.state import SweepState
from gensweep.sweep.warm_start import MOST_QUEUED, known_trial

#: Of `scores`, the scores count for the new search; of `ranks`, the settings of the best come first; of `wrong`, those
#: of the worst that were trained, as if another data set had made them the best.
Knowledge: TypeAlias = Literal["scores", "ranks", "wrong"]
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
    if knowledge == "scores":
        ended = [trial for trial in scored if trial.status in ("finished", "pruned", "paused")]
        return WarmStarted("earlier", [known_trial(trial, dict(trial.suggested)) for trial in ended], [])
    taken = scored[:MOST_QUEUED] if knowledge == "ranks" else scored[-MOST_QUEUED:]
    return WarmStarted("earlier", [], [dict(trial.suggested) for trial in taken])
