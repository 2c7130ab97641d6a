"""Do the measures of the panel rank models alike, and how often do they contest a winner?

    python experiments/panel/agreement.py digits.csv horses.csv
    python experiments/panel/agreement.py --collect SWEEP FOLDER > digits.csv

FOLDER/TRIAL.json holds the output of `gensweep evaluate SWEEP/TRIAL --panel --format json` for each trial.
"""

from __future__ import annotations

import json
import sys
import warnings
from itertools import combinations
from pathlib import Path
from statistics import fmean

import pandas as pd
from scipy.stats import ConstantInputWarning, spearmanr

import gensweep as gs
from gensweep.results import Identity, Score
from gensweep.verdict.second_look import SecondLook, look_again

#: The measure that chooses winners, and so has no vote.
OBJECTIVE = "fd:efficientnet_lite0"
Scores = dict[str, Score]


def collect(sweep: str, folder: Path) -> pd.DataFrame:
    """One row for each trial and measure."""
    table, rows = gs.trials(sweep), []
    for _, trial in table.iterrows():
        model = trial["params.network.kind"] if trial["family"] == "gan" else trial["family"]
        for row in json.loads((folder / f"{trial['trial']}.json").read_text()):
            kept = {key: row[key] for key in ("measure", "better", "samples", "value", "error")}
            rows.append({"model": model, "seed": trial.get("params.seed", trial["trial"]), **kept})
    return pd.DataFrame(rows).sort_values(["model", "seed"], kind="stable")


def scores_of(rows: pd.DataFrame) -> Scores:
    """Scores of one trial by measure."""
    found = {}
    for row in rows.itertuples():
        metric, _, extractor = row.measure.partition(":")
        identity, mode = Identity(metric, extractor, row.samples, "", ""), "min" if row.better == "lower" else "max"
        found[row.measure] = Score(row.value, mode, identity, error=row.error)
    return found


def judge(one: list[Scores], other: list[Scores]) -> SecondLook:
    """The second look at two configurations of one or several trainings, the better one by the objective first."""
    pair = sorted((one, other), key=lambda trainings: fmean(each[OBJECTIVE].order for each in trainings))
    return look_again(*pair, pair[0][0][OBJECTIVE].identity)


def main(file: Path) -> None:
    """Print correlations, contested winners and false contests."""
    models: dict[str, list[Scores]] = {}
    for (model, _), rows in pd.read_csv(file).groupby(["model", "seed"]):
        models.setdefault(model, []).append(scores_of(rows))
    trials = [each for trainings in models.values() for each in trainings]
    print(f"{file.stem}: {len(trials)} trials of {len(models)} models. Spearman correlation of measures:")
    for name in trials[0]:
        ranks = [spearmanr([t[name].order for t in trials], [t[other].order for t in trials]) for other in trials[0]]
        print(f"  {name:30}", *(f"{each.statistic:5.2f}" for each in ranks))
    between = [(pair, judge(*(models[name] for name in pair))) for pair in combinations(models, 2)]
    for pair, look in between:
        print(
            f"  {' and '.join(pair)}: {look.outcome}",
            *(f"by {', '.join(look.contesting)}" for _ in look.contesting[:1]),
        )
    alike = [judge([one], [other]) for each in models.values() for one, other in combinations(each, 2)]
    for title, looks in (("pairs of models", [look for _, look in between]), ("pairs that differ by seed", alike)):
        shares = {kind: sum(look.outcome == kind for look in looks) for kind in ("confirmed", "contested", "unchecked")}
        print(f"{len(looks)} {title}:", ", ".join(f"{count} {kind}" for kind, count in shares.items()))


if __name__ == "__main__":
    warnings.simplefilter("ignore", ConstantInputWarning)
    if sys.argv[1] == "--collect":
        print(collect(sys.argv[2], Path(sys.argv[3])).to_csv(index=False), end="")
    else:
        for name in sys.argv[1:]:
            main(Path(name))
