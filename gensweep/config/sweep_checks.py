"""A sweep checked before anything runs: the extreme trials of its space are built as real trials."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from gensweep.config import registries
from gensweep.config.checks import metric_refusal, setting
from gensweep.config.objective_checks import named_metrics, objective_problems
from gensweep.config.problems import Problem, listed, show, unknown
from gensweep.config.ranges import Choices, Conditional, Node, Range, RangeCorner, pickers, walk
from gensweep.config.schema import validate
from gensweep.config.search_checks import queue_problems, sampler_problems, scheduler_problems, uncloned_nodes
from gensweep.config.search_space import parse_space
from gensweep.config.sweep_config import BUDGETED_KEYS, SweepConfig, settings_of_all
from gensweep.config.tree import Tree, clone, flatten, override_all, path_of, place_of
from gensweep.config.trial_config import TrialConfig, check_trial, load_plugins, sections_by_family, written_plugins
from gensweep.errors import ConfigError

if TYPE_CHECKING:
    from gensweep.results import Identity
    from gensweep.training.settings import EvaluationSettings


#: The settings of an evaluation that are about the course of a training alone.
COURSE_KEYS = ("every", "at", "rung_samples", "rung_steps")


@dataclass(frozen=True)
class _Corner:
    """A trial at a corner of a space: its values by key with their nodes, its branches, and the trial or problems."""

    values: Mapping[str, tuple[Node, Any]]
    branches: frozenset[str]
    tree: Tree
    trial: TrialConfig | None
    problems: list[Problem]


def checked_sweep(values: Mapping[str, Any]) -> SweepConfig:
    """The sweep of a nested mapping, its search space included.  Raises ConfigError with all problems."""
    config, problems = check_sweep(clone(values))
    if config is None:
        raise ConfigError([str(problem) for problem in problems])
    return config


def check_sweep(tree: Tree, default_place: str = "") -> tuple[SweepConfig | None, list[Problem]]:
    """The sweep that a tree describes, or all its problems, those at the corners of its space included.

    A problem that is not in every corner says in which branches it is.
    """
    written, space = tree.get("base"), tree.get("space", Tree())
    base = written if isinstance(written, Tree) else Tree()
    if problems := load_plugins(tree, default_place) + load_plugins(base, default_place):
        return None, problems
    config, problems = validate(SweepConfig, tree, default_place)
    if not isinstance(written, Tree) or not isinstance(space, Tree):
        return None, problems
    nodes, more = parse_space(space, sections_by_family())
    problems += more

    def located(key: str, message: str, trial: Tree | None = None) -> Problem:
        path = path_of(key)
        where = tree if trial is None or path[0] in SweepConfig.model_fields else trial
        return Problem(place_of(where, path, base_place if where is trial else default_place), key, message)

    base_place = place_of(tree, ["base"], default_place)
    if config is not None:
        config = _with_plugins(config, [written_plugins(written).values()])
        problems += _length_problems(config, written, nodes, base_place)
        base = override_all(written, settings_of_all(config))
    problems += [located(*each) for each in objective_problems(tree, config)]
    corners: list[_Corner] = []
    for pick in (pickers, _beside):
        picked = [_corner(base, list(walk(nodes, picker)), base_place) for picker in pick(nodes)]
        for corner in picked:
            if config is not None and corner.trial is not None:
                found = (*_trial_problems(config, corner.trial), *_final_problems(config, corner.tree))
                corner.problems.extend(located(*each, corner.tree) for each in found)
        told = {(problem.place, problem.key) for problem in problems}
        problems += [each for each in _merged(picked, nodes) if (each.place, each.key) not in told]
        corners += picked
    if config is not None:
        config = _with_plugins(config, [corner.trial.plugins for corner in corners if corner.trial is not None])
        config._written_base = written
        mixed = _identity_problems(config, base, corners, base_place)
        problems += {(each.place, each.key): each for each in mixed}.values()
        for check in (sampler_problems, scheduler_problems):
            problems += [located(*each) for each in check(config, nodes)]
        problems += [Problem(node.place or default_place, node.key, why) for node, why in uncloned_nodes(config, nodes)]
        problems += [
            located("observers", f"{kind} needs a package of that name; run: pip install 'gensweep[{kind}]'")
            for kind in config.observers
            if importlib.util.find_spec(kind) is None
        ]
        known = {key for corner in corners if corner.trial is not None for key in corner.trial.flat()}
        problems += [located(*each) for each in (queue_problems(config, nodes, known) if not problems else ())]
        families = registries.families().kinds()
        strange = [name for name in config.formats if name not in families]
        problems += [located(f"formats.{name}", unknown(name, "a family", families)) for name in strange]
    return (None if problems else config), problems


def _with_plugins(config: SweepConfig, more: Iterable[Iterable[str]]) -> SweepConfig:
    found = dict.fromkeys([*config.plugins, *(name for each in more for name in each)])
    return config.model_copy(update={"plugins": tuple(found)})


def _corner(base: Tree, walked: Sequence[tuple[Node, Any]], base_place: str) -> _Corner:
    conditionals = [(node, branch) for node, branch in walked if isinstance(node, Conditional)]
    values = {node.key: (node, value) for node, value in walked if not isinstance(node, Conditional)}
    tree = _trial_tree(base, values)
    trial, problems = check_trial(tree, base_place)
    branches = frozenset(f"{node.name.partition('@')[0]} = {branch.label}" for node, branch in conditionals)
    return _Corner(values, branches, tree, trial, problems)


def _trial_tree(base: Tree, values: Mapping[str, tuple[Node, Any]]) -> Tree:
    settings = {key: value for key, (_, value) in values.items()}
    return override_all(base, settings, {key: node.place for key, (node, _) in values.items()})


def _length_problems(config: SweepConfig, base: Tree, nodes: Sequence[Node], base_place: str) -> Iterator[Problem]:
    """What says how long a training is, beside the budget of the sweep; null, a default, says nothing."""
    if config.budget is None:
        return
    written = [(key, place_of(base, key.split("."), base_place), value) for key, value in flatten(base)]
    written += [(node.key, node.place, value) for picker in pickers(nodes) for node, value in walk(nodes, picker)]
    for key, place in {key: place for key, place, value in written if value is not None}.items():
        if key in BUDGETED_KEYS:
            yield Problem(place, key, "follows from the sweep's budget; leave it out, or leave budget out")
        if key == "evaluation.every" and config.budget.unit != "images":
            yield Problem(
                place,
                key,
                f"counts images, of which trials see different numbers under a budget of {config.budget.unit}; leave "
                "it out, or give the shares of a training after which it is evaluated, such as evaluation.at: [0.5]",
            )


def _beside(nodes: Sequence[Node]) -> Iterator[RangeCorner]:
    """From each corner, every single range at its other end and next to its low end, and every other choice.

    One range apart finds two ranges that must not cross; the step beside the end finds numbers that only a step or a
    choice can keep to, such as multiples.
    """
    for picker in pickers(nodes):
        for node, taken in list(walk(nodes, RangeCorner(picker.script, high=picker.high))):
            others: list[float] = []
            if isinstance(node, Range):
                others = [node.low if picker.high else node.high]
                if node.integer:
                    others.append(min(node.low + (node.step or 1), node.high))
            elif isinstance(node, Choices):
                others = [position for position, value in enumerate(node.values) if value is not taken]
            for other in others:
                if other != taken or isinstance(node, Choices):
                    yield RangeCorner(picker.script, high=picker.high, forced=(node, other))


def _merged(corners: Sequence[_Corner], nodes: Sequence[Node]) -> Iterator[Problem]:
    """The problems of all corners, each once, with the branches that they are in if these are not all."""
    seen: dict[Problem, list[frozenset[str]]] = {}
    for corner in corners:
        for problem in corner.problems:
            seen.setdefault(problem, []).append(corner.branches)
    for problem, occurrences in seen.items():
        # A key inside of the choice that a branch belongs to has a line that shows the branch.
        common = sorted(
            branch
            for branch in frozenset.intersection(*occurrences)
            if not problem.key.startswith(branch.partition(" = ")[0].removesuffix(".kind"))
        )
        where = f" [where {', '.join(common)}]" if common and len(occurrences) < len(corners) else ""
        yield Problem(problem.place, problem.key, problem.message + where + _hint(problem, nodes))


def _hint(problem: Problem, nodes: Sequence[Node]) -> str:
    """What helps if a number is wrong that lies inside of a range."""
    for picker in pickers(nodes):
        for node, _ in walk(nodes, picker):
            if isinstance(node, Range) and node.integer and (node.key, node.place) == (problem.key, problem.place):
                beside = node.low + (node.step or 1)
                if node.low < beside < node.high and problem.message.startswith(f"{beside} "):
                    return "; give the range a step, or list the values in a choice"
    return ""


def _trial_problems(config: SweepConfig, trial: TrialConfig) -> Iterator[tuple[str, str]]:
    """Where the sections of a sweep do not suit a trial."""
    metrics = setting(trial, "evaluation.metrics")
    for key, metric in named_metrics(config):
        if metric in registries.metrics() and metric not in metrics:
            reason = metric_refusal(trial, metric)
            reason = reason or f"is not evaluated; add it to evaluation.metrics ({listed(metrics)})"
            yield key, f"{metric!r} {reason}"
    workers, size = config.resources.worker_counts[0], setting(trial, "training.batch_size")
    if size % workers:
        yield "training.batch_size", f"{size} is not divisible by resources.workers ({workers})"
    elif size < workers * (parts := setting(trial, "training.accumulation")):
        shares = f"{parts} parts of an image or more on each of {workers} workers (resources.workers)"
        yield (
            "training.accumulation",
            f"{shares} make {workers * parts} images, but training.batch_size is {size}; set {size // workers} or less",
        )
    grace, images = config.search.scheduler.first_rung, setting(trial, "training.images")
    budget, name = (images, "training.images") if config.budget is None else (config.budget.amount, "the budget")
    if grace is not None and grace > budget:
        key = "interval" if config.search.scheduler.kind == "pbt" else "grace"
        yield f"search.scheduler.{key}", f"{grace:g} is more than {name} ({budget:g})"


def _final_problems(config: SweepConfig, tree: Tree) -> Iterator[tuple[str, str]]:
    """Why a trial could not be scored at the end as the sweep says."""
    for key in config.final or ():
        if key in COURSE_KEYS:
            yield f"final.{key}", "says how trials are scored while they train; leave it out"
    if config.final is not None:
        for problem in check_trial(override_all(tree, config.final_settings))[1]:
            key, message = (text.replace("evaluation.", "final.") for text in (problem.key, problem.message))
            yield key, message


def _identity_problems(
    config: SweepConfig, base: Tree, corners: Sequence[_Corner], base_place: str
) -> Iterator[Problem]:
    """The keys of a space that change what a score of a metric is a score of, so that trials could not be ranked."""
    for metric in dict.fromkeys(metric for _, metric in named_metrics(config)):
        yield from _mixed_identities(metric, base, corners, base_place)


def _mixed_identities(metric: str, base: Tree, corners: Sequence[_Corner], base_place: str) -> Iterator[Problem]:
    valid = [(corner, corner.trial) for corner in corners if corner.trial is not None]
    if not valid or metric not in registries.metrics():
        return
    first, identities = valid[0][0], _identities(valid[0][1], metric)

    def differences(keys: Sequence[str], other: _Corner) -> list[str]:
        """How the identity changes if these keys of the first trial are as in another one."""
        kept = {key: item for key, item in first.values.items() if key not in keys}
        mixed = kept | {key: other.values[key] for key in keys if key in other.values}
        trial, _ = check_trial(_trial_tree(base, mixed), base_place)
        pairs = [] if trial is None else zip(identities, _identities(trial, metric), strict=True)
        return [how for mine, theirs in pairs for how in mine.differences(theirs).values()]

    for other, trial in valid[1:]:
        if _identities(trial, metric) == identities:
            continue
        changed = [key for key in {**first.values, **other.values} if first.values.get(key) != other.values.get(key)]
        for section in dict.fromkeys(key.partition(".")[0] for key in changed):
            keys = [key for key in changed if key.partition(".")[0] == section]
            if how := differences(keys, other):
                # A setting that cannot be changed alone, such as a kind, is blamed as the first of its section.
                for key in [key for key in keys if differences([key], other)] or keys[:1]:
                    node, value = (other.values if key in other.values else first.values)[key]
                    message = (
                        f"with {show(value)} a score of {metric} cannot be compared with those of other trials "
                        f"(different {how[0].partition(':')[0]}); take one value, or make a sweep of each"
                    )
                    yield Problem(node.place or base_place, key, message)


def _identities(trial: TrialConfig, metric: str) -> tuple[Identity, Identity]:
    """The identity of a trial's last score and of those before; trials can be ranked if theirs are equal.

    Settings stand for what only their use would tell: the extractor's id and the fingerprint of the images.
    """
    evaluation: EvaluationSettings = trial.bound("evaluation")()
    last = evaluation.identity(
        metric,
        trial.bound("training")(),
        extractor=setting(trial, "evaluation.extractor").model_dump_json(),
        reference=json.dumps(_reference(trial.data.model_dump(mode="json"), metric, evaluation)),
        held_out=evaluation.likelihood().images,
    )
    return last, evaluation.before_the_end(last)


def _reference(data: dict[str, Any], metric: str, evaluation: EvaluationSettings) -> Any:
    """The settings that decide which real images, or which statistics of some, a metric compares with."""
    kind = registries.metrics()[metric]
    whole = {key: value for key, value in data.items() if key != "limit"}
    if kind.needs == "likelihood":
        split = evaluation.likelihood().split
        return split, whole if split == "test" else data
    against = "train" if getattr(kind, "of_training", False) else evaluation.against
    if against == "whole":
        return against, whole
    if against.endswith(".npz"):
        return against
    if against.endswith("/"):
        # A folder's pictures are made as large as those of the data set.
        return against, {key: data.get(key) for key in (("size", "channels") if data.get("size") else ("kind", "path"))}
    return against, data
