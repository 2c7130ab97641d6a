"""Trials and sweeps as they are read from a store, made by hand."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from made_up import IDENTITY

from gensweep.report.ranked_trials import RankedTrial
from gensweep.results import Cost, Score
from gensweep.tracking.records import SweepRecord, TrialRecord

BEGIN = datetime(2026, 1, 1, tzinfo=UTC)


def cost(train_seconds):
    return Cost(images=1000, train_seconds=train_seconds, sample_seconds=1.0, params=5)


def trial(sweep, number, value, *, status="finished", identity=IDENTITY, family="gan", mode="min", **values):
    """A trial of a sweep; without a value it has no score."""
    score = None if value is None else Score(value, mode, identity)
    name = f"t{number:04d}"
    defaults = {"objective": score, "cost": cost(10.0)}
    return TrialRecord(sweep, name, f"{sweep}-{name}", family, status, BEGIN, **defaults | values)


def sweep(name, trials, *, age=0, run_id=None, **values):
    """A sweep that was started `age` days before the newest."""
    started = BEGIN - timedelta(days=age)
    dated = tuple(replace(item, started=started) for item in trials)
    command = f"gensweep tune {name}.yaml"
    run_id = run_id or f"run-{name}"
    return SweepRecord(name, run_id, "finished", started, "fd", command, trials=dated, **values)


def ranked(trials):
    """Trials of several sweeps as they are ranked, by sweep."""
    ordered = sorted(trials, key=lambda each: each.objective.order)
    ranks = {each.run_id: rank for rank, each in enumerate(ordered, 1)}
    groups = {}
    for each in trials:
        groups.setdefault(each.sweep, []).append(RankedTrial(ranks[each.run_id], each, each.objective, ()))
    return groups


def judged(sweeps):
    """A comparison and the verdict on it."""
    from gensweep.report.budget_verdict import judge
    from gensweep.report.comparison import compare

    comparison = compare(sweeps)
    return comparison, judge(comparison)
