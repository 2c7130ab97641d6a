"""Do the shares of "What mattered" hold the truth in 95 of 100 cases?  Counted on trials whose truth is known.

    .venv/bin/python benchmarks/importance_coverage.py
    .venv/bin/python benchmarks/importance_coverage.py --repeats 2000

Prints for each truth and number of trials the mean of the estimates and how often the 95 % interval held the truth.
Beside them, for trials of one family, what Optuna's fANOVA and PED-ANOVA say of three settings: fANOVA divides what a
forest of trees has fitted among the settings, so that they add up to 1 also where none of them does anything.  Writes
benchmarks/results/importance_coverage-DATE-PROCESSOR.json.
"""

from __future__ import annotations

import warnings
from dataclasses import asdict
from typing import Any

import click
import numpy as np
import optuna
from dated_results import write_result
from truths.variance_shares import CLIFFS, TRUTHS, share_coverage

SIZES = (12, 20, 40, 80)
#: A forest takes a second.
OPTUNA_REPEATS = 20


def optunas_shares(trials: int, rate: float) -> dict[str, dict[str, float]]:
    """Mean shares by evaluator and setting, where the first of three settings explains `rate` of the variance."""
    evaluators = {
        "fANOVA": optuna.importance.FanovaImportanceEvaluator(seed=0),
        "PED-ANOVA": optuna.importance.PedAnovaImportanceEvaluator(),
    }
    rng, found = np.random.default_rng(0), {name: np.zeros(3) for name in evaluators}
    names = ["rate", "other", "third"]
    distributions = {name: optuna.distributions.FloatDistribution(0, 1) for name in names}
    for _ in range(OPTUNA_REPEATS):
        study = optuna.create_study()
        for values in rng.random((trials, 3)):
            score = np.sqrt(12 * rate) * (values[0] - 0.5) + np.sqrt(1 - rate) * rng.standard_normal()
            params = dict(zip(names, map(float, values), strict=True))
            study.add_trial(optuna.create_trial(params=params, distributions=distributions, value=float(score)))
        for name, evaluator in evaluators.items():
            shares = optuna.importance.get_param_importances(study, evaluator=evaluator)
            found[name] += [shares[each] / OPTUNA_REPEATS for each in names]
    return {name: dict(zip(names, map(float, shares), strict=True)) for name, shares in found.items()}


@click.command()
@click.option("--repeats", type=click.IntRange(50), default=500, show_default=True)
def main(repeats: int) -> None:
    """Count how often the shares hold the truth."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
    rows: list[dict[str, Any]] = []
    for truth in (*TRUTHS, *CLIFFS):
        click.echo(f"\n{truth}\n{'trials':>8}" + "".join(f"{name:>14}" for name in truth.shares))
        click.echo(f"{'truth':>8}" + "".join(f"{share:14.3f}" for share in truth.shares.values()))
        for trials in SIZES:
            found = share_coverage(truth, trials, repeats)
            rows += [asdict(truth) | {"trials": trials} | asdict(each) for each in found]
            click.echo(f"{trials:>8}" + "".join(f"{each.mean:8.3f}{each.covered:5.1f}%" for each in found))
    click.echo(
        f"\nOptuna, means of {OPTUNA_REPEATS}: share of the first of three settings, and of the two that do nothing"
    )
    others = [
        {"trials": trials, "rate": rate, "optuna": optunas_shares(trials, rate)}
        for rate in (0.0, 0.6)
        for trials in SIZES
    ]
    for row in others:
        words = [
            f"{name} {', '.join(f'{share:.2f}' for share in found.values())}" for name, found in row["optuna"].items()
        ]
        click.echo(f"truth {row['rate']:.1f}, 0, 0; {row['trials']:>3} trials: {'; '.join(words)}")
    write_result("importance_coverage", repeats=repeats, rows=rows, optuna=others)


if __name__ == "__main__":
    main()
