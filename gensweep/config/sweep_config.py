"""SweepConfig: the space, the search, the metric and the resources of a sweep."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, PrivateAttr, field_serializer, model_validator

from gensweep.config.models import FrozenSettings
from gensweep.config.objectives import Constraint, Objective, SearchBudget, TrialBudget
from gensweep.config.prices import Price, parse_price
from gensweep.config.ranges import Node
from gensweep.config.search_methods import (
    MOST_STARTUP_TRIALS,
    AshaSettings,
    GaussianProcess,
    GridSearch,
    Positive,
    Sampler,
    Scheduler,
    TpeByBranch,
)
from gensweep.config.search_space import parse_space
from gensweep.config.tree import Tree, clone, override_all
from gensweep.config.trial_config import PluginNames, TrialConfig, check_trial, sections_by_family
from gensweep.registry import Takes
from gensweep.results import MAX_IMAGES

#: Pattern and greatest length of a sweep's name.
NAME_CHARACTERS = "A-Za-z0-9._-"
MAX_NAME = 64
#: Settings of a trial that a budget of the sweep determines.
BUDGETED_KEYS = ("training.images", "training.device_seconds")
#: A bound that no sweep reaches.
MAX_TRIALS = 100_000
#: Trials of a search with neither a number of trials nor a budget.
DEFAULT_TRIALS = 20

ObserverKind = Literal["tensorboard", "wandb"]


class Repeats(FrozenSettings):
    """Train the best configurations again with other seeds, each to its end, once their rank is certain."""

    top: Positive = 2
    """number of the best configurations to train again"""
    seeds: Positive = 2
    """further seeds for each, besides the one of the search"""


class StopWhen(FrozenSettings):
    """End the search before its last trial."""

    expected_gain: Annotated[float, Field(gt=0, lt=1)] = 0.01
    """share by which the trials that are left must be expected to improve the best score"""


class Search(FrozenSettings):
    """How to search the space, and the budget of the search."""

    trials: Annotated[int | None, Field(ge=1, le=MAX_TRIALS)] = None
    """most trials; null: 20, or all that search.budget pays for"""
    budget: SearchBudget | None = None
    """budget of all trials together, for training and scoring; null: no limit"""
    seed: Annotated[int, Field(ge=0, lt=2**32)] = 0
    """seed of the sampler's random numbers"""
    sampler: Annotated[Sampler, Field(discriminator="kind")] = TpeByBranch()
    """the method that proposes settings"""
    scheduler: Annotated[Scheduler, Field(discriminator="kind")] = AshaSettings()
    """ends or pauses trials before their budget is spent"""
    patience: Positive | None = None
    """evaluations without a new best after which a trial ends; null: none"""
    stop_when: StopWhen | None = None
    """samples no further trials once they are expected to gain little; null: never"""
    repeats: Repeats | None = None
    """train the best configurations again with other seeds; null: do not"""
    enqueue: tuple[dict[str, Any], ...] = ()
    """settings of the first trials, by key of the space; missing ones are sampled"""
    warm_start: tuple[str, ...] = ()
    """earlier sweeps, by name or folder, whose best settings are tried first"""

    @property
    def most_trials(self) -> int:
        """Most trials."""
        return self.trials or (DEFAULT_TRIALS if self.budget is None else MAX_TRIALS)

    @property
    def first_rung(self) -> float | None:
        """The first rung, in the unit of the budget; None: the first evaluation."""
        return getattr(self.scheduler, "grace", None)

    @property
    def startup_trials(self) -> int:
        """The number of random trials before the sampler uses its model."""
        match self.sampler:
            case TpeByBranch(startup_trials=None):
                return min(MOST_STARTUP_TRIALS, self.most_trials // 4)
            case TpeByBranch(startup_trials=int(given)) | GaussianProcess(startup_trials=given):
                return given
        return 0 if isinstance(self.sampler, GridSearch) else self.most_trials

    @property
    def most_repeats(self) -> int:
        """Most trainings with other seeds."""
        return 0 if self.repeats is None else min(self.repeats.top, self.most_trials) * self.repeats.seeds


class WorkerRange(FrozenSettings):
    """A trial starts with all workers that fit at that moment; their number divides the largest one."""

    min: Positive = 1
    """the fewest workers that a trial starts with"""
    max: Positive
    """the most workers; fewer must divide this number"""

    @model_validator(mode="after")
    def _is_ordered(self) -> Self:
        if self.min > self.max:
            raise ValueError(f"takes min <= max, but got min={self.min}, max={self.max}")
        return self


def _checked_price(text: str) -> str:
    parse_price(text)
    return text


class Resources(FrozenSettings):
    """Resources of one trial, the number of concurrent trials (auto: all that fit), and limits on failures."""

    workers: Annotated[Positive | WorkerRange, Takes("a whole number >= 1 or a range such as {min: 1, max: 4}")] = 1
    """processes that train one trial together, each with its share of the batch"""
    cpus_per_worker: Annotated[float, Field(gt=0)] = 1.0
    """processor cores"""
    gpus_per_worker: Annotated[float, Field(ge=0)] = 0.0
    """GPUs; 0 trains on the CPU, a fraction shares one between trials"""
    concurrent: Positive | Literal["auto"] = "auto"
    """most trials at once; auto: all that fit the nodes"""
    cpus: Positive | None = None
    """most cores of this machine for a sweep without a cluster; null: all that other sweeps leave"""
    retries: Annotated[
        int,
        Field(
            ge=0,
            description="how often in a row, without a new checkpoint, a trial resumes after it lost its workers, or "
            "its storage or data were unreachable; a lost node does not count",
        ),
    ] = 3
    stop_after_failed: Positive | None = 3
    """consecutive trials with such failures after which the sweep stops; null: never"""
    stall_timeout: Annotated[float, Field(gt=0)] | None = 600.0
    """seconds without progress after which a trial restarts from its last checkpoint; null: never"""

    price: Annotated[str, AfterValidator(_checked_price)] | None = None
    """price of one device for an hour, such as 2.50/h or 2.50EUR/h, to show costs as money; null: unknown"""

    @property
    def known_price(self) -> Price | None:
        """The parsed price."""
        return None if self.price is None else parse_price(self.price)

    @model_validator(mode="after")
    def _has_a_gpu_for_each(self) -> Self:
        if self.worker_counts[0] > 1 and 0 < self.gpus_per_worker < 1:
            raise ValueError(
                f"takes workers=1 with a fraction of a GPU, because of NCCL, but got {self.worker_counts[0]} "
                f"with gpus_per_worker={self.gpus_per_worker:g}; give each worker a GPU, or set workers to 1"
            )
        return self

    @property
    def worker_counts(self) -> tuple[int, ...]:
        """The allowed numbers of workers, largest first; each divides the first, and so the batch."""
        if isinstance(self.workers, int):
            return (self.workers,)
        most = self.workers.max
        return tuple(count for count in range(most, 0, -1) if most % count == 0 and count >= self.workers.min)


def _as_tuple(value: Any) -> tuple[Any, ...]:
    """One objective, which is written without a list, or several."""
    if isinstance(value, list | tuple) and not value:
        raise ValueError("takes one objective or more, such as {metric: fd}")
    return tuple(value) if isinstance(value, list | tuple) else (value,)


class SweepConfig(FrozenSettings):
    """One sweep, with every default; `base` and `space` are kept as written."""

    title: ClassVar[str] = "a sweep"
    name: Annotated[str, Field(pattern=f"^[A-Za-z0-9][{NAME_CHARACTERS}]*$", max_length=MAX_NAME)]
    """name of the sweep, its folder and its experiment"""
    plugins: PluginNames = ()
    objective: Annotated[
        tuple[Objective, ...],
        BeforeValidator(_as_tuple, json_schema_input_type=Objective | tuple[Objective, ...]),
        Takes("a mapping such as {metric: fd}, or a list of them"),
    ] = (Objective(),)
    """the score that ranks trials; of a list, the first, and all make the Pareto front"""
    constraints: Annotated[tuple[Constraint, ...], Takes("a list of limits such as {metric: params, max: 2.0e+6}")] = ()
    """limits of scores and costs; a trial that is known to break one is not trained"""
    budget: TrialBudget | None = None
    """budget of each training; null: training.images decides"""
    base: dict[str, Any]
    """the configuration that all trials share"""
    space: Annotated[dict[str, Any], Field(default_factory=dict)]
    """the searched settings, by dotted key of a trial"""
    search: Search = Search()
    resources: Resources = Resources()
    observers: tuple[ObserverKind, ...] = ()
    """other programs that show each trial as a run: TensorBoard, Weights & Biases"""
    keep_best: Annotated[int, Field(ge=0)] = 3
    """number of the best trials whose best checkpoint is kept"""
    rescore: bool = True
    """at the end, score the best of several trials on fresh seeds"""
    final: Annotated[
        dict[str, Any] | None,
        Field(
            description="at the end, score the best once more with these settings of evaluation, such as {extractor: "
            "{kind: inception}, metrics: [fid], samples: 50000}; null: do not"
        ),
    ] = None
    scales: Annotated[dict[str, dict[str, Any]], Field(default_factory=dict)]
    """named sets of overrides by dotted key, for --scale NAME"""
    _written_base: Tree = PrivateAttr(default_factory=Tree)  # the base with line numbers, if read from a file
    _corners: tuple[TrialConfig, ...] = PrivateAttr(default=())

    @field_serializer("objective")
    def _as_written(self, objective: tuple[Objective, ...]) -> Any:
        listed = [each.model_dump(mode="json") for each in objective]
        return listed if len(listed) > 1 else listed[0]

    @property
    def score(self) -> Objective:
        """The first objective, which ranks trials."""
        return self.objective[0]

    def as_dict(self) -> dict[str, Any]:
        """Plain nested values; the inverse of `checked_sweep`."""
        return self.model_dump(mode="json")

    def complete(self) -> dict[str, Any]:
        """`as_dict` with the defaults of the base, if the base alone is a trial; a budget sets its length."""
        trial, _ = check_trial(override_all(self.base, self.settings_of_all()))
        if trial is None:
            return self.as_dict()
        base = trial.as_dict()
        base.pop("plugins", None)
        for key in BUDGETED_KEYS if self.budget is not None else ():
            del base["training"][key.removeprefix("training.")]
        return self.as_dict() | {"base": base}

    @property
    def final_settings(self) -> dict[str, Any]:
        """The settings for scoring the best trial at the end, by dotted key."""
        return {f"evaluation.{key}": value for key, value in (self.final or {}).items()}

    def nodes(self) -> tuple[Node, ...]:
        """The parsed search space."""
        return parse_space(clone(self.space), sections_by_family())[0]

    def trial(self, overrides: Mapping[str, Any] | None = None) -> TrialConfig:
        """The trial with these overrides of `base`, by dotted key.  A budget of FLOPs does not set its length yet."""
        base = self._written_base if self._written_base == self.base else self.base
        return TrialConfig.from_dict(override_all(base, {**(overrides or {}), **self.settings_of_all()}))

    def settings_of_all(self) -> dict[str, Any]:
        """Settings of all trials besides the base, by dotted key: plug-ins, and the length if known."""
        settings: dict[str, Any] = {"plugins": list(self.plugins)} if self.plugins else {}
        match self.budget:
            case TrialBudget(images=int(images)):
                settings["training.images"] = images
            case TrialBudget(device_seconds=float(seconds)):
                settings |= {"training.images": MAX_IMAGES, "training.device_seconds": seconds}
        return settings

    @property
    def corners(self) -> tuple[TrialConfig, ...]:
        """The largest and smallest trials of the space, in the order of `ranges.corners`, as built by the check."""
        return self._corners


def name_like(text: str, ending: str = "") -> str:
    """A name for a sweep, made from any text, such as a file name."""
    like = re.sub(f"[^{NAME_CHARACTERS}]+", "-", text).strip("-._")
    return f"{like[: MAX_NAME - len(ending)]}{ending}".strip("-._")
