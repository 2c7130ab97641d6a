"""How often does `gensweep judge` keep noise, and how many trainings does it take to find a gain?

    python benchmarks/judge_rates.py POOL.json ... --pairs BASE.json CANDIDATE.json ...

A pool holds final scores of trainings of one configuration that differ only by their seed, as
`gensweep trials SWEEP --format json` prints them (`experiments/judge` has the sweeps).  A candidate has scores of the
pool, too, lower by the true gain.  The base and the candidate of one judgement never share a training or a seed.
`--pairs` takes two configurations that were trained with the same seeds.  The candidate's scores are multiplied by a
number that makes the true gain exact.  Another pool is normally distributed numbers.

Counts for each pool:
- judgements of fresh trainings: each training is used once, by one judgement
- replayed judgements: trainings drawn from the pool anew for each one
- the same for one training each ("keep the lower score") and for five each (Student's test at 5 %, for pairs the
  paired one)
- streams of 20 candidates without a gain, drawn with replacement: how many keep any of them
Counts for normally distributed numbers which candidates a stream keeps, by their position.
Writes benchmarks/results/judge_rates-DATE-PROCESSOR.json.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any

import click
import numpy as np
from dated_results import write_result
from scipy import stats

from gensweep.extras.judge.judgements import Rules
from gensweep.extras.judge.judging import STREAM_SEEDS
from gensweep.extras.judge.sequential import Look, judge_pairs

RULES = Rules()
REPLAYS = 1000
GAINS = (0.0, 0.03, 0.05, 0.1)
#: Standard deviations of normal pools, as shares of the mean.
SPREADS = (0.05,)
#: Candidates of a stream.
CANDIDATES = 20


@dataclass(frozen=True)
class Pool:
    """Scores by seed, and the scores of a candidate without a gain for the same seeds, if it was trained."""

    scores: np.ndarray
    candidates: np.ndarray | None = None

    def draw(self, random: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """Scores of the base and of the candidate of one judgement."""
        seeds, most = random.permutation(len(self.scores)), RULES.most_seeds
        if self.candidates is None:
            return self.scores[seeds[:most]], self.scores[seeds[most : 2 * most]]
        return self.scores[seeds[:most]], self.candidates[seeds[:most]]


def judged(base: np.ndarray, candidate: np.ndarray, error_rate: float = RULES.error_rate) -> tuple[str, int]:
    """The decision, and its pairs; the first two are trained at once."""
    looks = judge_pairs(base, candidate, most=RULES.most_seeds, error_rate=error_rate, min_gain=RULES.min_gain)
    return looks[-1].decision, max(2, len(looks))


def interval(count: int, of: int) -> list[float]:
    """The share, and its 95 % interval (Clopper & Pearson 1934)."""
    found = stats.binomtest(count, of).proportion_ci(0.95)
    return [round(float(each), 4) for each in (count / of, found.low, found.high)]


def replayed(pool: Pool, gain: float) -> dict[str, Any]:
    """Rates over judgements whose trainings are drawn from the pool without replacement."""
    random = np.random.default_rng(0)
    kept, wrong, pairs, once, five = 0, 0, 0, 0, 0
    for _ in range(REPLAYS):
        base, candidate = pool.draw(random)
        candidate = (1 - gain) * candidate
        decision, taken = judged(base, candidate)
        kept, wrong = kept + (decision == "keep"), wrong + (decision == "discard")
        pairs += taken
        once += candidate[0] < base[0]
        test = stats.ttest_ind if pool.candidates is None else stats.ttest_rel
        five += test(base, candidate, alternative="greater").pvalue < RULES.error_rate
    return {
        "gain": gain,
        "kept": interval(kept, REPLAYS),
        "discarded": interval(wrong, REPLAYS),
        "mean_pairs": round(pairs / REPLAYS, 2),
        "mean_trainings": round(2 * pairs / REPLAYS, 2),
        "kept_by_one_each": interval(once, REPLAYS),
        "kept_by_five_each": interval(five, REPLAYS),
    }


def fresh(scores: np.ndarray) -> dict[str, Any]:
    """Judgements of the configuration against itself, each with new trainings, until too few are left."""
    kept, count, position, most = 0, 0, 0, RULES.most_seeds
    while position + 2 * most <= len(scores):
        drawn = scores[position : position + 2 * most]
        decision, pairs = judged(drawn[0::2], drawn[1::2])
        kept, count, position = kept + (decision == "keep"), count + 1, position + 2 * pairs
    return {"judgements": count, "trainings": position, "kept": interval(kept, count)}


def streams(scores: np.ndarray, count: int = 400) -> dict[str, Any]:
    """Streams of the configuration against itself: a candidate that is kept becomes the base."""
    random, rules, false = np.random.default_rng(0), replace(RULES, stream=True), 0
    for _ in range(count):
        base, kept = random.choice(scores, RULES.most_seeds), 0
        for position in range(1, CANDIDATES + 1):
            candidate = random.choice(scores, RULES.most_seeds)
            if judged(base, candidate, rules.error_rate_of(position, kept))[0] == "keep":
                base, kept = candidate, kept + 1
        false += kept > 0
    return {"streams": count, "candidates": CANDIDATES, "with_a_false_keep": interval(false, count)}


def positions(spread: float = 0.07, count: int = 250) -> list[dict[str, Any]]:
    """Candidates at several positions of a stream that kept one before; normal scores, and other seeds for both."""
    rows = []
    for most, position, gain in product((RULES.most_seeds, STREAM_SEEDS), (1, 3, 7), (0.0, 0.1, 0.2)):
        random, found = np.random.default_rng(1), list[list[Look]]()
        rate = replace(RULES, stream=True).error_rate_of(position, int(position > 1))
        for _ in range(count):
            base, candidate = 1 + spread * random.standard_normal((2, most))
            rules = {"most": most, "error_rate": rate, "min_gain": RULES.min_gain}
            found.append(judge_pairs(base, (1 - gain) * candidate, **rules))
        kept = sum(looks[-1].decision == "keep" for looks in found)
        row = {"most_pairs": most, "position": position, "error_rate": round(rate, 4), "gain": gain}
        rows.append(row | {"kept": interval(kept, count), "mean_pairs": float(np.mean([len(each) for each in found]))})
        click.echo(rows[-1])
    return rows


def by_seed(file: Path) -> dict[str, float]:
    """The final scores of a pool's trainings."""
    trials = json.loads(file.read_text())
    return {each["trial"]: each["objective"] for each in trials if each["status"] == "finished"}


def pairs_of(base: Path, candidate: Path) -> Pool:
    """The trainings of two configurations with the same seeds, without a gain."""
    first, second = by_seed(base), by_seed(candidate)
    seeds = [each for each in first if each in second]
    scores, others = (np.array([found[each] for each in seeds]) for found in (first, second))
    return Pool(scores, others * scores.mean() / others.mean())


FILE = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.command()
@click.argument("pools", nargs=-1, type=FILE)
@click.option("--pairs", nargs=2, type=FILE, multiple=True, help="Two configurations with the same seeds.")
def main(pools: tuple[Path, ...], pairs: tuple[tuple[Path, Path], ...]) -> None:
    """Count for each pool, print and write a file."""
    normal = np.random.default_rng(1)
    known = {f"normal with {100 * each:.0f} %": Pool(1 + each * normal.standard_normal(1000)) for each in SPREADS}
    known |= {pool.stem: Pool(np.array([*by_seed(pool).values()])) for pool in pools}
    known |= {f"{base.stem} and {candidate.stem}": pairs_of(base, candidate) for base, candidate in pairs}
    result = {}
    for name, pool in known.items():
        scores = pool.scores
        found = {"trainings": len(scores), "spread": round(float(scores.std(ddof=1) / scores.mean()), 4)}
        if pool.candidates is None:
            found |= {"fresh": fresh(scores), "streams": streams(scores)}
        else:
            found["correlation"] = round(float(np.corrcoef(scores, pool.candidates)[0, 1]), 3)
        click.echo(f"{name}: {found}")
        result[name] = found | {"rows": [replayed(pool, gain) for gain in GAINS]}
        for row in result[name]["rows"]:
            click.echo(f"  {row}")
    write_result(Path(__file__).stem, rules=asdict(RULES), pools=result, positions=positions())


if __name__ == "__main__":
    main()
