"""Trials and sweeps as they are read from logs, made by hand."""

import copy
import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from made_up import IDENTITY

from gensweep.config.objectives import Constraint
from gensweep.results import Cost, Evaluation, Outcome, SamplingConfig, Score
from gensweep.sweep.events import Created, Evaluated, Paced, ScoredAgain, SessionStarted
from gensweep.sweep.folder import SweepFolder
from gensweep.sweep.state import SweepState
from gensweep.sweep.stored_sweeps import StoredSweep
from gensweep.sweep.trial_state import TrialState
from gensweep.verdict.comparison import RankedTrial

BEGIN = datetime(2026, 1, 1, tzinfo=UTC)


def cost(train_seconds):
    return Cost(images=1000, train_seconds=train_seconds, sample_seconds=1.0, params=5)


def trial(sweep, number, value, *, status="finished", identity=IDENTITY, family="gan", mode="min", **values):
    """A trial of a sweep; without a value it has no score."""
    made = TrialState(f"t{number:04d}", number, identity.metric, {}, {}, {}, folder=SweepFolder(Path("sweeps"), sweep))
    score = None if value is None else Score(value, mode, identity)
    defaults = {"objective": score, "cost": cost(10.0), "status": status, "config": {}, "family": family}
    return changed(made, **defaults | values)


def changed(made, /, **values):
    """A copy of a trial with other values: attributes of its state, or what follows from its evaluations."""
    rebuilt = bool(values.keys() & {"objective", "cost", "signals", "checkpoint"})
    made = copy.copy(made)
    for words in values.pop("broken_limits", ()):
        metric, value, limit = re.fullmatch(r"(\w+) (\S+) is more than (\S+)", words).groups()
        made.constraints = (*made.constraints, Constraint(metric=metric, max=float(limit)))
        values["cost"] = replace(values["cost"], **{metric: int(value)})
    best = made.best or Evaluated(made.trial, Evaluation(0, {}, made.cost), None)
    score, took = values.pop("objective", made.score), values.pop("cost", best.evaluation.cost)
    signals = values.pop("signals", best.evaluation.signals)
    name = values.pop("checkpoint", best.checkpoint)
    images = took.images or 0
    if rebuilt:
        made.images, made.numbers = images, {key: each for key, each in took.as_dict().items() if key != "images"}
    if score is not None and rebuilt:
        found = Evaluation(images, {score.metric: score}, took, signals)
        made.metric, made.best = score.metric, Evaluated(best.trial, found, name)
        made.evaluations, made.rungs = {images: made.best}, [(images, score.value)]
    further = [*([values.pop("rescored")] if "rescored" in values else []), *values.pop("further_scores", ())]
    made.scored_again = [*made.scored_again, *(_again(made.trial, images, each) for each in further)]
    if "length" in values:
        made.paced = Paced(made.trial, values.pop("length"), 0.0)
    if "family" in values:
        config = values.get("config", made.config)
        values["config"] = {**config, "family": {**config.get("family", {}), "kind": values.pop("family")}}
    for name, value in values.items():
        assert name in TrialState.__dataclass_fields__, name
        setattr(made, name, value)
    return made


def _again(trial, images, score):
    outcome = Outcome(
        SamplingConfig(None, None, None, "ema"), 8, 1, {score.metric: score}, 1.0, 1.0, "cpu", "", 0.0, as_trained=True
    )
    return ScoredAgain(trial, outcome, images)


def sweep(name, trials, *, age=0, command=None, status="finished", **created):
    """A sweep that was started `age` days before the newest."""
    state = SweepState(SweepFolder(Path("sweeps"), name))
    state.created = Created(name, name, "fd", "min", len(trials), 1, **created)
    state.started = round((BEGIN - timedelta(days=age)).timestamp() * 1000)
    state.sessions = [SessionStarted(1, {"gensweep.command": command or f"gensweep tune {name}.yaml"})]
    state.status, state.trials = status, {each.trial: each for each in trials}
    return StoredSweep(state.folder, state)


def ranked(trials):
    """Trials of several sweeps as they are ranked, by sweep."""
    ordered = sorted(trials, key=lambda each: each.score.order)
    ranks = {each.name: rank for rank, each in enumerate(ordered, 1)}
    groups = {}
    for each in trials:
        groups.setdefault(each.sweep, []).append(RankedTrial(ranks[each.name], each, each.score, ()))
    return groups


def judged(sweeps):
    """A comparison and the verdict on it."""
    from gensweep.verdict.comparison import compare
    from gensweep.verdict.recommendation import recommend

    comparison = compare(sweeps)
    return comparison, recommend(comparison)
