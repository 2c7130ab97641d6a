"""A sweep checked before anything runs: the extreme trials of its space are built as real trials."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from gensweep.config import registries
from gensweep.config.checks import metric_refusal
from gensweep.config.identities import identities_of
from gensweep.config.problems import Problem, listed, show, unknown
from gensweep.config.ranges import Choices, Conditional, Node, Range, RangeCorner, combinations, pickers, walk
from gensweep.config.sections import GridSearch, Objective, Resources, Search
from gensweep.config.tree import Tree, override_all, place_of
from gensweep.config.trial_config import TrialConfig, check_trial

__all__ = ["check_space"]


@dataclass(frozen=True)
class _Sections:
    """The valid sections of a sweep, and where to look up what its file says."""

    objective: Objective
    search: Search
    resources: Resources
    tree: Tree
    place: str

    def problem(self, key: str, message: str) -> Problem:
        return Problem(place_of(self.tree, key.split("."), self.place), key, message)


@dataclass(frozen=True)
class _CornerTrial:
    """A trial at a corner of a space: what it overrides, its branches, its tree, and the trial or its problems."""

    met: Mapping[str, tuple[Node, Any]]
    branches: frozenset[str]
    tree: Tree
    trial: TrialConfig | None
    problems: list[Problem]


def check_space(
    tree: Tree,
    base: Tree,
    nodes: Sequence[Node],
    sections: tuple[Objective, Search, Resources] | None,
    default_place: str,
) -> list[Problem]:
    """What is wrong with the trials of a sweep, and with sections that do not suit them (None if these are not valid).

    A problem that is not in every corner says in which branches it is.
    """
    base_place = place_of(tree, ["base"], default_place)
    valid = _Sections(*sections, tree, default_place) if sections is not None else None
    problems = list(_objective_problems(tree, valid, default_place))
    reached: list[_CornerTrial] = []
    for pick in (pickers, _beside):
        corners = [_corner_trial(base, nodes, picker, base_place) for picker in pick(nodes)]
        if valid is not None:
            for corner in corners:
                if corner.trial is not None:
                    corner.problems.extend(_trial_problems(valid, corner.tree, corner.trial, base_place))
        known = {(problem.place, problem.key) for problem in problems}
        problems += [each for each in _located(corners, nodes) if (each.place, each.key) not in known]
        reached += corners
    if valid is not None:
        if valid.objective.metric in registries.metrics():
            scored = _score_problems(base, reached, valid.objective.metric, base_place)
            problems += {(each.place, each.key): each for each in scored}.values()
        if isinstance(valid.search.sampler, GridSearch):
            problems += _grid_problems(valid, nodes)
    return problems


def _corner_trial(base: Tree, nodes: Sequence[Node], picker: RangeCorner, default_place: str) -> _CornerTrial:
    walked = list(walk(nodes, picker))
    branches = frozenset(
        f"{node.name.partition('@')[0]} = {branch.label}" for node, branch in walked if isinstance(node, Conditional)
    )
    met = {node.key: (node, value) for node, value in walked if not isinstance(node, Conditional)}
    tree = _overridden(base, met)
    trial, problems = check_trial(tree, default_place)
    return _CornerTrial(met, branches, tree, trial, problems)


def _overridden(base: Tree, met: Mapping[str, tuple[Node, Any]]) -> Tree:
    values = {key: value for key, (_, value) in met.items()}
    return override_all(base, values, {key: node.place for key, (node, _) in met.items()})


def _located(corners: Sequence[_CornerTrial], nodes: Sequence[Node]) -> Iterator[Problem]:
    """The problems of all corners, each once."""
    seen: dict[Problem, list[frozenset[str]]] = {}
    for corner in corners:
        for problem in corner.problems:
            seen.setdefault(problem, []).append(corner.branches)
    for problem, occurrences in seen.items():
        common = sorted(each for each in frozenset.intersection(*occurrences) if not _says(problem.key, each))
        where = f" [where {', '.join(common)}]" if common and len(occurrences) < len(corners) else ""
        yield Problem(problem.place, problem.key, problem.message + where + _hint(problem, nodes))


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


def _says(key: str, branch: str) -> bool:
    """Whether a problem's key is inside of the choice that a branch belongs to, so that its line shows the branch."""
    return key.startswith(branch.partition(" = ")[0].removesuffix(".kind"))


def _hint(problem: Problem, nodes: Sequence[Node]) -> str:
    """What helps if a number is wrong that lies inside of a range."""
    for picker in pickers(nodes):
        for node, _ in walk(nodes, picker):
            if isinstance(node, Range) and node.integer and (node.key, node.place) == (problem.key, problem.place):
                beside = node.low + (node.step or 1)
                if node.low < beside < node.high and problem.message.startswith(f"{beside} "):
                    return "; give the range a step, or list the values in a choice"
    return ""


def _objective_problems(tree: Tree, sections: _Sections | None, default_place: str) -> Iterator[Problem]:
    metrics, key = registries.metrics(), "objective.metric"
    section = tree.get("objective")
    metric = section.get("metric") if isinstance(section, Tree) else None
    if isinstance(metric, str) and metric not in metrics:
        yield Problem(place_of(tree, key.split("."), default_place), key, unknown(metric, "a metric", metrics.kinds()))
    elif sections is not None:
        metric, mode = sections.objective.metric, sections.objective.mode
        right = metrics[metric].mode
        if mode != right:
            better = "lower" if right == "min" else "higher"
            message = f"{mode!r} would look for the worst, as {metric} is better the {better}; set {right}"
            yield sections.problem("objective.mode", message)


def _trial_problems(sections: _Sections, corner: Tree, trial: TrialConfig, base_place: str) -> Iterator[Problem]:
    """Where the sections of a sweep do not suit a trial."""
    values = trial.flat()
    metrics, metric = values["evaluation.metrics"], sections.objective.metric
    if metric in registries.metrics() and metric not in metrics:
        reason = metric_refusal(trial, metric) or f"is not evaluated; add it to evaluation.metrics ({listed(metrics)})"
        yield sections.problem("objective.metric", f"{metric!r} {reason}")
    workers, size = sections.resources.workers, values["training.batch_size"]
    if size % workers:
        place = place_of(corner, ["training", "batch_size"], base_place)
        yield Problem(place, "training.batch_size", f"{size} is not divisible by resources.workers ({workers})")
    grace, images = getattr(sections.search.scheduler, "grace", None), values["training.images"]
    if grace is not None and grace > images:
        yield sections.problem("search.scheduler.grace", f"{grace} is more than training.images ({images})")


def _score_problems(base: Tree, corners: Sequence[_CornerTrial], metric: str, base_place: str) -> Iterator[Problem]:
    """The keys of a space that change what a score of the metric is a score of, so that trials could not be ranked."""
    valid = [(corner, corner.trial) for corner in corners if corner.trial is not None]
    if not valid:
        return
    first, identities = valid[0][0], identities_of(valid[0][1], metric)

    def differences(keys: Sequence[str], other: _CornerTrial) -> list[str]:
        """How the identity changes if these keys of the first trial are as in another one."""
        kept = {key: item for key, item in first.met.items() if key not in keys}
        tree = _overridden(base, kept | {key: other.met[key] for key in keys if key in other.met})
        trial, _ = check_trial(tree, base_place)
        pairs = [] if trial is None else zip(identities, identities_of(trial, metric), strict=True)
        return [how for mine, theirs in pairs for how in mine.differences(theirs)]

    for other, trial in valid[1:]:
        if identities_of(trial, metric) == identities:
            continue
        changed = [key for key in {**first.met, **other.met} if first.met.get(key) != other.met.get(key)]
        for section in dict.fromkeys(key.partition(".")[0] for key in changed):
            keys = [key for key in changed if key.partition(".")[0] == section]
            if how := differences(keys, other):
                # A setting that cannot be changed alone, such as a kind, is blamed as the first of its section.
                for key in [key for key in keys if differences([key], other)] or keys[:1]:
                    node, value = (other.met if key in other.met else first.met)[key]
                    message = (
                        f"with {show(value)} a score of {metric} cannot be compared with those of other trials "
                        f"(different {how[0].partition(':')[0]}); take one value, or make a sweep of each"
                    )
                    yield Problem(node.place or base_place, key, message)


def _grid_problems(sections: _Sections, nodes: Sequence[Node]) -> Iterator[Problem]:
    count = combinations(nodes)
    if count is None:
        message = "a grid needs a finite space; give every range of floats a step, or take sampler tpe or random"
        yield sections.problem("search.sampler", message)
    elif sections.search.trials > count:
        message = f"{sections.search.trials} is more than the {count} combinations of the grid; set {count} or fewer"
        yield sections.problem("search.trials", message)
