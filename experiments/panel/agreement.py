"""Do the measures of the panel rank models alike, and how often do they contest a winner?

FOLDER/FAMILY/SEED.json holds the output of `gensweep evaluate RUN --panel --format json`:

    python experiments/panel/agreement.py FOLDER
"""

from __future__ import annotations

import json
import sys
from itertools import combinations
from pathlib import Path
from statistics import fmean

from scipy.stats import spearmanr

from gensweep.results import Identity, Score
from gensweep.verdict.second_look import SecondLook, look_again

#: The measure that chooses winners, and so has no vote.
OBJECTIVE = "fd:efficientnet_lite0"
Scores = dict[str, Score]


def read(file: Path) -> Scores:
    """Scores by measure."""
    found = {}
    for row in json.loads(file.read_text()):
        metric, _, extractor = row["measure"].partition(":")
        identity = Identity(metric, extractor, row["samples"], "", "")
        mode = "min" if row["better"] == "lower" else "max"
        found[row["measure"]] = Score(row["value"], mode, identity, error=row["error"])
    return found


def judge(one: list[Scores], other: list[Scores]) -> SecondLook:
    """The second look at two configurations of one or several trainings, the better one by the objective first."""
    pair = sorted((one, other), key=lambda trainings: fmean(each[OBJECTIVE].order for each in trainings))
    return look_again(*pair, pair[0][0][OBJECTIVE].identity)


def main(folder: Path) -> None:
    """Print correlations, contested winners and false contests."""
    families: dict[str, list[Scores]] = {}
    for file in sorted(folder.glob("*/*.json")):
        families.setdefault(file.parent.name, []).append(read(file))
    trials = [each for trainings in families.values() for each in trainings]
    measures = [name for name in trials[0] if all(name in each for each in trials)]
    print(f"{len(trials)} trials of {len(families)} families. Spearman correlation of measures:")
    for name in measures:
        ranks = [spearmanr([t[name].order for t in trials], [t[other].order for t in trials]) for other in measures]
        print(f"  {name:30}", *(f"{each.statistic:5.2f}" for each in ranks))
    between = [(pair, judge(*(families[name] for name in pair))) for pair in combinations(families, 2)]
    for pair, look in between:
        print(f"  {' against '.join(pair)}: {look.outcome}; {', '.join(look.contesting)}")
    alike = [judge([one], [other]) for each in families.values() for one, other in combinations(each, 2)]
    for title, looks in (("pairs of families", [look for _, look in between]), ("pairs that differ by seed", alike)):
        shares = {kind: sum(look.outcome == kind for look in looks) for kind in ("confirmed", "contested", "unchecked")}
        print(f"{len(looks)} {title}:", ", ".join(f"{count} {kind}" for kind, count in shares.items()))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
