"""Whether the methods of a sweep can search its space, and whether the trials that are queued lie in it."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator, Sequence, Set

from gensweep.config.points import every_node, keys_of, point_of
from gensweep.config.problems import listed, unknown
from gensweep.config.ranges import Choices, Conditional, Fixed, Node, Range, combinations
from gensweep.config.search_methods import (
    CmaEs,
    GridSearch,
    HyperBand,
    Nsga2,
    PopulationBasedTraining,
    RandomSearch,
    Tpe,
)
from gensweep.config.sweep_config import BUDGETED_KEYS, SweepConfig
from gensweep.config.tree import flatten

#: What says how long a training is, and when it is scored.
LENGTH_KEYS = (*BUDGETED_KEYS, "evaluation.every", "evaluation.at")
#: Fewer trials have no better quarter and no worse one.
MIN_POPULATION = 2


def sampler_problems(config: SweepConfig, nodes: Sequence[Node]) -> Iterator[tuple[str, str]]:
    """Why the sampler cannot search the space."""
    trials, count = config.search.most_trials, combinations(nodes)
    odd = [node.key for node in nodes if isinstance(node, Choices | Conditional)]
    match config.search.sampler:
        case Tpe(group=True, multivariate=False):
            yield "search.sampler.group", "true, but multivariate is false; write multivariate: true, or leave it out"
        case GridSearch() if any(node.prior for node in every_node(nodes) if isinstance(node, Range)):
            yield "search.sampler", "a grid takes every combination once, whatever a prior says; leave the priors out"
        case GridSearch() if count is None:
            message = "a grid needs a finite space; give every range of floats a step, or take sampler tpe or random"
            yield "search.sampler", message
        case GridSearch() if trials > (count or 0):
            yield "search.trials", f"{trials} is more than the {count} combinations of the grid; set {count} or fewer"
        case GridSearch() if config.search.warm_start:
            yield "search.warm_start", "a grid takes every combination once, whatever is known; leave it out"
        case CmaEs() if odd:
            yield "search.sampler", f"cmaes takes ranges only, but {odd[0]} is a choice; take sampler tpe or gp"
        case CmaEs() if sum(isinstance(node, Range) for node in nodes) < 2:
            yield "search.sampler", "cmaes needs two ranges or more to adapt to; take sampler tpe or gp"
        case CmaEs() if importlib.util.find_spec("cmaes") is None:
            yield "search.sampler", "cmaes needs a package of that name; run: pip install 'gensweep[cmaes]'"
        case Nsga2(population=population) if population >= trials:
            yield (
                "search.sampler.population",
                f"{population} is no less than the number of trials ({trials}), so all of them would be random; "
                "set a smaller one",
            )


def extension_problem(config: SweepConfig, nodes: Sequence[Node], trials: int) -> str | None:
    """Why a sweep cannot be extended to so many trials, if so."""
    count = combinations(nodes)
    if isinstance(config.search.scheduler, PopulationBasedTraining):
        return (
            "pbt perturbs one population from its beginning to its end, and none can join it; begin a new sweep under "
            "another --name, with a larger search.trials"
        )
    if isinstance(config.search.sampler, GridSearch) and trials > (count or 0):
        return f"that makes {trials} trials, more than the {count} combinations of the grid; extend it by fewer"
    return None


def scheduler_problems(config: SweepConfig, nodes: Sequence[Node]) -> Iterator[tuple[str, str]]:
    """Why the scheduler cannot run the trials of the space."""
    scheduler, sampler = config.search.scheduler, config.search.sampler
    if isinstance(scheduler, HyperBand) and any(node.key == "family" for node in nodes):
        yield (
            "search.scheduler",
            "hyperband compares trials of all families at early rungs, where some families are still slow; take asha "
            "or median, or make a sweep of each family",
        )
    if not isinstance(scheduler, PopulationBasedTraining):
        return
    if all(isinstance(node, Fixed) for node in nodes):
        yield "search.scheduler", "pbt needs a setting to perturb, and the space has none"
    if not isinstance(sampler, RandomSearch | GridSearch):
        yield (
            "search.sampler",
            f"pbt changes settings while it trains, from which {sampler.kind} would learn what is not so; set "
            "search.sampler: {kind: random}",
        )
    if config.search.trials is not None and config.search.trials < MIN_POPULATION:
        yield "search.trials", f"{config.search.trials} is too small a population for pbt; set {MIN_POPULATION} or more"
    if config.search.budget is not None:
        yield "search.budget", "pbt needs to know its population beforehand; leave it out, and give search.trials"
    if config.search.patience is not None:
        yield (
            "search.patience",
            "pbt trains all trials to their end, as clones begin with scores of others; leave it out",
        )
    if config.budget is not None and config.budget.unit == "device_seconds":
        yield "budget", "pbt clones trainings at equal numbers of images; give images or flops, not device_seconds"


def uncloned_nodes(config: SweepConfig, nodes: Sequence[Node]) -> Iterator[tuple[Node, str]]:
    """What a scheduler that clones trainings cannot search, and why."""
    if not isinstance(config.search.scheduler, PopulationBasedTraining):
        return
    for node in nodes:
        if isinstance(node, Conditional):
            yield (
                node,
                "pbt goes on from the weights of other trials, so it cannot search a choice of kinds "
                f"({listed(node.labels)}); take one of them, or scheduler asha",
            )
        elif node.key in LENGTH_KEYS:
            yield node, "pbt compares trials at the same points of their trainings; give it one value"


def queue_problems(config: SweepConfig, nodes: Sequence[Node], known: Set[str]) -> Iterator[tuple[str, str]]:
    """What is wrong with the trials that are queued; settings `known` to trials, but not searched, do not matter."""
    known = known | keys_of(nodes)
    told = set[str]()
    for position, settings in enumerate(config.search.enqueue):
        key, point = f"search.enqueue[{position}]", point_of(nodes, settings)
        strange = [name for name, _ in flatten(settings) if name not in known | told]
        for name in strange:
            yield f"{key}.{name}", _not_searched(name, keys_of(nodes))
        told |= {*strange}
        for name, message in point.problems:
            yield f"{key}.{name}", f"{message}; set a value of the space, or leave the trial out"
        searched = {name for name, _ in flatten(settings)} & keys_of(nodes)
        for name in sorted(searched - point.met - {name for name, _ in point.problems}):
            yield f"{key}.{name}", "is searched in another branch than this trial's; name its kind, too"
    if len(config.search.enqueue) > config.search.most_trials:
        count, trials = len(config.search.enqueue), config.search.most_trials
        words = f"{count} trials are queued, but search.trials is {trials}; raise it, or queue none: search.enqueue=[]"
        yield "search.enqueue", words


def _not_searched(name: str, keys: set[str]) -> str:
    """That a space has no such key: of its keys those of the same section are listed, else its sections."""
    section = name.partition(".")[0]
    beside = sorted(key for key in keys if key.partition(".")[0] == section)
    sections = sorted({f"{key.partition('.')[0]}..." for key in keys})
    return unknown(name, "a key of this space", sorted(keys), beside or sections)
