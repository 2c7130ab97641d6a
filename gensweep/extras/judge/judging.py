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
    budget: str | None = None,
    root: str | Path = SWEEPS,
    **rules: Any,
) -> Judged:
    """Judge a candidate, or continue a judgement: `gensweep judge`.

    `base` and `candidate` are YAML files, mappings or runs; without a candidate, it is the base with `overrides`.  With
    `init` the base starts a stream; without a base the candidate is judged against the current base of the stream
    `name`.  `budget` is the most compute of all trainings, such as "2e12flops" or "30s"; `rules` are fields of Rules.

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
        written, stated = _read(base, overrides if init else (), root)
        sweep, trial = _sealed_sweep(written, name or _name(base if candidate is None else candidate)), written.trial()
        fixed = Rules(**rules, stream=init, data=load_images(trial).fingerprint, stated=stated)
        fixed = replace(fixed, most_seeds=_seeds_paid(fixed.most_seeds, budget, sweep))
    if load_images(trial).fingerprint != fixed.data:
        raise ConfigError(f"data: the images have changed since {sweep.name} was made; start another with --init")
    sealed = None
    if candidate is not None:
        other, now = _read(candidate, overrides, root)
        sealed = _sealed(sweep, other.trial(), fixed.stated, now)
    elif not init:
        if not overrides:
            raise ConfigError("there is no candidate: name a file or a run, or change settings of BASE with --set")
        changed = trial.with_overrides(parse_overrides(overrides))
        sealed = _sealed(sweep, changed, _stated(trial), _stated(changed))
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


def _read(source: Source, overrides: Overrides, root: Path) -> tuple[SweepConfig, dict[str, Any]]:
    """A configuration as a sweep of one trial, and the seed and length that its file states; a run states none."""
    if isinstance(source, str) and not source.endswith((".yaml", ".yml")):
        run = trained_trial(source, root)
        import_plugins(run)
        trial = TrialConfig.from_dict(trial_config(run)).with_overrides(parse_overrides(overrides))
        return single_trial("judge", trial, 1), {}
    source = space_file(source) if isinstance(source, str) else source
    if is_sweep(source):
        sweep = load_base(source, overrides=overrides)
    else:
        sweep = single_trial("judge", load_trial(source, overrides=overrides), 1)
    return sweep, {"budget": sweep.as_dict().get("budget")} | _stated(sweep.trial())


def _stated(trial: TrialConfig) -> dict[str, Any]:
    """The seed and the length of a configuration."""
    flat = trial.flat()
    return {key: flat.get(key) for key in ("seed", *BUDGETED_KEYS)}


def _sealed_sweep(written: SweepConfig, name: str) -> SweepConfig:
    """The sweep of a judgement; a training has the budget of the base's file, or else the cost of the base."""
    trial, single = written.trial(), {"trials": 1, "sampler": {"kind": "random"}, "scheduler": {"kind": "fifo"}}
    seconds, values = trial.flat()["training.device_seconds"], written.as_dict()
    known = {"device_seconds": seconds} if seconds else None
    values["budget"] = values.get("budget") or known or {"flops": TrialCosts().flops(trial)}
    return checked_sweep(values | {"name": name, "base": _unbudgeted(trial), "search": single, "rescore": False})


def _unbudgeted(trial: TrialConfig) -> dict[str, Any]:
    tree = trial.as_dict()
    tree["training"] = {key: each for key, each in tree["training"].items() if f"training.{key}" not in BUDGETED_KEYS}
    return tree


def _sealed(
    sweep: SweepConfig, trial: TrialConfig, before: Mapping[str, Any], now: Mapping[str, Any]
) -> dict[str, Any]:
    """A configuration under the sweep's seed and budget.  Raises ConfigError if it changes a fixed setting.

    `before` and `now` are the seed and length of base and candidate, if both state them.
    """
    fixed, values = (
        {key: value for key, value in each.flat().items() if key.startswith(SEALED) and key not in FREE}
        for each in (sweep.trial(), trial)
    )
    if before and now:
        fixed, values = {**fixed, **before}, {**values, **now}
    _check_equal(fixed, values, "{}: is fixed at {}, but the candidate has {}")
    own = sweep.model_copy(update={"base": _unbudgeted(trial) | {"seed": sweep.trial().seed}})
    return at_length(own, own.trial(), TrialCosts()).as_dict()


def _check_same(folder: SweepFolder, sweep: SweepConfig, rules: Rules) -> None:
    """Raises ConfigError, with all differences, if a sweep of this name judges something else."""
    if folder.exists:
        before, now = (
            dict(flatten({"rules": asdict(fixed)} | {part: values[part] for part in ("base", "budget", "objective")}))
            for fixed, values in ((rules_of(folder), folder.settings["sweep"]), (rules, sweep.as_dict()))
        )
        _check_equal(before, now, f"{{}}: is {{}} in {folder.name}, but now {{}}; choose another name: --name NEW")


def _check_equal(before: Mapping[str, Any], now: Mapping[str, Any], line: str) -> None:
    """Raises ConfigError with a line for each difference."""
    if changed := [key for key in {**before, **now} if before.get(key) != now.get(key)]:
        raise ConfigError([line.format(key, before.get(key), now.get(key)) for key in changed])


def _seeds_paid(most: int, budget: str | None, sweep: SweepConfig) -> int:
    """The most pairs that a budget pays for.  Raises ConfigError if it pays for less than two."""
    if budget is None or (each := sweep.budget) is None:
        return most
    amount = parse_amount(budget)
    paid = int(amount.value / (2 * each.amount) + 1e-9) if amount.unit == each.unit else 0
    if paid < 2:
        raise ConfigError(f"--budget: {amount} does not pay for two pairs, which cost {4 * each.amount:g} {each.unit}")
    return min(most, paid)


def _name(source: Source) -> str:
    """The name of a judgement, after a mapping, a run, or a file without its folder and suffix."""
    if isinstance(source, Mapping):
        return name_like(f"judge-{source.get('name', 'mapping')}")
    return name_like(f"judge-{Path(source).stem if str(source).endswith(('.yaml', '.yml')) else source}")
