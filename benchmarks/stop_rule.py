"""Is `search.stop_when` right?  Replays of the default search with and without it, on a table of real trials.

    .venv/bin/python benchmarks/stop_rule.py digits --way smoothed --trials 100

Prints the share of replays whose best score on fresh seeds is at most the expected gain worse than without the rule,
and the compute that the rule saves.
"""

from __future__ import annotations

import math
import tempfile
from pathlib import Path
from typing import Any

import click
import numpy as np
import optuna
from dated_results import write_result
from replays.product_search import ProductSearch
from replays.quick_optuna import speed_up
from replays.table import NAMES, sweep_of
from replays.table_replay import FoundScore, Pool, Population, replay
from search_efficiency import SHARES, WAYS
from tables.load import Table, load_table

from gensweep.results import Identity
from gensweep.sweep.folder import SweepFolder


def searched(table: Table, population: Population, seed: int, search: dict[str, Any]) -> tuple[FoundScore, float]:
    """What a whole search finds, and what it spends, in whole trainings."""
    sweep = sweep_of(table.name)
    pool = Pool(population, table.heading["sweep"]["budget"]["flops"], SHARES, seed)
    with tempfile.TemporaryDirectory(dir="/dev/shm" if Path("/dev/shm").is_dir() else None) as folder:
        identity = Identity.from_dict(table.heading["identity"])
        product = ProductSearch(pool, sweep, identity, search, SweepFolder(Path(folder), "replay"))
        found = replay(product, pool, flops=math.inf, workers=1)
        spent = sum(product.state.spent(trial, trial.images) for trial in product.state.searched)
    return found[-1], spent / pool.budget


@click.command(context_settings={"show_default": True})
@click.argument("name", type=click.Choice(NAMES))
@click.option("--way", type=click.Choice(list(WAYS)), default="smoothed", help="From the table to its space.")
@click.option("--trials", default=100, help="Trials of a search without the rule.")
@click.option("--gain", default=0.01, help="search.stop_when.expected_gain")
@click.option("--seeds", default=100, help="Replays.")
def main(name: str, way: str, trials: int, gain: float, seeds: int) -> None:
    """Replay searches with and without the rule."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    speed_up()
    table, regrets, saved = load_table(name), [], []
    population = WAYS[way](table, sweep_of(name).nodes(), SHARES)
    for seed in range(seeds):
        whole, spent = searched(table, population, seed, {"trials": trials})
        rule = {"trials": trials, "stop_when": {"expected_gain": gain}}
        stopped, less = searched(table, population, seed, rule)
        regrets.append(stopped.fresh / whole.fresh - 1)
        saved.append(1 - less / spent)
    right, quantiles = (
        float(np.mean(np.array(regrets) <= gain)),
        np.quantile(saved, [0.25, 0.5, 0.75]).round(3).tolist(),
    )
    click.echo(f"{right:.0%} of {seeds} replays at most {gain:.0%} worse; mean regret {np.mean(regrets):.1%}")
    click.echo(f"compute saved, quartiles: {', '.join(f'{each:.0%}' for each in quantiles)}")
    rows = [{"regret": round(a, 4), "saved": round(b, 4)} for a, b in zip(regrets, saved, strict=True)]
    settings = {"way": way, "trials": trials, "expected_gain": gain, "seeds": seeds}
    file = write_result(
        "stop_rule", f"{name}-{way}-{trials}", settings=settings, right=right, saved=quantiles, rows=rows
    )
    click.echo(f"wrote benchmarks/results/{file.name}")


if __name__ == "__main__":
    main()
