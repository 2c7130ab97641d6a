"""Do the bands of `best --compare` hold the truth in 95 of 100 cases?  Counted on populations whose truth is known.

    .venv/bin/python benchmarks/frontier_coverage.py
    .venv/bin/python benchmarks/frontier_coverage.py --repeats 2000

For each population of configurations: the expected best of k trainings at a budget, from the scores of n configurations
with standard errors of 0, 5 and 10 % of the score, and where a quarter of them fails.
Then the budget at which two families change places, and how often families that are alike seem to have a winner or a
flip.

Prints how often the interval held the truth, in per cent; on which side it missed, and the bias of the estimate, go
into benchmarks/results/frontier_coverage-DATE-PROCESSOR.json.  A last table shows why fewer than 8 configurations
get no band.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

import click
import numpy as np
from dated_results import write_result
from truths.band_coverage import POPULATIONS, training_coverage

from gensweep.verdict.expected_best import MIN_CONFIGURATIONS, tries_for
from gensweep.verdict.frontier import frontier
from gensweep.verdict.training_curves import CurvePoint, TrainingCurve

SIZES = (MIN_CONFIGURATIONS, 10, 20, 40)
FEW = (4, 6)
ERRORS = (0.0, 0.05, 0.1)
#: The share of trainings that fail, in a table of its own.
FAILING = 0.25
FAILED = "training, a quarter fails"
#: A repeat of the two families takes some ten times as long as one of a single number of tries.
FLIP_REPEATS = 300
#: Budgets at which the two families are scored, often, so that it is not the steps between that decide; from the middle
#: on, 8, the second one is better.
BUDGETS = np.geomspace(1, 64, 49)
FLIP = float(BUDGETS[24])
#: Where their laws cross: between two scores.
CROSSING = float(np.sqrt(BUDGETS[23] * BUDGETS[24]))
#: Curves are compared at budgets that are so far apart.
GRID = 1.07


def tries(n: int) -> list[int]:
    """The numbers of tries that are looked at."""
    return sorted({1, 2, tries_for(n)})


def tables(repeats: int) -> Iterator[dict[str, Any]]:
    """Rows of all populations, sizes, tries and errors."""
    rng = np.random.default_rng(0)
    for name, draw in POPULATIONS.items():
        for n in (*FEW, *SIZES):
            for k in tries(n):
                for error in ERRORS:
                    found = training_coverage(draw, n, k, repeats, rng, error=error)
                    yield {"what": f"training, error {error:g}", "population": name, "n": n, "k": k} | asdict(found)
                if n >= MIN_CONFIGURATIONS:
                    found = training_coverage(draw, n, k, repeats, rng, failing=FAILING)
                    yield {"what": FAILED, "population": name, "n": n, "k": k} | asdict(found)


def family(rng: np.random.Generator, group: str, n: int, power: float) -> list[TrainingCurve]:
    """Trainings that follow a power law through 40 at the crossing, each times a factor of its own."""
    curves = []
    for index, factor in enumerate(rng.lognormal(0, 0.2, n)):
        scores = 40 * factor * (BUDGETS / CROSSING) ** -power
        points = tuple(CurvePoint(*map(float, each)) for each in zip(BUDGETS, scores, 0.02 * scores, strict=True))
        curves.append(TrainingCurve(group, f"{group}{index}", f"{group}{index}", points))
    return curves


def flips(n: int, powers: tuple[float, float], repeats: int) -> dict[str, Any]:
    """How often a flip is reported, how often its interval holds the crossing, and how often a winner seems sure."""
    rng, reported, held, sure = np.random.default_rng(0), 0, 0, 0
    for _ in range(repeats):
        found = frontier(family(rng, "a", n, powers[0]) + family(rng, "b", n, powers[1]))
        for flip in found.flips:
            if flip.low is not None and flip.high is not None:
                reported += 1
                held += flip.low <= FLIP * GRID and flip.high * GRID >= FLIP
        sure += max(found.probabilities(float(BUDGETS[-1])).values()) >= 0.95
    share = 100 * held / reported if reported else None
    return {"n": n, "powers": powers, "reported": 100 * reported / repeats, "held": share, "sure": 100 * sure / repeats}


def print_table(rows: list[dict[str, Any]], what: str, sizes: tuple[int, ...]) -> None:
    """How often bands held the truth, a line a population."""
    columns = [(n, k) for n in sizes for k in tries(n)]
    click.echo(f"\n{what}\n{'':<28}" + "".join(f"{f'{n}, {k}':>8}" for n, k in columns))
    for name in POPULATIONS:
        found = {
            (row["n"], row["k"]): row["covered"] for row in rows if (row["what"], row["population"]) == (what, name)
        }
        click.echo(f"{name:<28}" + "".join(f"{found[column]:8.1f}" for column in columns))


@click.command()
@click.option("--repeats", type=click.IntRange(50), default=500, show_default=True)
def main(repeats: int) -> None:
    """Count how often the bands hold the truth."""
    rows = list(tables(repeats))
    kinds = [f"training, error {error:g}" for error in ERRORS]
    click.echo(f"Held the truth, in % of {repeats} repeats; columns: configurations, tries")
    for what in (*kinds, FAILED):
        print_table(rows, what, SIZES)
    click.echo("\nToo few for a band:")
    print_table(rows, kinds[0], FEW)
    crossings = [
        flips(n, powers, min(repeats, FLIP_REPEATS)) for n in SIZES for powers in ((0.1, 0.6), (0.25, 0.45), (0.3, 0.3))
    ]
    click.echo(f"\n{'n':>4}{'powers':>12}{'flips %':>10}{'held %':>10}{'sure winner %':>15}")
    for row in crossings:
        held = "-" if row["held"] is None else f"{row['held']:.1f}"
        click.echo(f"{row['n']:>4}{row['powers']!s:>12}{row['reported']:>10.1f}{held:>10}{row['sure']:>15.1f}")
    write_result("frontier_coverage", repeats=repeats, rows=rows, flips=crossings)


if __name__ == "__main__":
    main()
