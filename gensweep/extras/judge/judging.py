"""Judge a candidate against a base: train pairs with the same seeds until the test decides."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from gensweep.api.running import run_sweep
from gensweep.api.sweeps import trial_of_run
from gensweep.build.costs import TrialCosts
from gensweep.build.parts import load_images
from gensweep.config import SweepConfig, checked_sweep, is_sweep, load_base, load_trial
from gensweep.config.loading import Overrides, Source, extended
from gensweep.config.objectives import TrialBudget
from gensweep.config.sweep_config import BUDGETED_KEYS, name_like
from gensweep.config.tree import flatten
from gensweep.errors import ConfigError
from gensweep.extras.judge.judgements import Judgement, Rules, due_seeds, judgements, rules_of
from gensweep.run.planning import at_length, single_trial
from gensweep.search.sweep_plan import SweepPlan, SweepResult
from gensweep.shipped import space_file
from gensweep.sweep.continuation import SWEEPS
from gensweep.sweep.folder import SweepFolder
from gensweep.sweep.stored_sweeps import stored_config
from gensweep.verdict.amounts import parse_amount

#: Settings that all configurations of a judgement share, besides the seed and the budget.
SEALED = ("data.", "evaluation.", "start.")
#: Most pairs of a candidate in a stream, whose errors are smaller: five would hide gains of 20 % (experiments/judge).
STREAM_SEEDS = 10


@dataclass(frozen=True)
class Judged:
    """A judgement, and the run that led to it; `judgement` is None for a base alone."""

    judgement: Judgement | None
    result: SweepResult

    @property
    def decision(self) -> str:
        """Keep, discard or undecided."""
        return "undecided" if self.judgement is None else self.judgement.decision


def judge(
    base: Source | None = None,
    candidate: Source | None = None,
    *,
    overrides: Overrides = (),
    name: str | None = None,
    init: bool = False,
    budget: str | None = None,
    most_seeds: int | None = None,
    root: str | Path = SWEEPS,
    **rules: Any,
) -> Judged:
    """Judge a candidate, or continue a judgement: `gensweep judge`.

    `base` and `candidate` are YAML files, mappings or runs; without a candidate, it is the base with `overrides`.  With
    `init` the base starts the stream `name`; without a base, that of the stream is used.  `budget` is the most compute
    of all trainings, such as "2e12flops"; `rules` are fields of Rules.  Raises ConfigError with all problems.
    """
    if not (init or candidate or overrides):
        raise ConfigError("there is no candidate: name a file or a run, or change settings of BASE with --set")
    named = base if candidate is None else candidate
    named = named.get("name", "mapping") if isinstance(named, Mapping) else str(named).removesuffix(".yaml")
    folder = SweepFolder(root := Path(root), name or name_like(f"judge-{named}"))
    known = rules_of(folder)
    if base is None:
        folder.check_name(resume=True)
        if known is None or not (searched := folder.state().searched):
            raise ConfigError(f"{folder.name} has no base for this version; run: gensweep judge --init BASE --name NEW")
        fixed, sweep = known, stored_config(folder)
        kept = [each.candidate for each in judgements(folder.state(), fixed) if each.decision == "keep"]
        candidate = candidate or [searched[0], *kept][-1].name
    else:
        written, stated = _read(base, overrides if init else (), root)
        sweep, data = _sweep(written, folder.name), load_images(written.trial()).fingerprint
        most = most_seeds or (STREAM_SEEDS if init else Rules.most_seeds)
        fixed = _paid(Rules(**rules, most_seeds=most, stream=init, data=data, stated=stated), budget, sweep)
        candidate = candidate or (None if init else base)
    sealed = None if candidate is None else _sealed(sweep, fixed, *_read(candidate, overrides, root))
    if base is not None and folder.exists:
        before, now = (
            {"rules": each and asdict(each)} | {key: values[key] for key in ("base", "budget", "objective")}
            for each, values in ((known, folder.settings["sweep"]), (fixed, sweep.as_dict()))
        )
        _check_equal(before, now, f"{{}}: is {{}} in {folder.name}, but now {{}}; choose another name: --name NEW")
    return _run(sweep, fixed, sealed, root)


def _run(sweep: SweepConfig, rules: Rules, candidate: dict[str, Any] | None, root: Path) -> Judged:
    """Train the seeds that the rules ask for; an earlier candidate continues."""
    folder = SweepFolder(root, sweep.name)
    state = folder.state()
    configs = [dict(each.config) for each in state.searched] or [_equal_compute(sweep, sweep)]
    if candidate is not None and candidate not in configs[1:]:
        configs.append(candidate)
    base, *_ = flat = [dict(flatten(each)) for each in configs]
    changes = [{key: value for key, value in each.items() if base.get(key) != value} for each in flat]

    def amend(plan: SweepPlan) -> SweepPlan:
        return replace(
            plan,
            sample=lambda trial: changes[trial.number],
            configure=lambda params: configs[changes.index(dict(params))],
            due=partial(due_seeds, rules=rules),
            settings={**plan.settings, "judge": asdict(rules)},
        )

    more, result = len(configs) - state.wanted, SweepResult(folder.path, state)
    if state.created is None:
        search = sweep.search.model_copy(update={"trials": len(configs)})
        result = run_sweep(sweep.model_copy(update={"search": search}), root=root, amend=amend, resume=folder.exists)
    elif more > 0:
        result = run_sweep(sweep, root=root, amend=amend, extend=more)
    elif state.status != "finished" or state.unfinished or due_seeds(state, rules):
        result = run_sweep(sweep, root=root, amend=amend, resume=True)
    found = judgements(folder.state(), rules) if result.state.searched else []
    return Judged(next((each for each in found if dict(each.candidate.config) == candidate), None), result)


def _read(source: Source, overrides: Overrides, root: Path) -> tuple[SweepConfig, dict[str, Any]]:
    """A configuration as a sweep of one trial, and the statements of its file (see Rules); a run has none."""
    if isinstance(source, str) and not source.endswith((".yaml", ".yml")):
        return single_trial("judge", trial_of_run(source, overrides, root), 1), {}
    source = space_file(source) if isinstance(source, str) else source
    if is_sweep(source):
        sweep = load_base(source, overrides=extended(overrides, {"name": "judge"}))
    else:
        sweep = single_trial("judge", load_trial(source, overrides=overrides), 1)
    values = sweep.as_dict() | sweep.trial().flat()
    return sweep, {key: values[key] for key in ("objective", "budget", "seed", *BUDGETED_KEYS)}


def _sweep(written: SweepConfig, name: str) -> SweepConfig:
    """The sweep of a judgement; a training has the budget of the base's file, or else the cost of the base."""
    trial, single = written.trial(), {"trials": 1, "sampler": {"kind": "random"}, "scheduler": {"kind": "fifo"}}
    seconds = trial.flat()["training.device_seconds"]
    known = {"device_seconds": seconds} if seconds else {"flops": TrialCosts().flops(trial)}
    budgeted = written.model_copy(update={"budget": written.budget or TrialBudget(**known)})
    return checked_sweep(budgeted.complete() | {"name": name, "search": single, "rescore": False, "final": None})


def _sealed(sweep: SweepConfig, rules: Rules, other: SweepConfig, stated: Mapping[str, Any]) -> dict[str, Any]:
    """A candidate under the sweep's seed and budget.  Raises ConfigError if it changes a fixed setting."""
    flats = (each.trial().flat().items() for each in (sweep, other))
    fixed, values = ({key: value for key, value in flat if key.startswith(SEALED)} for flat in flats)
    if rules.stated and stated:
        fixed, values = {**fixed, **rules.stated}, {**values, **stated}
    _check_equal(fixed, values, "{}: is fixed at {}, but the candidate has {}")
    if load_images(other.trial()).fingerprint != rules.data:
        raise ConfigError(f"data: the images have changed since {sweep.name} was made; start another with --init")
    return _equal_compute(sweep, other)


def _equal_compute(sweep: SweepConfig, other: SweepConfig) -> dict[str, Any]:
    """The configuration of a training with the sweep's seed and budget."""
    own = other.model_copy(update={"budget": sweep.budget})
    trial = own.trial({"seed": sweep.trial().seed, "training.device_seconds": None})
    return at_length(own, trial, TrialCosts()).as_dict()


def _check_equal(before: Mapping[str, Any], now: Mapping[str, Any], line: str) -> None:
    """Raises ConfigError with a line for each difference."""
    before, now = dict(flatten(before)), dict(flatten(now))
    if changed := [key for key in {**before, **now} if before.get(key) != now.get(key)]:
        raise ConfigError([line.format(key, before.get(key), now.get(key)) for key in changed])


def _paid(rules: Rules, budget: str | None, sweep: SweepConfig) -> Rules:
    """Rules with the pairs that a budget pays for.  Raises ConfigError if it pays for less than two."""
    if budget is None or sweep.budget is None:
        return rules
    amount, unit, pair = parse_amount(budget), sweep.budget.unit, 2 * sweep.budget.amount
    paid = int(amount.value / pair + 1e-9) if amount.unit == unit else 0
    if paid < 2:
        raise ConfigError(f"--budget: {amount} does not pay for two pairs, which cost {2 * pair:g} {unit}")
    return replace(rules, most_seeds=min(rules.most_seeds, paid))
