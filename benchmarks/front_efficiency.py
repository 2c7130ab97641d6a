"""What a search for several objectives finds for its compute: replays on a table of real trials, as search_efficiency.

    .venv/bin/python benchmarks/front_efficiency.py digits --cost params
    .venv/bin/python benchmarks/front_efficiency.py horses --cost sample_flops

The objectives are the score and a cost.  A search is worth the hypervolume of its trials, scores on fresh seeds: both
axes are logarithmic, from the lowest value of the table to the highest.  Prints for each method the median hypervolume
over replays, with its 95 % interval, and the share of the compute at which it reaches what `fifo` has in the end.
"""

from __future__ import annotations

import math
import tempfile
from pathlib import Path

import click
import numpy as np
from dated_results import write_result
from replays.populations import NearestConfigurations
from replays.product_search import ProductSearch
from replays.table import NAMES, sweep_of
from replays.table_replay import Best, FoundScore, Pool, replay
from search_efficiency import GRID, PRODUCT, SHARES, curves, median_with_interval
from tables.load import Table, load_table

from gensweep.config.objectives import Objective
from gensweep.fronts import pareto_front, volume
from gensweep.results import Identity
from gensweep.sweep.folder import SweepFolder

#: The one whose final hypervolume the others are to reach.
BASELINE = "tpe_by_branch"
METHODS = ("random", BASELINE, "asha", "tpe_by_branch+asha")


class Fronts:
    """Replays of one table with the score and one cost."""

    def __init__(self, table: Table, cost: str) -> None:
        self._table, self._cost = table, cost
        self._costs = {each.configuration: each.cost[cost] for each in table.trainings if cost in each.cost}
        scores = [score for each in table.trainings for score in each.curve["score"]]
        self._axes = [np.log([min(each), max(each)]) for each in (scores, list(self._costs.values()))]
        self._population = NearestConfigurations(table, sweep_of(table.name).nodes(), SHARES)

    def worth(self, best: Best, pool: Pool) -> float:
        """The hypervolume of all trials so far."""
        rows = []
        for _, training, point in best.values():
            drawn = pool.drawn[training]
            values = drawn.fresh[point], self._costs[drawn.configuration]
            places = zip(np.log(values), self._axes, strict=True)
            rows.append(tuple(float((value - low) / (high - low)) for value, (low, high) in places))
        return volume([row for row, on_front in zip(rows, pareto_front(rows), strict=True) if on_front], (1.0, 1.0))

    def replay(self, method: str, seed: int, trainings: float, workers: int) -> list[FoundScore]:
        """What a method finds with the compute of so many trainings."""
        budget = self._table.heading["sweep"]["budget"]["flops"]
        pool = Pool(self._population, budget, SHARES, seed)
        with tempfile.TemporaryDirectory(dir="/dev/shm" if Path("/dev/shm").is_dir() else None) as folder:
            search = ProductSearch(
                pool,
                sweep_of(self._table.name),
                Identity.from_dict(self._table.heading["identity"]),
                PRODUCT[method],
                SweepFolder(Path(folder), "replay"),
                further=(Objective(metric=self._cost),),
                costs=lambda drawn: {self._cost: self._costs.get(drawn.configuration)},
            )
            return replay(search, pool, flops=trainings * budget, workers=workers, worth=self.worth)


@click.command(context_settings={"show_default": True})
@click.argument("name", type=click.Choice(NAMES))
@click.option("--cost", type=click.Choice(["params", "sample_flops"]), default="sample_flops", help="Second objective.")
@click.option("--seeds", default=100, help="Replays of each method.")
@click.option("--trainings", default=48.0, help="Compute of a search, in whole trainings.")
@click.option("--workers", type=click.IntRange(1), default=1, help="Trials at a time.")
def main(name: str, cost: str, seeds: int, trainings: float, workers: int) -> None:
    """Replay searches with two objectives."""
    table = load_table(name)
    grid = np.geomspace(1.0, trainings, GRID) * table.heading["sweep"]["budget"]["flops"]
    fronts, bands = Fronts(table, cost), dict[str, np.ndarray]()
    for method in METHODS:
        found = [fronts.replay(method, seed, trainings, workers) for seed in range(seeds)]
        bands[method] = median_with_interval(curves(found, grid, 0.0))
    target, rows = bands[BASELINE][0, -1], []
    for method, (middle, low, high) in bands.items():
        reached = np.flatnonzero(middle >= target)
        share = float(grid[reached[0]] / grid[-1]) if len(reached) else math.nan
        rows.append({"method": method, "final": [float(each[-1]) for each in (middle, low, high)], "share": share})
        click.echo(f"{method:22} {middle[-1]:.4f} [{low[-1]:.4f}, {high[-1]:.4f}] {share:6.0%}")
    settings = {"cost": cost, "seeds": seeds, "trainings": trainings, "workers": workers}
    file = write_result("front_efficiency", f"{name}-{cost}-workers-{workers}", settings=settings, rows=rows)
    click.echo(f"wrote benchmarks/results/{file.name}")


if __name__ == "__main__":
    main()
