"""SweepConfig: what is searched, how, by which metric, and on which resources."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal, Self, cast

from pydantic import BeforeValidator, Field, PrivateAttr, field_serializer, model_validator

from gensweep.config.objectives import Constraint, Objective
from gensweep.config.ranges import Node
from gensweep.config.search_methods import (
    AshaSettings,
    FrozenSettings,
    Positive,
    PositiveAmount,
    Sampler,
    Scheduler,
    Tpe,
)
from gensweep.config.search_space import parse_space
from gensweep.config.tree import Tree, clone, override_all
from gensweep.config.trial_config import PluginNames, TrialConfig, check_trial, sections_by_family
from gensweep.registry import Takes
from gensweep.results import MAX_IMAGES, Unit

#: What the name of a sweep is made of, and how long it may be.
NAME_START = "A-Za-z0-9"
NAME_CHARACTERS = f"{NAME_START}._-"
MAX_NAME = 64
#: The settings of a trial that follow from a budget of the sweep, if there is one.
BUDGETED_KEYS = ("training.images", "training.device_seconds")
#: More trials than anybody can pay for.
MAX_TRIALS = 100_000
#: Trials of a search that says neither how many nor what they may cost.
DEFAULT_TRIALS = 20
SECONDS_PER_HOUR = 3600.0
#: More failures in a row, each a start of new processes, than anybody would wait for.
MAX_RETRIES = 1000
#: More processors or GPUs than a machine has.
MAX_DEVICES = 10_000


ObserverKind = Literal["tensorboard", "wandb"]


class _Amount(FrozenSettings):
    """An amount in one of several units: exactly one field is given."""

    @model_validator(mode="after")
    def _is_one(self) -> Self:
        given = [name for name, value in self if value is not None]
        if len(given) != 1:
            names = ", ".join(type(self).model_fields)
            found = f"{' and '.join(given)} are given" if given else "nothing is given"
            example = (given or list(type(self).model_fields))[0]
            raise ValueError(f"takes exactly one of {names}, but {found}; write it like {{{example}: 20000}}")
        return self

    @property
    def _given(self) -> tuple[str, float]:
        return next((name, value) for name, value in self if value is not None)


class TrialBudget(_Amount):
    """What each training of a sweep spends: training images, FLOPs of training, or its seconds times devices."""

    images: Annotated[
        int | None, Field(ge=1, le=MAX_IMAGES, description="training images, counted over all workers")
    ] = None
    flops: Annotated[
        PositiveAmount | None,
        Field(description="floating point operations, forward and backward, of all networks of the family"),
    ] = None
    device_seconds: Annotated[PositiveAmount | None, Field(description="seconds of training, times devices")] = None

    @property
    def unit(self) -> Unit:
        """In what it is counted."""
        return cast(Unit, self._given[0])

    @property
    def amount(self) -> float:
        """How much."""
        return self._given[1]


class SearchBudget(_Amount):
    """What all trials of a sweep together may spend, on training and on scoring."""

    flops: Annotated[PositiveAmount | None, Field(description="floating point operations")] = None
    device_hours: Annotated[PositiveAmount | None, Field(description="hours, times devices")] = None

    @property
    def unit(self) -> Unit:
        """In what it is counted."""
        return "flops" if self.device_hours is None else "device_seconds"

    @property
    def amount(self) -> float:
        """How much, in its unit."""
        return self._given[1] * (1.0 if self.device_hours is None else SECONDS_PER_HOUR)


class Repeats(FrozenSettings):
    """The best configurations are trained again with other seeds, each to its end, once their place is certain."""

    top: Annotated[Positive, Field(description="how many of the best configurations are trained again")] = 2
    seeds: Annotated[Positive, Field(description="trainings with other seeds, beside the one of the search")] = 2


class Search(FrozenSettings):
    """How the space is searched, and what the search may cost."""

    trials: Annotated[
        int | None,
        Field(
            ge=1,
            le=MAX_TRIALS,
            description=f"trials at most; null: {DEFAULT_TRIALS}, or as many as search.budget pays for",
        ),
    ] = None
    budget: Annotated[
        SearchBudget | None,
        Field(description="what all trials together may spend, on training and on scoring; null: no limit"),
    ] = None
    seed: Annotated[int, Field(ge=0, lt=2**32, description="from which the sampler's random numbers follow")] = 0
    sampler: Annotated[Sampler, Field(discriminator="kind", description="what proposes the settings of trials")] = Tpe()
    scheduler: Annotated[
        Scheduler, Field(discriminator="kind", description="what ends or changes trials before their budget is spent")
    ] = AshaSettings()
    patience: Annotated[
        Positive | None, Field(description="evaluations without a new best after which a trial ends; null: none")
    ] = None
    repeats: Annotated[
        Repeats | None, Field(description="train the best configurations again with other seeds; null: do not")
    ] = None
    enqueue: Annotated[
        tuple[dict[str, Any], ...],
        Field(description="settings of the first trials, by key of the space; those that are left out are drawn"),
    ] = ()

    warm_start: Annotated[
        tuple[str, ...],
        Field(
            description="earlier sweeps, by name or folder: scores of trainings that this one would repeat are known "
            "from the start, and the best settings of others come first"
        ),
    ] = ()

    @property
    def most_trials(self) -> int:
        """How many trials are drawn at most."""
        return self.trials or (DEFAULT_TRIALS if self.budget is None else MAX_TRIALS)

    @property
    def most_repeats(self) -> int:
        """How many trainings with other seeds follow at most."""
        return 0 if self.repeats is None else min(self.repeats.top, self.most_trials) * self.repeats.seeds


class WorkerRange(FrozenSettings):
    """As many workers as there is a place for when they start; fewer than the largest number divide it."""

    min: Annotated[Positive, Field(description="the fewest that a trial starts with")] = 1
    max: Annotated[Positive, Field(description="the most; fewer must divide this number")]

    @model_validator(mode="after")
    def _is_ordered(self) -> Self:
        if self.min > self.max:
            raise ValueError(f"takes min <= max, but got min={self.min}, max={self.max}")
        return self


class Resources(FrozenSettings):
    """What one trial takes, how many run at once at most (auto: as many as the nodes hold), and what failures do."""

    workers: Annotated[
        Positive | WorkerRange,
        Takes("a whole number >= 1 or a range such as {min: 1, max: 4}"),
        Field(description="processes that train one trial together, each with its share of the batch"),
    ] = 1
    cpus_per_worker: Annotated[float, Field(gt=0, le=MAX_DEVICES, description="processor cores")] = 1.0
    gpus_per_worker: Annotated[
        float,
        Field(ge=0, le=MAX_DEVICES, description="GPUs; 0 trains on processors, a fraction shares one between trials"),
    ] = 0.0
    concurrent: Annotated[
        Positive | Literal["auto"],
        Field(description="trials that run at once at most; auto: as many as the nodes hold"),
    ] = "auto"
    cpus: Annotated[
        Positive | None,
        Field(
            description="how many cores of this machine a sweep without a cluster may use; null: all that others leave"
        ),
    ] = None
    retries: Annotated[
        int,
        Field(
            ge=0,
            le=MAX_RETRIES,
            description="how often in a row, without a new checkpoint, a trial goes on after it lost its workers, or "
            "its storage or data were away; a lost node does not count",
        ),
    ] = 3
    stop_after_failed: Annotated[
        Positive | None,
        Field(description="trials in a row that fail for such a cause, after which the sweep stops; null: never"),
    ] = 3

    @model_validator(mode="after")
    def _has_a_gpu_for_each(self) -> Self:
        if self.worker_counts[0] > 1 and 0 < self.gpus_per_worker < 1:
            raise ValueError(
                f"takes workers=1 with a part of a GPU, as NCCL joins no two on one, but got {self.worker_counts[0]} "
                f"with gpus_per_worker={self.gpus_per_worker:g}; give each worker a GPU, or set workers to 1"
            )
        return self

    @property
    def worker_counts(self) -> tuple[int, ...]:
        """How many workers a trial may have, the most first; each divides the first, and so the batch."""
        if isinstance(self.workers, int):
            return (self.workers,)
        most = self.workers.max
        return tuple(count for count in range(most, 0, -1) if most % count == 0 and count >= self.workers.min)


#: The settings of a trial that may say `auto`, by the field that says what it means.
AUTO_KEYS = {
    "precision": "training.precision",
    "memory_format": "training.memory_format",
    "sampling_precision": "family.sampling_precision",
}


class FastestFormats(FrozenSettings):
    """What `auto` means in a family's trials: measured once, as the sweep starts, and kept with it."""

    precision: Annotated[Literal["float32", "bfloat16"], Field(description="of training.precision")]
    memory_format: Annotated[Literal["channels_last", "contiguous"], Field(description="of training.memory_format")]
    sampling_precision: Annotated[Literal["float32", "bfloat16"], Field(description="of family.sampling_precision")] = (
        "float32"
    )

    def settings(self, trial: TrialConfig) -> dict[str, Any]:
        """Those of a trial that say `auto`, by dotted key, with what it means."""
        values = trial.flat()
        return {key: getattr(self, field) for field, key in AUTO_KEYS.items() if values.get(key) == "auto"}


def _as_tuple(value: Any) -> tuple[Any, ...]:
    """One objective, which is written without a list, or several."""
    if isinstance(value, list | tuple) and not value:
        raise ValueError("takes one objective or more, such as {metric: fd}")
    return tuple(value) if isinstance(value, list | tuple) else (value,)


class SweepConfig(FrozenSettings):
    """One sweep, with every default; `base` and `space` are kept as they were written."""

    title: ClassVar[str] = "a sweep"
    name: Annotated[
        str,
        Field(
            pattern=rf"^[{NAME_START}][{NAME_CHARACTERS}]*$",
            max_length=MAX_NAME,
            description="what the sweep, its folder and its experiment are called",
        ),
    ]
    plugins: PluginNames = ()
    objective: Annotated[
        tuple[Objective, ...],
        BeforeValidator(_as_tuple, json_schema_input_type=Objective | tuple[Objective, ...]),
        Takes("a mapping such as {metric: fd}, or a list of such"),
        Field(description="the score by which trials are ranked; of a list, the first, and all make the Pareto front"),
    ] = (Objective(),)
    constraints: Annotated[
        tuple[Constraint, ...],
        Takes("a list of limits such as {metric: params, max: 2.0e+6}"),
        Field(description="limits of scores and costs; what is known beforehand decides whether a trial is trained"),
    ] = ()
    budget: Annotated[
        TrialBudget | None,
        Field(description="what each training spends; null: as many images as training.images says"),
    ] = None
    base: Annotated[dict[str, Any], Field(description="the configuration that all trials share")]
    space: Annotated[
        dict[str, Any], Field(default_factory=dict, description="what is searched, by dotted key of a trial")
    ]
    search: Search = Search()
    resources: Resources = Resources()
    observers: Annotated[
        tuple[ObserverKind, ...],
        Field(description="other programs in which each trial is a run, beside MLflow: TensorBoard, Weights & Biases"),
    ] = ()
    keep_best: Annotated[int, Field(ge=0, description="trials whose best checkpoint is kept")] = 3
    rescore: Annotated[bool, Field(description="at the end, score the best of several trials on fresh seeds")] = True
    final: Annotated[
        dict[str, Any] | None,
        Field(
            description="at the end, score the best once more with these settings of evaluation, such as {extractor: "
            "{kind: inception}, metrics: [fid], samples: 50000}; null: do not"
        ),
    ] = None
    formats: Annotated[
        dict[str, FastestFormats],
        Field(default_factory=dict, description="by family: what `auto` means in its trials; measured at the start"),
    ]
    scales: Annotated[
        dict[str, dict[str, Any]],
        Field(default_factory=dict, description="named sets of overrides by dotted key, for --scale NAME"),
    ]
    _written_base: Tree = PrivateAttr(default_factory=Tree)  # the base with its lines, where it was read from a file

    @field_serializer("objective")
    def _as_written(self, objective: tuple[Objective, ...]) -> Any:
        listed = [each.model_dump(mode="json") for each in objective]
        return listed if len(listed) > 1 else listed[0]

    @property
    def score(self) -> Objective:
        """The objective by which trials are ranked: the first one."""
        return self.objective[0]

    def as_dict(self) -> dict[str, Any]:
        """Plain nested values; `checked_sweep` takes them back."""
        return self.model_dump(mode="json")

    def complete(self) -> dict[str, Any]:
        """`as_dict` with the defaults of the base too, where the base is a trial without the space.

        What follows from the budget is left out, as it may not be said twice.
        """
        trial, _ = check_trial(override_all(self.base, length_settings(self.budget)))
        if trial is None:
            return self.as_dict()
        base = trial.as_dict()
        for key in BUDGETED_KEYS if self.budget is not None else ():
            section, _, name = key.partition(".")
            del base[section][name]
        return self.as_dict() | {"base": base}

    @property
    def final_settings(self) -> dict[str, Any]:
        """The settings of a trial with which the best is scored at the end, by dotted key."""
        return {f"evaluation.{key}": value for key, value in (self.final or {}).items()}

    def hash(self) -> str:
        """SHA-256 of the effective values."""
        return hashlib.sha256(json.dumps(self.as_dict(), sort_keys=True).encode()).hexdigest()

    def nodes(self) -> tuple[Node, ...]:
        """The search space, read."""
        return parse_space(clone(self.space), sections_by_family())[0]

    def trial(self, overrides: Mapping[str, Any] | None = None) -> TrialConfig:
        """The trial with these overrides of `base`, by dotted key.

        How many images it sees for a budget of FLOPs is left open.  Raises ConfigError if it is not valid.
        """
        base = self._written_base if self._written_base == self.base else self.base
        changes = {**(overrides or {}), **settings_of_all(self)}
        trial = TrialConfig.from_dict(override_all(base, changes))
        formats = self.formats.get(trial.kind("family"))
        measured = {} if formats is None else formats.settings(trial)
        return TrialConfig.from_dict(override_all(base, {**changes, **measured})) if measured else trial


def name_like(text: str, ending: str = "") -> str:
    """A name of a sweep after any text, such as that of a file: what no name may hold is left out, the end stays."""
    like = re.sub(f"[^{NAME_CHARACTERS}]+", "-", text).strip("-._")
    return f"{like[: MAX_NAME - len(ending)]}{ending}".strip("-._")


def settings_of_all(sweep: SweepConfig) -> dict[str, Any]:
    """The settings that all trials of a sweep have beside its base, by dotted key: their length and their plug-ins."""
    if not sweep.plugins:
        return length_settings(sweep.budget)
    return {"plugins": list(sweep.plugins), **length_settings(sweep.budget)}


def length_settings(budget: TrialBudget | None) -> dict[str, Any]:
    """The settings of a trial that follow from its budget alone, by dotted key."""
    match budget:
        case TrialBudget(images=int(images)):
            return {"training.images": images}
        case TrialBudget(device_seconds=float(seconds)):
            return {"training.images": MAX_IMAGES, "training.device_seconds": seconds}
    return {}
