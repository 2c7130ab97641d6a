"""A plan's recommendation as the YAML of the next sweep: the best settings as its base, a space around them."""

from __future__ import annotations

import math
import shlex
from collections.abc import Iterator, Mapping
from copy import deepcopy
from pathlib import Path
from typing import Any

from gensweep.config.ranges import Range, every_node, on_steps, point_of
from gensweep.config.sweep_checks import checked_sweep
from gensweep.config.sweep_config import SweepConfig
from gensweep.config.yaml import to_yaml
from gensweep.errors import ConfigError
from gensweep.extras.plan.scored_trainings import trial_of
from gensweep.extras.plan.spending import SpendingPlan
from gensweep.files import write_text
from gensweep.report.wording import rough
from gensweep.sweep.stored_sweeps import stored_config, trial_config
from gensweep.verdict.amounts import Amount
from gensweep.verdict.comparison import Comparison

#: Range of a logarithmic setting: its best value divided and multiplied by this.
NARROWING = 2.0
#: Range of a linear setting around its best value, as a share of its former range.
NARROWED_PART = 0.5
#: Trials of the next sweep: enough for three widths or learning rates, with twice as many to choose from.
NEXT_TRIALS = 6
#: Shares of a training after which it is evaluated, so that the next plan has scores over a factor of 16 to learn from.
EVALUATED_AT = (0.0625, 0.125, 0.25, 0.5, 0.75)
#: Settings of a trial that its budget decides.
LENGTH_SETTINGS = (("training", "images"), ("training", "device_seconds"), ("evaluation", "every"))
#: Largest length of a name that leaves room for a suffix, of 64.
MAX_NAME = 58


def check_target(path: Path) -> None:
    """Raises ConfigError if no YAML can be written there."""
    if path.suffix not in (".yaml", ".yml"):
        raise ConfigError(f"--output {path}: the name must end in .yaml")
    if path.exists():
        raise ConfigError(f"--output: {path} exists already; name another file")
    if not path.absolute().parent.is_dir():
        raise ConfigError(f"--output: the folder {path.absolute().parent} does not exist; create it first")


def write_next_sweep(plan: SpendingPlan, budget: Amount, comparison: Comparison, path: Path) -> None:
    """Write the sweep, checked as `gensweep config validate` does."""
    tree = next_sweep(plan, budget, comparison)
    checked_sweep(tree)
    value, low, high = map(rough, plan.best.forecast)
    typed = shlex.quote(str(path))
    head = [
        f"# What gensweep plan recommends for {budget} a training: {plan.best.group} at width {plan.best.width}.",
        f"# Expected {comparison.title}: {value} ({low} to {high} at 80 %).",
        "#",
        f"#   gensweep tune {typed} --dry-run      what would run, for how long",
        f"#   gensweep tune {typed}                the sweep",
    ]
    write_text(path, "\n".join(head) + "\n" + to_yaml(tree))


def next_sweep(plan: SpendingPlan, budget: Amount, comparison: Comparison) -> dict[str, Any]:
    """The sweep as plain values."""
    best = plan.best
    trial = trial_of(comparison, best.members[0])
    sweep = next(each for each in comparison.sweeps if each.name == trial.sweep)
    former = stored_config(sweep.folder)
    base = deepcopy(dict(trial_config(trial)))
    for section, key in LENGTH_SETTINGS:
        base[section].pop(key, None)
    base["network"]["width"] = best.width
    base["evaluation"]["at"] = list(EVALUATED_AT)
    limits = [each.model_dump(mode="json", exclude_none=True) for each in former.constraints]
    space = dict(narrowed_ranges(former, trial.params))
    if len(best.near) > 1:
        space["network.width"] = {"choice": list(best.near)}
    return {
        "name": f"{trial.sweep[:MAX_NAME]}-next",
        "objective": former.score.model_dump(mode="json"),
        "budget": {budget.unit: round(budget.value) if budget.unit == "images" else budget.value},
        "base": base,
        "space": space,
        "search": {"trials": NEXT_TRIALS if space else 1, "seed": 0},
        "resources": former.resources.model_dump(mode="json"),
        "keep_best": former.keep_best,
        **({"constraints": limits} if limits else {}),
    }


def narrowed_ranges(sweep: SweepConfig, params: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Ranges around the best values of searched ranges, by dotted key; choices stay fixed."""
    given = point_of(sweep.nodes(), params).params
    for node in (each for each in every_node(sweep.nodes()) if isinstance(each, Range)):
        value = params.get(node.key) if node.name in given else None
        if node.key != "network.width" and isinstance(value, int | float):
            low, high = narrowed_range(node, value)
            if low < high:
                kind = "int" if node.integer else "float"
                yield node.key, {kind: [low, high], "log": node.log} | ({"step": node.step} if node.step else {})


def narrowed_range(node: Range, value: float) -> tuple[float, float]:
    """The part of a range around a value of it; on its steps, if it has any."""
    if node.log:
        low, high = value / NARROWING, value * NARROWING
    else:
        half = (node.high - node.low) * NARROWED_PART / 2
        low, high = value - half, value + half
    if not node.integer:
        low, high = float(f"{low:.3g}"), float(f"{high:.3g}")
    low, high = max(node.low, low), min(node.high, high)
    if step := node.step or (1 if node.integer else None):
        low = on_steps(node, math.ceil((low - node.low) / step - 1e-9))
        high = on_steps(node, math.floor((high - node.low) / step + 1e-9))
    return low, high
