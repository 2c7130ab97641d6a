"""What a search finds for its compute: replays of searches on a table of real trials, with every cost counted.

    .venv/bin/python benchmarks/search_efficiency.py digits
    .venv/bin/python benchmarks/search_efficiency.py digits --trainings 10,32 --workers 4 --methods random,asha

The product's methods are driven by its own session, the peers by their own packages; smac and dehb come with
`pip install 'gensweep[search-peers]'` and run one trial at a time.

All methods are scored at the same points of a training, those of the table that divide it by three: trials are stopped,
paused and promoted there.  `random (scored once)` and `optuna`, which stop nothing early, are scored at the end.
The searches that begin warm know one of a quarter of the compute, by default, which is not counted; see
replays/warm_starts.py.

A table holds few of the configurations that a search may ask for: it gets the nearest one, or with --way smoothed what
a model of the table says; see replays/populations.py.  What a replay has found is the score of the best trial so far on
fresh seeds, not the lucky one that was seen.

A search spends the largest budget of --trainings; the smaller ones are parts of it, as no method knows its budget.  The
last lines say where the default misses its bar.

Prints a table and writes benchmarks/results/search_efficiency-DATE-PROCESSOR-TABLE-WAY.json, with a figure beside it.
"""

from __future__ import annotations

import math
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import click
import numpy as np
import optuna
from dated_results import write_result
from matplotlib.colors import TABLEAU_COLORS
from matplotlib.figure import Figure
from replays.peer_searches import Dehb, OptunaStudy, Promoting, RayAsha, Smac
from replays.populations import NearestConfigurations, SmoothedTable
from replays.product_search import ProductSearch
from replays.quick_optuna import speed_up
from replays.table import NAMES, sweep_of
from replays.table_replay import FoundScore, Pool, Population, Searcher, replay
from replays.warm_starts import Knowledge, warm_search
from scipy.stats import binom
from tables.load import Table, load_table

from gensweep.results import Identity
from gensweep.sweep.folder import SweepFolder

SHARES = (1 / 27, 1 / 9, 1 / 3, 1.0)
#: The product's methods, as settings of `search`.
PRODUCT: dict[str, dict[str, Any]] = {
    "random": {"sampler": {"kind": "random"}, "scheduler": {"kind": "fifo"}},
    "tpe_by_branch": {"sampler": {"kind": "tpe_by_branch"}, "scheduler": {"kind": "fifo"}},
    "asha": {"sampler": {"kind": "random"}, "scheduler": {"kind": "asha"}},
    "tpe_by_branch+asha": {},
    "median": {"sampler": {"kind": "random"}, "scheduler": {"kind": "median"}},
}
DEFAULT, BASELINE, ONCE = "tpe_by_branch+asha", "random", "random (scored once)"
PEERS = ("optuna", "optuna+hyperband", "ray", "smac", "dehb")
#: Peers that train one trial at a time.
SEQUENTIAL = ("smac", "dehb")
#: The default search that begins with what another one found out.
WARM: dict[str, Knowledge] = {"warm (ranks)": "ranks", "warm (wrong)": "wrong"}
METHODS = (ONCE, *PRODUCT, *PEERS, *WARM)
#: Methods that search as one of the product's does.
SAME_SEARCH = {ONCE: BASELINE, **dict.fromkeys(WARM, DEFAULT)}
WAYS: dict[str, Callable[..., Population]] = {"nearest": NearestConfigurations, "smoothed": SmoothedTable}
#: Points of the axis of compute, evenly on its logarithm, and where it begins, in whole trainings.
GRID, FIRST = 200, 1.0
#: Of those whose bands are drawn; the file has those of all.
COLOURS = {BASELINE: "black", DEFAULT: "tab:red"}
#: Of the intervals.
CONFIDENCE = 0.95
#: The share of random search's compute after which the default is to have found as much, by workers.
BARS = {1: 0.25, 16: 0.28}


@dataclass(frozen=True)
class Row:
    """A method's final score with the compute of `trainings`.

    `compute` is the share of it at which the method reaches the final score of random search.  Both are medians, with
    their 95 % intervals; None: with more compute.
    """

    method: str
    trainings: float
    score: tuple[float, float, float]
    compute: tuple[float | None, float | None, float | None]


def replays(
    method: str,
    table: Table,
    population: Population,
    seeds: int,
    trainings: float,
    *,
    told: bool = False,
    trials: int | None = None,
    workers: int = 1,
    first_seed: int = 0,
) -> list[list[FoundScore]]:
    """Scores that a method finds with the compute of `trainings`, by seed; see make_search for `told` and `trials`."""
    budget, found = table.heading["sweep"]["budget"]["flops"], []
    for seed in range(first_seed, first_seed + seeds):
        pool = Pool(population, budget, shares_of(method), seed)
        with tempfile.TemporaryDirectory(dir="/dev/shm" if Path("/dev/shm").is_dir() else None) as folder:
            search = make_search(method, pool, table, Path(folder), trainings, told=told, trials=trials)
            found.append(replay(search, pool, flops=trainings * budget, workers=workers))
    return found


def make_search(
    method: str,
    pool: Pool,
    table: Table,
    folder: Path,
    trainings: float,
    *,
    told: bool = False,
    trials: int | None = None,
) -> Searcher:
    """A method, ready to be asked.

    The default is `told` its budget, as by `search.budget`; the product's methods end after `trials`, as by
    `search.trials`.
    """
    sweep = sweep_of(table.name)
    match method:
        case "optuna" | "optuna+hyperband":
            return OptunaStudy(pool, sweep)
        case "ray":
            return RayAsha(pool, sweep)
        case "smac":
            return Promoting(pool, Smac(pool, sweep, folder, math.ceil(trainings)), worst_of(table))
        case "dehb":
            return Promoting(pool, Dehb(pool, sweep, folder), worst_of(table))
    identity = Identity.from_dict(table.heading["identity"])

    search = dict(PRODUCT[SAME_SEARCH.get(method, method)])
    if trials is not None:
        search["trials"] = trials
    if told and method == DEFAULT:
        search["budget"] = {"flops": trainings * pool.budget}

    def product(pool: Pool, name: str = "replay", **known: Any) -> ProductSearch:
        return ProductSearch(pool, sweep, identity, search, SweepFolder(folder, name), **known)

    return warm_search(pool, product, WARM[method]) if method in WARM else product(pool)


def shares_of(method: str) -> tuple[float, ...]:
    """The points of a training at which a method's trials are scored."""
    return SHARES[-1:] if method in (ONCE, "optuna") else SHARES


def worst_of(table: Table) -> float:
    """The worst score of a table."""
    return max(score for training in table.trainings for score in training.curve["score"])


def curves(found: Sequence[Sequence[FoundScore]], grid: Sequence[float] | np.ndarray, start: float) -> np.ndarray:
    """By seed and compute in FLOPs, the score on fresh seeds of the best trial; `start` before there is any."""
    table = np.full((len(found), len(grid)), start)
    for row, steps in zip(table, found, strict=True):
        for step in steps:
            row[np.asarray(grid) >= step.flops] = step.fresh
    return table


def median_with_interval(values: np.ndarray) -> np.ndarray:
    """Medians over seeds (the first axis), with the lower and upper ends of their intervals, from order statistics."""
    ordered, n = np.sort(values, axis=0), len(values)
    below = int(binom.ppf((1 - CONFIDENCE) / 2, n, 0.5))
    return np.stack([np.median(values, axis=0), ordered[max(below - 1, 0)], ordered[min(n - below, n - 1)]])


def row_of(method: str, trainings: float, bands: np.ndarray, grid: np.ndarray, target: float) -> Row:
    """A method's row, from its medians and intervals over a grid of whole trainings."""
    reached = [np.flatnonzero(band <= target) for band in bands]
    compute = [float(grid[each[0]] / trainings) if len(each) else None for each in reached]
    within = [each if each is not None and each <= 1 else None for each in compute]
    score = [float(f"{each:.4g}") for each in bands[:, _index(grid, trainings)]]
    return Row(method, trainings, (score[0], score[1], score[2]), (within[0], within[1], within[2]))


def shortcomings(rows: Sequence[Row], bands: Mapping[str, np.ndarray], grid: np.ndarray, workers: int) -> list[str]:
    """Where the default misses the bar: its share of random search's compute, no peer ahead, never behind random."""
    found, bar = list[str](), BARS.get(workers, max(BARS.values()))
    defaults = {row.trainings: row for row in rows if row.method == DEFAULT}
    for trainings, default in defaults.items():
        if default.compute[0] is None or default.compute[0] > bar:
            found.append(f"{trainings:g} trainings: {DEFAULT} takes {_percent(default.compute[0])}, not {bar:.0%}")
    for row in rows:
        if row.method in (*PEERS, BASELINE, ONCE) and row.score[2] < defaults[row.trainings].score[1]:
            found.append(f"{row.trainings:g} trainings: {row.method} is ahead")
    for baseline in [each for each in (BASELINE, ONCE) if each in bands]:
        if len(behind := grid[bands[DEFAULT][1] > bands[baseline][2]]):
            found.append(f"{baseline} is ahead between {behind[0]:.3g} and {behind[-1]:.3g} trainings")
    return found


@click.command(context_settings={"show_default": True})
@click.argument("name", type=click.Choice(NAMES))
@click.option("--seeds", default=200, help="Replays of each method.")
@click.option("--trainings", default="10,20,30,100", help="Budgets of a search, in whole trainings.")
@click.option(
    "--told", is_flag=True, help="The default knows the largest budget, as by search.budget; else it is cut off there."
)
@click.option("--trials", type=click.IntRange(1), default=None, help="Trials after which a search ends.")
@click.option("--first-seed", default=0, help="Seeds count from here.")
@click.option("--workers", type=click.IntRange(1), default=1, help="Trials at a time.")
@click.option("--methods", default=",".join(METHODS), help="Which, with commas between.")
@click.option("--way", type=click.Choice(list(WAYS)), default="nearest", help="From the table to its space.")
def main(
    name: str,
    seeds: int,
    trainings: str,
    told: bool,
    trials: int | None,
    first_seed: int,
    workers: int,
    methods: str,
    way: str,
) -> None:
    """Replay searches on a table, and say what they find for their compute."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    speed_up()
    table = load_table(name)
    if not table.trainings:
        raise click.ClickException(f"the table is empty; begin it with: python benchmarks/make_table.py {name}")
    budget, budgets = float(table.heading["sweep"]["budget"]["flops"]), sorted(map(float, trainings.split(",")))
    grid = np.unique([*np.geomspace(FIRST, budgets[-1], GRID), *budgets])
    chosen = list(dict.fromkeys([BASELINE, *methods.split(",")]))
    if unknown := [each for each in chosen if each not in METHODS]:
        raise click.ClickException(f"--methods: {', '.join(unknown)}: none of {', '.join(METHODS)}")
    if workers > 1 and (alone := [each for each in chosen if each in SEQUENTIAL]):
        raise click.ClickException(f"--methods: {', '.join(alone)}: replayed with one trial at a time; leave them out")
    bands, rows, populations = dict[str, np.ndarray](), list[Row](), dict[tuple[float, ...], Population]()
    seconds = dict[str, float]()
    click.echo(f"{'':22} " + "".join(f"{f'{each:g} trainings':40}" for each in budgets))
    for method in chosen:
        began, shares = time.perf_counter(), shares_of(method)
        if shares not in populations:
            populations[shares] = WAYS[way](table, sweep_of(name).nodes(), shares)
        try:
            known: dict[str, Any] = {"told": told, "trials": trials, "workers": workers, "first_seed": first_seed}
            found = replays(method, table, populations[shares], seeds, budgets[-1], **known)
        except ModuleNotFoundError as error:
            raise click.ClickException(f"{method}: {error}; pip install 'gensweep[search-peers]'") from error
        bands[method] = median_with_interval(curves(found, grid * budget, worst_of(table)))
        targets = [bands[BASELINE][0, _index(grid, each)] for each in budgets]
        new = [row_of(method, each, bands[method], grid, float(t)) for each, t in zip(budgets, targets, strict=True)]
        rows += new
        seconds[method] = round(time.perf_counter() - began, 1)
        click.echo(f"{method:22} " + "".join(f"{_cell(row):40}" for row in new))
    missed = shortcomings(rows, bands, grid, workers) if DEFAULT in bands else None
    if missed is not None:
        click.echo("\n".join(missed) or f"{DEFAULT} meets the bar")
    settings = {
        "trainings": budgets,
        "seeds": seeds,
        "told": told,
        "trials": trials,
        "first_seed": first_seed,
        "workers": workers,
        "shares": SHARES,
        "way": way,
        "missed": missed,
        "seconds": seconds,
    }
    write(name, table, rows, grid, bands, settings)


def _index(grid: np.ndarray, trainings: float) -> int:
    """Where a grid of whole trainings has this number."""
    return int(np.searchsorted(grid, trainings))


def _percent(share: float | None) -> str:
    return "more" if share is None else f"{share:.0%}"


def _cell(row: Row) -> str:
    (score, low, high), (share, first, last) = row.score, map(_percent, row.compute)
    return f"{score:.4g} [{low:.4g}, {high:.4g}] {share} [{first}, {last}]"


def write(
    name: str,
    table: Table,
    rows: Sequence[Row],
    grid: np.ndarray,
    bands: Mapping[str, np.ndarray],
    settings: Mapping[str, Any],
) -> None:
    """Write the result as JSON, and the figure beside it."""
    size = {"configurations": len(table.by_configuration), "trainings": len(table.trainings)}
    file = write_result(
        "search_efficiency",
        f"{name}-{settings['way']}"
        + (f"-told-{settings['trainings'][-1]:g}" if settings["told"] else "")
        + (f"-trials-{settings['trials']}" if settings["trials"] else "")
        + (f"-workers-{settings['workers']}" if settings["workers"] > 1 else ""),
        table={"name": name, **size},
        settings=dict(settings),
        rows=[asdict(row) for row in rows],
    )
    figure = Figure(figsize=(9, 5.5), layout="constrained")
    axes = figure.add_subplot()
    axes.set_prop_cycle(color=[each for each in TABLEAU_COLORS if each not in COLOURS.values()])
    for method, (middle, low, high) in bands.items():
        colour, broad = COLOURS.get(method), method in (BASELINE, DEFAULT)
        style = {"linewidth": 2.5 if broad else 1.2, "linestyle": "--" if method in PEERS else "-"}
        [line] = axes.plot(grid, middle, label=method, color=colour, **style)
        if broad:
            axes.fill_between(grid, low, high, color=line.get_color(), alpha=0.2, linewidth=0)
    axes.set(xscale="log", yscale="log", xlabel="compute of the search, in whole trainings")
    axes.set_ylabel(f"{table.heading['identity']['metric']} of the best trial on fresh seeds, median over replays")
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False)
    figure.savefig(file.with_suffix(".png"), dpi=120)
    click.echo(f"wrote benchmarks/results/{file.name} and .png")


if __name__ == "__main__":
    main()
