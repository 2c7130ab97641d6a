"""How often does `gensweep judge` keep noise, and how many trainings does it take to find a gain?

    python benchmarks/judge_rates.py POOL.json ...

A pool holds final scores of trainings of one configuration that differ only by their seed, as
`gensweep trials SWEEP --format json` prints them (`experiments/judge` has the sweeps).  A candidate has scores of the
pool, too, lower by the true gain.  The base and the candidate of one judgement never share a training.  Real pairs
share their seed, which can only make their scores more alike.  Two more pools are normally distributed numbers.

Counts, for each pool and each number of known seeds of the base:
- judgements of fresh trainings: each training is used once, by one judgement
- replayed judgements: trainings drawn from the pool anew for each one
- the same for one training each ("keep the lower score") and for five each (Student's test at 5 %)
- streams of 20 candidates without a gain, drawn with replacement: how many keep any of them
Writes benchmarks/results/judge_rates-DATE-PROCESSOR.json.
"""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import click
import numpy as np
from dated_results import write_result
from scipy import stats

from gensweep.extras.judge.judgements import Rules
from gensweep.extras.judge.sequential import look

RULES = Rules()
REPLAYS = 1000
GAINS = (0.0, 0.03, 0.05, 0.1)
KNOWN = (1, 3, 5)
#: Standard deviations of the normal pools, as shares of the mean.
SPREADS = (0.03, 0.05)
#: Candidates of a stream.
CANDIDATES = 20


def judged(base: np.ndarray, candidate: np.ndarray, known: int, error: float = RULES.error) -> tuple[str, int, int]:
    """The decision, its pairs, and the trainings that they took besides the known ones."""
    decision, pairs = "undecided", 0
    while decision == "undecided" and pairs < RULES.most_seeds:
        pairs += 1
        found = look(
            base,
            candidate[:pairs],
            most=RULES.most_seeds,
            error=error,
            least_gain=RULES.min_gain,
            known=known,
        )
        decision = found.decision
    candidates = max(2, pairs)  # the first two are trained at once
    return decision, pairs, candidates + candidates - min(candidates, known if known > 1 else 0)


def interval(count: int, of: int) -> list[float]:
    """The share, and its 95 % interval (Clopper & Pearson 1934)."""
    found = stats.binomtest(count, of).proportion_ci(0.95)
    return [round(float(each), 4) for each in (count / of, found.low, found.high)]


def replayed(scores: np.ndarray, gain: float, known: int) -> dict[str, Any]:
    """Rates over judgements whose trainings are drawn from the pool without replacement."""
    random, most = np.random.default_rng(0), RULES.most_seeds
    kept, wrong, pairs, trainings, once, five = 0, 0, 0, 0, 0, 0
    for _ in range(REPLAYS):
        drawn = random.permutation(scores)[: known + 2 * most]
        base, candidate = drawn[: known + most], (1 - gain) * drawn[known + most :]
        decision, taken, trained = judged(base, candidate, known)
        kept, wrong = kept + (decision == "keep"), wrong + (decision == "discard")
        pairs, trainings = pairs + taken, trainings + trained
        once += candidate[0] < base[0]
        p = stats.ttest_ind(base[:most], candidate, alternative="greater").pvalue
        five += p < RULES.error
    return {
        "gain": gain,
        "known": known,
        "kept": interval(kept, REPLAYS),
        "discarded": interval(wrong, REPLAYS),
        "mean_pairs": round(pairs / REPLAYS, 2),
        "mean_trainings": round(trainings / REPLAYS, 2),
        "kept_by_one_each": interval(once, REPLAYS),
        "kept_by_five_each": interval(five, REPLAYS),
    }


def fresh(scores: np.ndarray) -> dict[str, Any]:
    """Judgements of the configuration against itself, each with new trainings, until too few are left."""
    kept, count, position, most = 0, 0, 0, RULES.most_seeds
    while position + 2 * most <= len(scores):
        drawn = scores[position : position + 2 * most]
        decision, _, trained = judged(drawn[0::2], drawn[1::2], 1)
        kept, count, position = kept + (decision == "keep"), count + 1, position + trained
    return {"judgements": count, "trainings": position, "kept": interval(kept, count)}


def streams(scores: np.ndarray, known: int = 3, count: int = 400) -> dict[str, Any]:
    """Streams of the configuration against itself: a candidate that is kept becomes the base."""
    random, rules, false = np.random.default_rng(0), replace(RULES, stream=True), 0
    for _ in range(count):
        base, kept = random.choice(scores, known + RULES.most_seeds), 0
        for position in range(1, CANDIDATES + 1):
            candidate = random.choice(scores, known + RULES.most_seeds)
            if judged(base, candidate, known, rules.error_of(position, kept))[0] == "keep":
                base, kept = candidate, kept + 1
        false += kept > 0
    return {"streams": count, "candidates": CANDIDATES, "with_a_false_keep": interval(false, count)}


@click.command()
@click.argument("pools", nargs=-1, required=True, type=click.Path(exists=True, dir_okay=False, path_type=Path))
def main(pools: tuple[Path, ...]) -> None:
    """Count for each pool, print and write a file."""
    normal = np.random.default_rng(1)
    known = {f"normal with {100 * spread:.0f} %": 1 + spread * normal.standard_normal(1000) for spread in SPREADS}
    for pool in pools:
        trials = json.loads(pool.read_text())
        known[pool.stem] = np.array([each["objective"] for each in trials if each["status"] == "finished"])
    result = {}
    for name, scores in known.items():
        rows = [replayed(scores, gain, seeds) for gain in GAINS for seeds in KNOWN]
        spread = float(scores.std(ddof=1) / scores.mean())
        found = {"fresh": fresh(scores), "streams": streams(scores), "rows": rows}
        result[name] = {"trainings": len(scores), "spread": round(spread, 4)} | found
        click.echo(f"{name}: {len(scores)} trainings, standard deviation {100 * spread:.1f} % of the mean")
        click.echo(f"  fresh: {found['fresh']}\n  streams: {found['streams']}")
        for row in rows:
            click.echo(f"  {row}")
    write_result(Path(__file__).stem, rules=asdict(RULES), pools=result)


if __name__ == "__main__":
    main()
