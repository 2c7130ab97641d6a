"""SweepConfig: what is searched, how, judged by what, and on which resources."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field

from gensweep.config import registries
from gensweep.config.checks import metric_refusal
from gensweep.config.corners import check_corners
from gensweep.config.problems import Problem, listed, unknown
from gensweep.config.ranges import Node, combinations
from gensweep.config.schema import validate
from gensweep.config.space import parse_space
from gensweep.config.tree import Tree, clone, override_all, place_of
from gensweep.config.trial import TrialConfig, check_trial, sections_by_family
from gensweep.errors import ConfigError

__all__ = [
    "Asha",
    "Fifo",
    "GridSearch",
    "Objective",
    "RandomSearch",
    "Resources",
    "Search",
    "SweepConfig",
    "Tpe",
    "check_sweep",
]

Positive = Annotated[int, Field(ge=1)]


class Part(BaseModel):
    """A section of a sweep: frozen, no unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, strict=True)


class Objective(Part):
    """The metric that trials are judged by."""

    metric: str = "fd"
    mode: Literal["min", "max"] = "min"


class Tpe(Part):
    """Tree-structured Parzen estimator (Optuna): learns from finished trials where the good settings are."""

    kind: Literal["tpe"] = "tpe"
    startup_trials: Annotated[int, Field(ge=0, description="random trials before the model is asked")] = 10
    multivariate: bool = True
    group: bool = True
    constant_liar: bool = True


class RandomSearch(Part):
    """Every trial is drawn independently."""

    kind: Literal["random"] = "random"


class GridSearch(Part):
    """Every combination once, in random order; each range needs a step, unless it is of whole numbers."""

    kind: Literal["grid"] = "grid"


class Asha(Part):
    """Asynchronous successive halving on images seen: at each rung only the best 1/reduction of trials go on."""

    kind: Literal["asha"] = "asha"
    grace: Annotated[Positive | None, Field(description="images before the first rung; null: evaluation.every")] = None
    reduction: Annotated[int, Field(ge=2)] = 3


class Fifo(Part):
    """Every trial runs to its end."""

    kind: Literal["fifo"] = "fifo"


class Search(Part):
    """How the space is searched."""

    trials: Positive = 20
    seed: Annotated[int, Field(ge=0, lt=2**32)] = 0
    sampler: Annotated[Tpe | RandomSearch | GridSearch, Field(discriminator="kind")] = Tpe()
    scheduler: Annotated[Asha | Fifo, Field(discriminator="kind")] = Asha()
    patience: Annotated[
        Positive | None, Field(description="evaluations without a new best after which a trial ends; null: none")
    ] = None


class Resources(Part):
    """What one trial takes, and how many run at once (null: as many as fit)."""

    workers: Positive = 1
    cpus_per_worker: Annotated[float, Field(gt=0)] = 1.0
    gpus_per_worker: Annotated[float, Field(ge=0)] = 0.0
    concurrent: Positive | None = None


class SweepConfig(Part):
    """One sweep, with every default; `base` and `space` are kept as they were written."""

    title: ClassVar[str] = "a sweep"
    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", max_length=64)]
    objective: Objective = Objective()
    base: dict[str, Any]
    space: dict[str, Any] = {}
    search: Search = Search()
    resources: Resources = Resources()
    keep_best: Annotated[int, Field(ge=0, description="trials whose best checkpoint is kept")] = 3
    rescore: Annotated[bool, Field(description="at the end, score the best of several trials on fresh seeds")] = True
    scales: dict[str, dict[str, Any]] = {}

    @classmethod
    def from_dict(cls, tree: Mapping[str, Any]) -> SweepConfig:
        """Validate a nested mapping, its search space included.  Raises ConfigError with all problems."""
        config, problems = check_sweep(clone(tree))
        if config is None or problems:
            raise ConfigError([str(problem) for problem in problems])
        return config

    def as_dict(self) -> dict[str, Any]:
        """Plain nested values; `from_dict` takes them back."""
        return self.model_dump(mode="json")

    def complete(self) -> dict[str, Any]:
        """`as_dict` with the defaults of the base too, where the base is a trial without the space."""
        values = self.as_dict()
        trial, _ = check_trial(clone(self.base))
        return values | {"base": trial.as_dict()} if trial is not None else values

    def hash(self) -> str:
        """SHA-256 of the effective values."""
        return hashlib.sha256(json.dumps(self.as_dict(), sort_keys=True).encode()).hexdigest()

    def nodes(self) -> tuple[Node, ...]:
        """The search space, read."""
        return parse_space(clone(self.space), sections_by_family())[0]

    def trial(self, overrides: Mapping[str, Any] | None = None) -> TrialConfig:
        """The trial with these overrides of `base`, by dotted key.  Raises ConfigError if it is not valid."""
        return TrialConfig.from_dict(override_all(self.base, overrides or {}))


def check_sweep(tree: Tree, default_place: str = "") -> tuple[SweepConfig | None, list[Problem]]:
    """The sweep that a tree describes, or all its problems, those at the corners of its space included."""
    config, problems = validate(SweepConfig, tree, default_place)
    objective = tree.get("objective")
    metric = objective.get("metric") if isinstance(objective, Tree) else None
    if isinstance(metric, str) and metric not in registries.metrics():
        place = place_of(tree, ["objective", "metric"], default_place)
        problems.append(Problem(place, "objective.metric", unknown(metric, "a metric", registries.metrics().kinds())))
    elif config is not None:
        problems += _mode_problems(tree, config.objective, default_place)
    base, space = tree.get("base"), tree.get("space", Tree())
    if not isinstance(base, Tree) or not isinstance(space, Tree):
        return None, problems
    nodes, more = parse_space(space, sections_by_family())
    problems += more
    base_place = place_of(tree, ["base"], default_place)

    def check(corner: Tree, trial: TrialConfig) -> Iterator[Problem]:
        return iter(()) if config is None else _sweep_problems(tree, corner, trial, config, base_place)

    problems += check_corners(base, nodes, check, base_place)
    if config is not None and isinstance(config.search.sampler, GridSearch):
        problems += _grid_problems(tree, config, nodes, default_place)
    return (None if problems else config), problems


def _mode_problems(tree: Tree, objective: Objective, default_place: str) -> Iterator[Problem]:
    mode = registries.metrics()[objective.metric].mode
    if mode != objective.mode:
        better = "lower" if mode == "min" else "higher"
        message = (
            f"{objective.mode!r} would look for the worst, as {objective.metric} is better the {better}; set {mode}"
        )
        yield Problem(place_of(tree, ["objective", "mode"], default_place), "objective.mode", message)


def _grid_problems(tree: Tree, config: SweepConfig, nodes: Sequence[Node], default_place: str) -> Iterator[Problem]:
    count = combinations(nodes)
    if count is None:
        message = "a grid needs a finite space; give every range of floats a step, or take sampler tpe or random"
        yield Problem(place_of(tree, ["search", "sampler"], default_place), "search.sampler", message)
    elif config.search.trials > count:
        message = f"{config.search.trials} is more than the {count} combinations of the grid; set {count} or fewer"
        yield Problem(place_of(tree, ["search", "trials"], default_place), "search.trials", message)


def _sweep_problems(
    tree: Tree, corner: Tree, trial: TrialConfig, config: SweepConfig, default_place: str
) -> Iterator[Problem]:
    values = trial.flat()
    metrics = values.get("evaluation.metrics", [])
    metric = config.objective.metric
    if metric in registries.metrics() and metric not in metrics:
        reason = metric_refusal(trial, metric) or f"is not evaluated; add it to evaluation.metrics ({listed(metrics)})"
        place = place_of(tree, ["objective", "metric"], default_place)
        yield Problem(place, "objective.metric", f"{metric!r} {reason}")
    workers = config.resources.workers
    size = values.get("training.batch_size")
    if size is not None and size % workers:
        place = place_of(corner, ["training", "batch_size"], default_place)
        yield Problem(place, "training.batch_size", f"{size} is not divisible by resources.workers ({workers})")
    grace = getattr(config.search.scheduler, "grace", None)
    images = values.get("training.images")
    if grace is not None and images is not None and grace > images:
        place = place_of(tree, ["search", "scheduler", "grace"], default_place)
        yield Problem(place, "search.scheduler.grace", f"{grace} is more than training.images ({images})")
