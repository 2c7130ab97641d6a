"""Is "sure" right after early stopping?  Counted on simulated sweeps of two families whose truth is known.

    .venv/bin/python benchmarks/verdict_coverage.py
    .venv/bin/python benchmarks/verdict_coverage.py --scheduler median --gap 0.1 --speeds unlike --trials 40

Each sweep is run by the product's own session with its default sampler, without Ray, and judged at the full budget.
Final scores are log-normal, and the second family is worse by --gap.  Scores fall as a power of the compute,
with an exponent for each configuration.  With --speeds unlike the second family learns early and the first one late.

Prints how often a family was surely the best, how often the bands held the truth, and the bias of the expected best.
Writes benchmarks/results/verdict_coverage-DATE-PROCESSOR-SCHEDULER-SPEEDS-GAP.json.
"""

from __future__ import annotations

import random
import tempfile
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import click
import numpy as np
import optuna
from dated_results import write_result
from replays.product_search import ProductSearch
from replays.table_replay import Drawn, Pool, replay

from gensweep.config import load_sweep
from gensweep.results import Identity
from gensweep.sweep.folder import SweepFolder
from gensweep.verdict.frontier import Frontier, frontier
from gensweep.verdict.recommendation import SURE
from gensweep.verdict.training_curves import CUT_SHORT, CurvePoint, TrainingCurve

#: Two families: the better one, if there is a gap, comes first.
SPACE = Path(__file__).parents[1] / "search_spaces" / "quickstart.yaml"
BETTER, WORSE = "diffusion", "gan"
BUDGET = 1e12
SHARES = (1 / 27, 1 / 9, 1 / 3, 1.0)
IDENTITY = Identity("fd", "raw", "made-up", 2000, "u8")
#: The median final score of the better family, and the standard deviation of its logarithm.
MEDIAN, SPREAD = 40.0, 0.3
#: Exponents of scores in the compute, by family, and the standard deviation of their logarithms.
SPEEDS = {"alike": (0.4, 0.4), "unlike": (0.6, 0.2)}
SPEED_SPREAD = 0.25
#: Standard error of a score, as a share of it.
ERROR = 0.03
SCHEDULERS = ("asha", "median", "fifo")
DRAWS_FOR_TRUTH = 200_000


class MadeUpFamilies:
    """Trainings whose final score does not depend on their parameters."""

    def __init__(self, gap: float, speeds: str) -> None:
        self._medians = {BETTER: MEDIAN, WORSE: MEDIAN * (1 + gap)}
        self._speeds = dict(zip((BETTER, WORSE), SPEEDS[speeds], strict=True))

    def draw(self, parameters: Mapping[str, Any], drawn: Sequence[Drawn], random: random.Random) -> Drawn:
        """A training of the family that is asked for."""
        family = parameters["family.kind"]
        final = self._medians[family] * np.exp(SPREAD * random.gauss())
        speed = self._speeds[family] * np.exp(SPEED_SPREAD * random.gauss())
        true = final * np.array(SHARES) ** -speed
        scores = [value * (1 + ERROR * random.gauss()) for value in true]
        return Drawn(f"t{len(drawn)}", parameters, scores, list(true), 0.0)

    def expected(self, family: str, tries: int) -> float:
        """The expected best final score of `tries` configurations."""
        return self._medians[family] * _expected_factor(tries)


@cache
def _expected_factor(tries: int) -> float:
    normal = np.random.default_rng(0).standard_normal((DRAWS_FOR_TRUTH, tries))
    return float(np.exp(SPREAD * normal.min(1)).mean())


def sweep(families: MadeUpFamilies, trials: int, scheduler: str, seed: int) -> list[TrainingCurve]:
    """The trainings of a whole sweep."""
    pool = Pool(families, BUDGET, SHARES, seed)
    search = {"trials": trials, "scheduler": {"kind": scheduler}}
    with tempfile.TemporaryDirectory(dir="/dev/shm" if Path("/dev/shm").is_dir() else None) as folder:
        made = ProductSearch(pool, load_sweep(SPACE), IDENTITY, search, SweepFolder(Path(folder), "made-up"))
        replay(made, pool, flops=np.inf, workers=1)
        return [
            TrainingCurve(
                trial.family,
                name,
                name,
                tuple(
                    CurvePoint(found.cost.flops, found.scores["fd"].order, ERROR * found.scores["fd"].value)
                    for found in (event.evaluation for event in trial.evaluations.values())
                ),
                stopped_early=trial.status in CUT_SHORT,
            )
            for name, trial in made.state.trials.items()
        ]


def count(families: MadeUpFamilies, judged: Iterable[Frontier]) -> dict[str, float]:
    """In per cent: sweeps with a sure winner, bands that hold the truth, and the bias of the expected best."""
    sure, held, ratios, widths = (defaultdict[str, list[float]](list) for _ in range(4))
    for found in judged:
        chances = found.probabilities(BUDGET)
        for curve in found.curves:
            family, point, truth = curve.group, curve.points[-1], families.expected(curve.group, found.tries)
            sure[family].append(chances[family] >= SURE)
            ratios[family].append(np.log(point.best / truth))
            if point.low is not None and point.high is not None:
                held[family].append(point.low <= truth <= point.high)
                widths[family].append(point.high / point.low)
    rows = {
        "sure of": {family: 100 * np.mean(each) for family, each in sure.items()},
        "held of": {family: 100 * np.mean(each) for family, each in held.items()},
        "width of": {family: np.median(each) for family, each in widths.items()},
        "bias of": {family: 100 * np.expm1(np.mean(each)) for family, each in ratios.items()},
    }
    return {f"{name} {family}": round(float(row[family]), 2) for name, row in rows.items() for family in row}


@click.command(context_settings={"show_default": True})
@click.option("--sweeps", default=300, help="Simulated sweeps.")
@click.option("--trials", default=[20, 40], multiple=True, help="Trials of a sweep; may be given several times.")
@click.option("--scheduler", type=click.Choice(SCHEDULERS), default="asha")
@click.option("--gap", default=0.0, help="By which share the second family is worse.")
@click.option("--speeds", type=click.Choice(list(SPEEDS)), default="alike")
def main(sweeps: int, trials: tuple[int, ...], scheduler: str, gap: float, speeds: str) -> None:
    """Count how often a verdict is sure, and wrong."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    families, rows = MadeUpFamilies(gap, speeds), []
    for number in trials:
        judged = (frontier(sweep(families, number, scheduler, seed)) for seed in range(sweeps))
        rows.append({"trials": number} | count(families, judged))
    for name in rows[0]:
        click.echo(f"{name:<20}" + "".join(f"{row[name]:10g}" for row in rows))
    settings = {"sweeps": sweeps, "scheduler": scheduler, "gap": gap, "speeds": speeds}
    write_result("verdict_coverage", f"{scheduler}-{speeds}-gap{gap:g}", settings=settings, rows=rows)


if __name__ == "__main__":
    main()
