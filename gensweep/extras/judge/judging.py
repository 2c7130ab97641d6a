"""Judge a candidate against a base: train pairs with the same seeds until the test decides."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from gensweep.api.running import run_sweep
from gensweep.build.costs import TrialCosts
from gensweep.build.parts import load_images
from gensweep.config import SweepConfig, TrialConfig, checked_sweep, is_sweep, load_base, load_trial, parse_overrides
from gensweep.config.loading import Overrides, Source
from gensweep.config.sweep_config import BUDGETED_KEYS, name_like
from gensweep.config.tree import flatten
from gensweep.errors import ConfigError
from gensweep.extras.judge.judgements import Judgement, Rules, current_base, due_seeds, judgements
from gensweep.run.planning import at_length, single_trial
from gensweep.search.sweep_plan import SweepPlan, SweepResult
from gensweep.shipped import space_file
from gensweep.sweep.continuation import SWEEPS
from gensweep.sweep.folder import SweepFolder
from gensweep.sweep.stored_sweeps import import_plugins, read_sweep, trained_trial, trial_config
from gensweep.verdict.amounts import parse_amount

#: Settings that all configurations of a judgement share, besides the seed and the budget; some change no score.
SEALED, FREE = ("data.", "evaluation."), ("data.path", "evaluation.batch_size")


@dataclass(frozen=True)
class Judged:
    """A judgement, and the run that led to it; `judgement` is None for a base alone."""

    judgement: Judgement | None
    rules: Rules
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
    training: str | None = None,
    budget: str | None = None,
    resources: tuple[int, float, float | None] = (1, 1, None),
    root: str | Path = SWEEPS,
    **rules: Any,
) -> Judged:
    """Judge a candidate, or continue a judgement: `gensweep judge`.

    `base` and `candidate` are YAML files, mappings or runs; without a candidate, it is the base with `overrides`.  With
    `init` the base starts a stream; without a base the candidate is judged against the current base of the stream
    `name`.  `training` is the compute of one training and `budget` that of all together, such as "2e12flops" or "30s".
    `resources` are the workers of a training, and the CPUs and GPUs of each; `rules` are fields of Rules.

    Raises ConfigError, with all differences, for a candidate that changes a fixed setting.
    """
    root = Path(root)
    if base is None:
        folder = SweepFolder(root, name or "")
        folder.check_name(resume=True)
        fixed, sweep = rules_of(folder), checked_sweep(folder.settings["sweep"])
        first = current_base(folder.state(), fixed) if folder.state().searched else None
        trial = sweep.trial() if first is None else TrialConfig.from_dict(first.config)
    else:
        trial, stated = _read(base, overrides if init else (), root)
        name = name or name_like(f"judge-{_stem(base if candidate is None else candidate)}")
        sweep = _sealed_sweep(trial, stated.get("budget"), name, training, resources)
        fixed = Rules(**rules, stream=init, data=load_images(trial).fingerprint, stated=stated)
        fixed = replace(fixed, most_seeds=_seeds_paid(fixed.most_seeds, budget, sweep))
    if load_images(trial).fingerprint != fixed.data:
        raise ConfigError(f"data: the images have changed since {sweep.name} was made; start another with --init")
    sealed = None
    if not init:
        if candidate is None and not overrides:
            raise ConfigError("there is no candidate: name a file or a run, or change settings of BASE with --set")
        other, now = (_with_changes(trial, overrides), {}) if candidate is None else _read(candidate, overrides, root)
        sealed = _sealed(sweep, other, fixed.stated, now)
    if base is not None:
        _check_same(SweepFolder(root, sweep.name), sweep, fixed)
    return _run(sweep, fixed, sealed, root)


def rules_of(folder: SweepFolder) -> Rules:
    """The rules of a sweep of `gensweep judge`.  Raises ConfigError for any other sweep."""
    if (found := folder.settings.get("judge")) is None:
        raise ConfigError(f"{folder.name} is no sweep of gensweep judge; to start one: judge --init BASE --name NEW")
    return Rules(**found)


def _run(sweep: SweepConfig, rules: Rules, candidate: dict[str, Any] | None, root: Path) -> Judged:
    """Train the seeds that the rules ask for; an earlier candidate continues."""
    folder = SweepFolder(root, sweep.name)
    state = folder.state() if folder.exists else None
    configs = [dict(each.config) for each in state.searched] if state is not None else []
    configs = configs or [_sealed(sweep, sweep.trial(), {}, {})]
    if candidate is not None and candidate not in configs[1:]:
        configs.append(candidate)
    how: dict[str, Any] = {"resume": state is not None}
    if state is None:
        sweep = sweep.model_copy(update={"search": sweep.search.model_copy(update={"trials": len(configs)})})
    elif len(configs) > state.wanted:
        how = {"extend": len(configs) - state.wanted}
    if state is None or "extend" in how or state.status != "finished" or state.unfinished or due_seeds(state, rules):
        amend = partial(_amended, configs=configs, rules=rules)
        result = run_sweep(sweep, root=root, amend=amend, **how)
    else:
        result = SweepResult(folder.path, state)
    found = judgements(read_sweep(folder).state, rules) if result.state.searched else []
    mine = [each for each in found if dict(each.candidate.config) == candidate]
    return Judged(mine[-1] if mine else None, rules, result)


def _amended(plan: SweepPlan, configs: list[dict[str, Any]], rules: Rules) -> SweepPlan:
    """A plan whose trials are these configurations, each with the seeds that the rules ask for."""
    base, *_ = flat = [dict(flatten(each)) for each in configs]
    changes = [{key: value for key, value in each.items() if base.get(key) != value} for each in flat]
    return replace(
        plan,
        sample=lambda trial: changes[trial.number],
        configure=lambda params: configs[changes.index(dict(params))],
        due=partial(due_seeds, rules=rules),
        settings={**plan.settings, "judge": asdict(rules)},
    )


def _read(source: Source, overrides: Overrides, root: Path) -> tuple[TrialConfig, dict[str, Any]]:
    """A configuration, and the seed and length that its file states; a run states none."""
    if isinstance(source, str) and not source.endswith((".yaml", ".yml")):
        run = trained_trial(source, root)
        import_plugins(run)
        return TrialConfig.from_dict(trial_config(run)).with_overrides(parse_overrides(overrides)), {}
    source, budget = space_file(source) if isinstance(source, str) else source, None
    if is_sweep(source):
        sweep = load_base(source, overrides=overrides)
        trial, budget = sweep.trial(), None if sweep.budget is None else sweep.budget.model_dump(mode="json")
    else:
        trial = load_trial(source, overrides=overrides)
    flat = trial.flat()
    return trial, {"budget": budget} | {key: flat.get(key) for key in ("seed", *BUDGETED_KEYS)}


def _sealed_sweep(
    trial: TrialConfig,
    written: Mapping[str, Any] | None,
    name: str,
    training: str | None,
    resources: tuple[int, float, float | None],
) -> SweepConfig:
    """The sweep of a judgement; by default a training has the budget of the file, or else the cost of the base."""
    budget, seconds = written, trial.flat()["training.device_seconds"]
    if training is not None:
        amount = parse_amount(training, "--training")
        budget = {amount.unit: amount.value}
    elif budget is None:
        budget = {"device_seconds": seconds} if seconds else {"flops": TrialCosts().flops(trial)}
    values = single_trial(name, trial, *resources).as_dict()
    return checked_sweep(values | {"base": _unbudgeted(trial), "budget": dict(budget), "rescore": False})


def _unbudgeted(trial: TrialConfig) -> dict[str, Any]:
    tree = trial.as_dict()
    tree["training"] = {key: each for key, each in tree["training"].items() if f"training.{key}" not in BUDGETED_KEYS}
    return tree


def _sealed(
    sweep: SweepConfig, trial: TrialConfig, before: Mapping[str, Any], now: Mapping[str, Any]
) -> dict[str, Any]:
    """A configuration under the sweep's seed and budget.  Raises ConfigError if it changes a fixed setting.

    `before` and `now` are the seed and length that the files of base and candidate state, if there are files.
    """
    fixed, values = (
        {key: value for key, value in each.flat().items() if key.startswith(SEALED) and key not in FREE}
        for each in (sweep.trial(), trial)
    )
    if before and now:
        fixed, values = {**fixed, **before}, {**values, **now}
    if changed := [key for key in {**fixed, **values} if fixed.get(key) != values.get(key)]:
        raise ConfigError(
            [f"{key}: is fixed at {fixed.get(key)}, but the candidate has {values.get(key)}" for key in changed]
        )
    own = sweep.model_copy(update={"base": _unbudgeted(trial) | {"seed": sweep.trial().seed}})
    return at_length(own, own.trial(), TrialCosts()).as_dict()


def _with_changes(trial: TrialConfig, overrides: Overrides) -> TrialConfig:
    changes = parse_overrides(overrides)
    if fixed := [key for key in changes if key in (*BUDGETED_KEYS, "seed")]:
        raise ConfigError([f"--set {key}: is fixed by the judgement" for key in fixed])
    return trial.with_overrides(changes)


def _seeds_paid(most: int, budget: str | None, sweep: SweepConfig) -> int:
    """The most pairs that a budget pays for.  Raises ConfigError if it pays for less than two."""
    if budget is None or sweep.budget is None:
        return most
    amount, each = parse_amount(budget), sweep.budget
    if amount.unit != each.unit:
        raise ConfigError(
            f"--budget: {amount} is in another unit than a training, which has {each.amount:g} {each.unit}"
        )
    paid = int(amount.value / (2 * each.amount) + 1e-9)
    if paid < 2:
        raise ConfigError(
            f"--budget: {amount} is too little for two pairs of trainings, which cost {4 * each.amount:g} {each.unit}"
        )
    return min(most, paid)


def _check_same(folder: SweepFolder, sweep: SweepConfig, rules: Rules) -> None:
    """Raises ConfigError, with all differences, if a sweep of this name judges something else."""
    if not folder.exists:
        return
    parts = ("base", "budget", "objective")
    before, now = folder.settings["sweep"], sweep.as_dict()
    old, new = (
        dict(flatten({"rules": asdict(fixed)} | {part: values[part] for part in parts}))
        for fixed, values in ((rules_of(folder), before), (rules, now))
    )
    if changed := [key for key in {**old, **new} if old.get(key) != new.get(key)]:
        lines = [f"{key}: is {old.get(key)!r} in {folder.name}, but now {new.get(key)!r}" for key in changed]
        raise ConfigError([*lines, "choose another name: --name NEW"])


def _stem(source: Source) -> str:
    """The name of a mapping, of a run, or of a file without its folder and suffix."""
    if isinstance(source, Mapping):
        return str(source.get("name", "mapping"))
    return Path(source).stem if str(source).endswith((".yaml", ".yml")) else str(source)
