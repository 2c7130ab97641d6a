"""Whether what a sweep searches for can be found: its objectives and limits, before any trial is looked at."""

from __future__ import annotations

from collections.abc import Iterator

from gensweep.config import registries
from gensweep.config.problems import unknown
from gensweep.config.search_methods import CmaEs, Fifo
from gensweep.config.sweep_config import SweepConfig
from gensweep.config.tree import Tree
from gensweep.results import COSTS


def objective_problems(tree: Tree, config: SweepConfig | None) -> Iterator[tuple[str, str]]:
    """What is wrong with a sweep's objectives and constraints, by key; `config` is None if that has other problems."""
    metrics, section = registries.metrics(), tree.get("objective")
    if isinstance(section, Tree) and isinstance(metric := section.get("metric"), str) and metric not in metrics:
        yield "objective.metric", unknown(metric, "a metric", metrics.kinds())
    elif config is not None:
        yield from _metric_problems(config)
        yield from _twice(config)
        yield from _search_problems(config)


def named_metrics(config: SweepConfig) -> list[tuple[str, str]]:
    """The metrics and costs that a sweep looks at, first those of its objectives, each with the key that names it."""
    several = len(config.objective) > 1
    keys = [f"objective[{position}]" if several else "objective" for position in range(len(config.objective))]
    keys += [f"constraints[{position}]" for position in range(len(config.constraints))]
    metrics = [each.metric for each in config.objective] + [each.metric for each in config.constraints]
    return [(f"{key}.metric", metric) for key, metric in zip(keys, metrics, strict=True)]


def _metric_problems(config: SweepConfig) -> Iterator[tuple[str, str]]:
    """Names that are unknown, and modes that would look for the worst."""
    metrics = registries.metrics()
    for position, (key, metric) in enumerate(named_metrics(config)):
        if metric not in metrics and metric not in COSTS:
            yield key, unknown(metric, "a metric or a cost", [*metrics.kinds(), *COSTS])
        elif metric in COSTS and position == 0:
            yield key, f"{metric!r} is a cost, but the first objective is the score that ranks; begin with a metric"
        elif position < len(config.objective):
            mode, right = config.objective[position].mode, metrics[metric].mode if metric in metrics else "min"
            if mode != right:
                better = "lower" if right == "min" else "higher"
                message = f"{mode!r} would look for the worst, as {metric} is better the {better}; set {right}"
                yield key.replace(".metric", ".mode"), message


def _twice(config: SweepConfig) -> Iterator[tuple[str, str]]:
    for name, listed in (("objective", config.objective), ("constraints", config.constraints)):
        metrics = [each.metric for each in listed]
        for position, metric in enumerate(metrics):
            if metric in metrics[:position]:
                yield f"{name}[{position}].metric", f"{metric!r} is there twice; leave one out"


def _search_problems(config: SweepConfig) -> Iterator[tuple[str, str]]:
    """What cannot search for several objectives."""
    scheduler, sampler, count = config.search.scheduler, config.search.sampler, len(config.objective)
    if count > 1 and not isinstance(scheduler, Fifo):
        yield (
            "search.scheduler",
            f"{scheduler.kind} compares trials by one score, but there are {count} objectives; set search.scheduler: "
            "{kind: fifo}",
        )
    if count > 1 and isinstance(sampler, CmaEs):
        yield "search.sampler", f"cmaes knows one objective, but there are {count}; take sampler tpe, nsga2 or gp"
