"""Does the 80 % interval of `gensweep plan` hold what comes, and does its backtest refuse what follows no law?

    .venv/bin/python benchmarks/scaling_coverage.py
    .venv/bin/python benchmarks/scaling_coverage.py --repeats 20 --case "as in a sweep"

Sweeps are made up from known laws, with effects of trainings, noise and early stopping.  Each is planned for four times
its compute; what comes is the score of one more training of the recommended settings, width and images, drawn from the
law.  Prints for each case: how often the interval held it, its median width (high / low - 1), the error of the
expectation, how much worse the recommended width is than the best of all (without noise), the mean coverage that the
backtests reported, how often plans were trusted, and how often a trusted plan moved the best trial to a much worse
width.

Then three ways to predict the best score of the last factor of four of compute are compared on the same sweeps, by the
root mean square of the logarithm of predicted over found: a law with effects of trainings (the one in use), the same
law without them, and a power law through the best scores so far of all trainings together.

Writes benchmarks/results/scaling_coverage-DATE.json after each case; a run that was stopped goes on with the next one.
"""

from __future__ import annotations

import datetime
import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from unittest import mock

import click
import numpy as np
from dated_results import RESULTS, dated
from truths.trainings import KnownLaw, MadeUpSweep, flops_of

from gensweep.extras.plan import scaling_law
from gensweep.extras.plan.backtest import HIDDEN_FACTOR
from gensweep.extras.plan.forecast import FittedFamily
from gensweep.extras.plan.scaling_law import PRIOR, TRIAL_DEVIATION, LawPrior
from gensweep.extras.plan.scored_trainings import ScoredTraining, observe
from gensweep.extras.plan.spending import plan_spending

#: How many times more compute than the sweeps had is planned for.
REACH = 4.0
#: The best trial was moved to a wrong width if it scores worse there than at its own width by more than this factor.
MUCH_WORSE = 1.1

CASES = {
    "as in a sweep": MadeUpSweep(),
    "24 trials": MadeUpSweep(trainings=24),
    "nothing stopped early": MadeUpSweep(rungs=()),
    "one width": MadeUpSweep(widths=(32,)),
    "six trials": MadeUpSweep(trainings=6, rungs=()),
    "no floor in sight": MadeUpSweep(KnownLaw(floor=2, size=4, images_exponent=0.3)),
    "mostly floor": MadeUpSweep(KnownLaw(floor=60)),
    "near real images": MadeUpSweep(KnownLaw(real=60, floor=2)),
    "unlike speeds": MadeUpSweep(KnownLaw(speeds=0.2)),
    "saturates at a third": MadeUpSweep(KnownLaw(floor=2, size=1, images_exponent=0.7, saturates=5e12)),
    "saturates, of all trials": MadeUpSweep(KnownLaw(floor=2, size=1, images_exponent=0.7, saturates=5e12), rungs=()),
    "14 trials, none stopped": MadeUpSweep(trainings=14, rungs=()),
    "no trend, scatter 35 %": MadeUpSweep(KnownLaw(100, 0, images=0, trainings=0, noise=0.35), 14, rungs=()),
    "the same, 6 scores": MadeUpSweep(KnownLaw(100, 0, images=0, trainings=0, noise=0.35), 14, evaluations=6, rungs=()),
    "levelled off, scatter 15 %": MadeUpSweep(KnownLaw(saturates=1.6e12, noise=0.15), 14, rungs=()),
    "levelled off, scatter 8 %": MadeUpSweep(KnownLaw(saturates=1.6e12, noise=0.08), 14, rungs=()),
    "scores get worse again": MadeUpSweep(KnownLaw(worsens=1.6e12), 14, (16, 24, 32, 64), evaluations=12, rungs=()),
}


@dataclass(frozen=True)
class Row:
    """What came of one case; parts of 1, and logarithms as relative errors."""

    case: str
    repeats: int
    covered: float
    width: float
    error: float
    bias: float
    width_regret: float
    backtest_coverage: float
    backtest_regret: float
    trusted: float
    moved_worse: float
    """How often a trusted plan took the best trial to a width where it scores worse by more than 10 %."""
    with_effects: float
    without_effects: float
    through_best: float


def measure(case: str, sweep: MadeUpSweep, repeats: int) -> Row:
    """SweepPlan as many made-up sweeps."""
    rng, budget = np.random.default_rng(0), REACH * sweep.flops
    held, spans, errors, regrets, tests, methods = [], [], [], [], [], []
    moved = []
    for _ in range(repeats):
        trainings, effects = sweep.draw(rng)
        plan = plan_spending({"a": trainings}, budget)
        best, law = plan.best, sweep.law
        effect, speed = effects[[each.curve.trial for each in trainings].index(best.members[0].curve.trial)]
        true = float(law.scores(best.width, np.array([best.images]), effect, speed)[0])
        came = _outcome(sweep, best.width, best.images, effect, speed, rng)
        held.append(best.forecast.low <= came <= best.forecast.high)
        spans.append(best.forecast.high / best.forecast.low - 1)
        errors.append(math.log(best.forecast.value / came))
        widths = np.arange(min(sweep.widths), 2 * max(sweep.widths) + 1) if len(sweep.widths) > 1 else sweep.widths
        regrets.append(
            true / min(float(law.scores(w, np.array([budget / flops_of(w)]), effect, speed)[0]) for w in widths) - 1
        )
        stayed = law.scores(best.members[0].width, np.array([budget / flops_of(best.members[0].width)]), effect, speed)
        moved.append(plan.trusted and true > MUCH_WORSE * float(stayed[0]))
        tests.append((plan.backtest.coverage, plan.backtest.regret, plan.trusted))
        methods.append(_methods(trainings, sweep.flops / HIDDEN_FACTOR))
    coverage, regret, trusted = np.array(tests, dtype=float).T
    return Row(
        case,
        repeats,
        float(np.mean(held)),
        float(np.median(spans)),
        float(np.sqrt(np.mean(np.square(errors)))),
        float(np.mean(errors)),
        float(np.mean(regrets)),
        float(np.nanmean(coverage)),
        float(np.nanmean(regret)),
        float(np.mean(trusted)),
        float(np.mean(moved)),
        *(float(each) for each in np.sqrt(np.mean(np.square(methods), axis=0))),
    )


def _outcome(
    sweep: MadeUpSweep, width: int, images: float, effect: float, speed: float, rng: np.random.Generator
) -> float:
    """The best score of one more training, evaluated as often as those of the sweep."""
    scores = sweep.law.scores(width, images * np.arange(1, sweep.evaluations + 1) / sweep.evaluations, effect, speed)
    return float(np.min(scores * np.exp(sweep.law.noise * rng.normal(size=len(scores)))))


def _methods(trainings: Sequence[ScoredTraining], limit: float) -> tuple[float, float, float]:
    """Logarithms of predicted over found for the best score of the hidden compute, by three ways to predict."""
    end = max(each.curve.spent for each in trainings)
    found = math.log(min(each.envelope[-1].order for each in trainings))
    early = [part for each in trainings if (part := each.within(limit)).curve.points]
    without = PRIOR.mean.copy(), PRIOR.deviation.copy()
    without[0][TRIAL_DEVIATION], without[1][TRIAL_DEVIATION] = -6.5, 1e-3
    predicted = [_best_of(early, trainings, end)]
    with mock.patch.object(scaling_law, "PRIOR", LawPrior(*without)):
        predicted.append(_best_of(early, trainings, end))
    return predicted[0] - found, predicted[1] - found, _through_best(early, end) - found


def _best_of(early: Sequence[ScoredTraining], trainings: Sequence[ScoredTraining], end: float) -> float:
    """The best expectation of those trainings that went on to the end."""
    observations = observe(early)
    best = scaling_law.fit_law(observations)
    fitted, names = FittedFamily(observations, best, best[None]), [each.curve.trial for each in early]
    return min(
        float(
            np.median(fitted.draws([names.index(each.curve.trial)], each.flops_per_image, np.array([each.images(end)])))
        )
        for each in trainings
        if each.curve.spent == end
    )


def _through_best(early: Sequence[ScoredTraining], end: float) -> float:
    """A saturating power law of compute alone through the best score so far of all trainings."""
    spent = sorted({point.spent for each in early for point in each.curve.points})
    best = [min(point.order for each in early if (point := each.curve.best_within(x))) for x in spent]
    scale = float(np.max(spent))
    rows = np.log(np.array(best)), np.log(np.array(spent) / scale)
    from scipy.optimize import least_squares

    def residuals(p: np.ndarray, x: np.ndarray) -> np.ndarray:
        return np.log(np.exp(p[0]) + np.exp(p[1] - np.exp(p[2]) * x))

    start = np.array([rows[0].min() - 1, rows[0].min(), -0.7])
    bounds = [(-8.0, -8.0, -4.0), (8.0, 8.0, 2.0)]
    fit = least_squares(lambda p: residuals(p, rows[1]) - rows[0], start, loss="soft_l1", f_scale=1e-2, bounds=bounds)
    return float(residuals(fit.x, np.array([math.log(end / scale)]))[0])


@click.command()
@click.option("--repeats", type=click.IntRange(2), default=200, show_default=True)
@click.option("--case", "cases", type=click.Choice(list(CASES)), multiple=True, help="By default all.")
@click.option(
    "--output", type=click.Path(path_type=Path), help="Where the results go.  [default: RESULTS/...-DATE.json]"
)
def main(repeats: int, cases: tuple[str, ...], output: Path | None) -> None:
    """SweepPlan made-up sweeps, and count how often the interval held what came."""
    heads = (
        "held",
        "width",
        "error",
        "bias",
        "w.regret",
        "bt cover",
        "bt regr",
        "trusted",
        "moved",
        "effects",
        "none",
        "best",
    )
    heads += ("widest", "trusted")
    click.echo(f"{'case':<26}" + "".join(f"{head:>10}" for head in heads))
    path = output or RESULTS / f"scaling_coverage-{datetime.date.today().isoformat()}.json"
    earlier = json.loads(path.read_text())["rows"] if path.exists() else []
    done = {row["case"]: row for row in earlier if row["repeats"] == repeats}
    for case in cases or CASES:
        done[case] = done.get(case) or asdict(measure(case, CASES[case], repeats))
        values = ("-" if value is None else f"{value:.3f}" for value in list(done[case].values())[2:])
        click.echo(f"{case:<26}" + "".join(f"{value:>10}" for value in values))
        rows = [done[each] for each in CASES if each in done]
        path.write_text(json.dumps(dated("scaling_coverage", rows=rows), indent=1) + "\n")
    click.echo(f"Written: {path}")


if __name__ == "__main__":
    main()
