"""Check a sweep before it runs: build real trials at the corners of its space."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from gensweep.config import registries
from gensweep.config.checks import metric_refusal, setting
from gensweep.config.problems import Problem, listed, show, valid
from gensweep.config.ranges import Choices, Node, Range, every_node, flat_spaces
from gensweep.config.schema import validate
from gensweep.config.search_checks import (
    named_metrics,
    objective_problems,
    queue_problems,
    sampler_problems,
    scheduler_problems,
    uncloned_nodes,
)
from gensweep.config.search_space import parse_space
from gensweep.config.sweep_config import BUDGETED_KEYS, SweepConfig
from gensweep.config.tree import Tree, clone, flatten, override_all, path_of, place_of
from gensweep.config.trial_config import TrialConfig, check_trial, load_plugins, sections_by_family, written_plugins

if TYPE_CHECKING:
    from gensweep.results import Identity
    from gensweep.training.settings import EvaluationSettings


#: Settings of `evaluation` for scores during training.
COURSE_KEYS = ("every", "at")


@dataclass(frozen=True)
class _Corner:
    """A trial at, or next to, a corner of a space: its settings and their places, and the trial or its problems."""

    settings: Mapping[str, Any]
    places: Mapping[str, str]
    branches: frozenset[str]
    tree: Tree
    trial: TrialConfig | None
    problems: list[Problem]


def checked_sweep(values: Mapping[str, Any]) -> SweepConfig:
    """The sweep of a nested mapping, its search space included.  Raises ConfigError with all problems."""
    return valid(*check_sweep(clone(values)))


def check_sweep(tree: Tree, default_place: str = "") -> tuple[SweepConfig | None, list[Problem]]:
    """The sweep of a tree, or all its problems, including those at the corners of its space."""
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
        if trial is None or path[0] in SweepConfig.model_fields:
            return Problem(place_of(tree, path, default_place), key, message)
        return Problem(place_of(trial, path, base_place), key, message)

    base_place = place_of(tree, ["base"], default_place)
    if config is not None:
        config = _with_plugins(config, written_plugins(written))
        problems += _length_problems(config, written, nodes, base_place)
        base = override_all(written, config.settings_of_all())
    problems += [located(*each) for each in objective_problems(tree, config)]
    corners: dict[str, _Corner] = {}
    extremes: list[_Corner] = []
    for nearby in (False, True):
        found = list(_corners(nodes, base, base_place, corners, nearby=nearby))
        for corner in found:
            if config is not None and corner.trial is not None:
                wrong = (*_trial_problems(config, corner.trial), *_final_problems(config, corner.tree))
                corner.problems.extend(located(*each, corner.tree) for each in wrong)
        reported = {(problem.place, problem.key) for problem in problems}
        problems += [each for each in _merged(found) if (each.place, each.key) not in reported]
        extremes = extremes or found
    if config is not None:
        valid = [(corner, corner.trial) for corner in corners.values() if corner.trial is not None]
        config = _with_plugins(config, [name for _, trial in valid for name in trial.plugins])
        config._written_base = written
        config._corners = tuple(
            each.trial.model_copy(update={"plugins": config.plugins}) for each in extremes if each.trial is not None
        )
        mixed = _identity_problems(config, valid, base_place)
        problems += {(each.place, each.key): each for each in mixed}.values()
        for check in (sampler_problems, scheduler_problems):
            problems += [located(*each) for each in check(config, nodes)]
        problems += [Problem(node.place or default_place, node.key, why) for node, why in uncloned_nodes(config, nodes)]
        problems += [
            located("observers", f"{kind} needs a package of that name; run: pip install 'gensweep[{kind}]'")
            for kind in config.observers
            if importlib.util.find_spec(kind) is None
        ]
        known = {key for _, trial in valid for key in trial.flat()}
        problems += [located(*each) for each in (queue_problems(config, nodes, known) if not problems else ())]
    return (None if problems else config), problems


def _with_plugins(config: SweepConfig, more: Iterable[str]) -> SweepConfig:
    return config.model_copy(update={"plugins": tuple(dict.fromkeys([*config.plugins, *more]))})


def _corners(
    nodes: Sequence[Node], base: Tree, base_place: str, known: dict[str, _Corner], *, nearby: bool
) -> Iterator[_Corner]:
    """New corners of a space, or trials next to them, that are not in `known`; adds them to it."""
    for space in flat_spaces(nodes):
        places = {leaf.key: leaf.place for leaf in space.leaves}
        for high in (False, True):
            corner = space.corner(high=high)
            for settings in [corner | each for each in _nearby(space.leaves)] if nearby else [corner]:
                if (name := json.dumps(settings, sort_keys=True)) not in known:
                    tree = override_all(base, settings, places)
                    checked = check_trial(tree, base_place)
                    known[name] = _Corner(settings, places, space.branches, tree, *checked)
                    yield known[name]


def _nearby(leaves: Iterable[Node]) -> Iterator[dict[str, Any]]:
    """Each range at its ends and one step above the low one, to catch required multiples; and each choice."""
    for leaf in leaves:
        if isinstance(leaf, Range):
            nearby = [min(leaf.low + (leaf.step or 1), leaf.high)] if leaf.integer else []
            yield from ({leaf.key: value} for value in (leaf.low, leaf.high, *nearby))
        elif isinstance(leaf, Choices):
            yield from ({leaf.key: value} for value in leaf.values)


def _length_problems(config: SweepConfig, base: Tree, nodes: Sequence[Node], base_place: str) -> Iterator[Problem]:
    """Settings that determine the length of a training, besides the sweep's budget; null does not."""
    if config.budget is None:
        return
    written = [(key, place_of(base, key.split("."), base_place), value) for key, value in flatten(base)]
    written += [(node.key, node.place, getattr(node, "value", node)) for node in every_node(nodes)]
    for key, place in {key: place for key, place, value in written if value is not None}.items():
        if key in BUDGETED_KEYS:
            yield Problem(place, key, "is determined by the sweep's budget; remove it, or remove budget")
        if key == "evaluation.every" and config.budget.unit != "images":
            yield Problem(
                place,
                key,
                f"counts images, but with a budget of {config.budget.unit} trials differ in images; remove "
                "it, or set shares of a training instead, such as evaluation.at: [0.5]",
            )


def _merged(corners: Sequence[_Corner]) -> Iterator[Problem]:
    """Problems of all corners, each once, with its branches unless all branches have it."""
    seen: dict[Problem, list[frozenset[str]]] = {}
    for corner in corners:
        for problem in corner.problems:
            seen.setdefault(problem, []).append(corner.branches)
    for problem, occurrences in seen.items():
        message = problem.message
        # A key inside the choice already shows its branch by its line.
        common = sorted(
            branch
            for branch in frozenset.intersection(*occurrences)
            if not problem.key.startswith(branch.partition(" = ")[0].removesuffix(".kind"))
        )
        if common and len(occurrences) < len(corners):
            message += f" [where {', '.join(common)}]"
        yield Problem(problem.place, problem.key, message)


def _trial_problems(config: SweepConfig, trial: TrialConfig) -> Iterator[tuple[str, str]]:
    """Sections of a sweep that do not suit a trial."""
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
    grace, images = config.search.first_rung, setting(trial, "training.images")
    budget, name = (images, "training.images") if config.budget is None else (config.budget.amount, "the budget")
    if grace is not None and grace > budget:
        key = "interval" if config.search.scheduler.kind == "pbt" else "grace"
        yield f"search.scheduler.{key}", f"{grace:g} is more than {name} ({budget:g})"


def _final_problems(config: SweepConfig, tree: Tree) -> Iterator[tuple[str, str]]:
    """Why a trial could not be scored with the sweep's final settings."""
    for key in config.final or ():
        if key in COURSE_KEYS:
            yield f"final.{key}", "is a setting of scores during training; remove it"
    if config.final is not None:
        for problem in check_trial(override_all(tree, config.final_settings))[1]:
            key, message = (text.replace("evaluation.", "final.") for text in (problem.key, problem.message))
            yield key, message


def _identity_problems(
    config: SweepConfig, corners: Sequence[tuple[_Corner, TrialConfig]], base_place: str
) -> Iterator[Problem]:
    """Keys of a space that change the meaning of a metric's scores, so that trials could not be ranked."""
    for metric in dict.fromkeys(metric for _, metric in named_metrics(config) if metric in registries.metrics()):
        found = [(corner, _identity(trial, metric)) for corner, trial in corners]
        for corner, identity in found:
            if identity == found[0][1]:
                continue
            # The most similar trial of another identity shows which setting makes the difference.
            others = [(_changed(corner, other), theirs) for other, theirs in found if theirs != identity]
            (key, *_), theirs = min(others, key=lambda each: len(each[0]))
            of = corner if key in corner.settings else found[0][0]
            how = next(iter(theirs.differences(identity).values()))
            message = (
                f"with {show(of.settings[key])} a score of {metric} cannot be compared with scores of other trials "
                f"(different {how.partition(':')[0]}); use one value, or run a sweep for each"
            )
            yield Problem(of.places[key] or base_place, key, message)


def _changed(one: _Corner, other: _Corner) -> list[str]:
    return [key for key in {**one.settings, **other.settings} if one.settings.get(key) != other.settings.get(key)]


def _identity(trial: TrialConfig, metric: str) -> Identity:
    """Identity of a trial's scores, with settings in place of unknown hashes."""
    evaluation: EvaluationSettings = trial.bound("evaluation")()
    return evaluation.identity(
        metric,
        trial.bound("training")(),
        extractor=setting(trial, "evaluation.extractor").model_dump_json(),
        reference=json.dumps(_reference(trial, metric, evaluation)),
        held_out=evaluation.likelihood().images,
    )


def _reference(trial: TrialConfig, metric: str, evaluation: EvaluationSettings) -> Any:
    """The settings that determine the real images or statistics of a metric."""
    kind, data = registries.metrics()[metric], trial.data.model_dump(mode="json")
    against = "train" if getattr(kind, "of_training", False) else evaluation.against
    if kind.needs == "likelihood":
        against = evaluation.likelihood().split
    if against == "whole" or (kind.needs == "likelihood" and against == "test"):
        data.pop("limit", None)
    if against.endswith("/"):
        # A folder's pictures are resized to the size of the data set.
        data = {key: data.get(key) for key in (("size", "channels") if data.get("size") else ("kind", "path"))}
    return against if against.endswith(".npz") else (against, data)
