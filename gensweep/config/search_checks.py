"""Check that a sweep's methods can search its space, and that queued trials fit the space."""

from __future__ import annotations

from collections.abc import Iterator, Sequence, Set

from gensweep.config import registries
from gensweep.config.problems import unknown
from gensweep.config.ranges import Conditional, Node, combinations, every_node, point_of
from gensweep.config.search_methods import GridSearch, MedianStopping
from gensweep.config.sweep_config import SweepConfig
from gensweep.config.tree import Tree, flatten
from gensweep.results import BETTER, COSTS


def objective_problems(tree: Tree, config: SweepConfig | None) -> Iterator[tuple[str, str]]:
    """Problems of objectives and constraints, by key; `config` is None if the sweep has other problems."""
    metrics, section = registries.metrics(), tree.get("objective")
    if isinstance(section, Tree) and isinstance(metric := section.get("metric"), str) and metric not in metrics:
        yield "objective.metric", unknown(metric, "a metric", metrics.kinds())
    elif config is not None:
        yield from _metric_problems(config)
        if (count := len(config.objective)) > 1 and isinstance(config.search.scheduler, MedianStopping):
            reason = f"median compares trials by one score, but there are {count} objectives"
            yield "search.scheduler", f"{reason}; set search.scheduler: {{kind: asha}}"
        if count > 1 and config.search.stop_when is not None:
            yield "search.stop_when", f"it judges one score, but there are {count} objectives; remove it"


def named_metrics(config: SweepConfig) -> list[tuple[str, str]]:
    """Metrics and costs that a sweep names, each with its key: objectives first, then constraints."""
    key = "objective[{}].metric" if len(config.objective) > 1 else "objective.metric"
    named = [(key.format(position), each.metric) for position, each in enumerate(config.objective)]
    return named + [(f"constraints[{i}].metric", each.metric) for i, each in enumerate(config.constraints)]


def _metric_problems(config: SweepConfig) -> Iterator[tuple[str, str]]:
    """Unknown or repeated names, and modes that would look for the worst."""
    metrics, seen = registries.metrics(), set[tuple[str, str]]()
    for position, (key, metric) in enumerate(named_metrics(config)):
        if (again := (key.partition("[")[0], metric)) in seen:
            yield key, f"{metric!r} is listed twice; remove one"
        seen.add(again)
        if metric not in metrics and metric not in COSTS:
            yield key, unknown(metric, "a metric or a cost", [*metrics.kinds(), *COSTS])
        elif metric in COSTS and position == 0:
            yield key, f"{metric!r} is a cost, but the first objective ranks the trials; list a metric first"
        elif position < len(config.objective):
            mode, right = config.objective[position].mode, metrics[metric].mode if metric in metrics else "min"
            if mode != right:
                message = f"{mode!r} would look for the worst, as {metric} is better the {BETTER[right]}; set {right}"
                yield key.replace(".metric", ".mode"), message


def sampler_problems(config: SweepConfig, nodes: Sequence[Node]) -> Iterator[tuple[str, str]]:
    """Why the sampler cannot search the space."""
    trials, count = config.search.most_trials, combinations(nodes)
    match config.search.sampler:
        case GridSearch() if count is None:
            message = "a grid needs a finite space; give every range of floats a step, or use another sampler"
            yield "search.sampler", message
        case GridSearch() if trials > (count or 0):
            yield "search.trials", f"{trials} is more than the {count} combinations of the grid; set {count} or fewer"
        case GridSearch() if config.search.warm_start:
            yield "search.warm_start", "a grid runs every combination once anyway; remove it"


def extension_problem(config: SweepConfig, nodes: Sequence[Node], trials: int) -> str | None:
    """Why a sweep cannot have `trials` trials in all, or None."""
    count = combinations(nodes)
    if isinstance(config.search.sampler, GridSearch) and trials > (count or 0):
        return f"that makes {trials} trials, more than the {count} combinations of the grid; add fewer"
    return None


def queue_problems(config: SweepConfig, nodes: Sequence[Node], known: Set[str]) -> Iterator[tuple[str, str]]:
    """Problems of queued trials; ignores settings that are `known` to trials but not searched."""
    every = list(every_node(nodes))
    keys = {node.key for node in every} | {f"{node.key}.kind" for node in every if isinstance(node, Conditional)}
    strange = set[str]()
    for position, settings in enumerate(config.search.enqueue):
        key, point = f"search.enqueue[{position}]", point_of(nodes, settings)
        given = [name for name, _ in flatten(settings)]
        for name in given:
            if name not in known | keys | strange:
                yield f"{key}.{name}", unknown(name, "a key of this space", sorted(keys))
        strange |= {*given} - known - keys
        for name, message in point.problems:
            yield f"{key}.{name}", f"{message}; set a value of the space, or remove the trial"
        for name in sorted({*given} & keys - point.given - {name for name, _ in point.problems}):
            yield f"{key}.{name}", "is searched in another branch than this trial's; set that branch's kind, too"
