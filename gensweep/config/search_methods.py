"""The samplers and schedulers of a search, with their settings."""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias

from pydantic import Field

from gensweep.config.models import FrozenSettings

Positive = Annotated[int, Field(ge=1)]
PositiveAmount = Annotated[float, Field(gt=0)]
Grace = Annotated[
    PositiveAmount | None,
    Field(description="spent before the first rung, in the unit of the budget; null: until the first evaluation"),
]

#: Most random trials of the default sampler; experiments/search compares others.
MOST_STARTUP_TRIALS = 10


class TpeByBranch(FrozenSettings):
    """Tree-structured Parzen estimator (Optuna) in each branch of the space; branches are sampled evenly."""

    kind: Literal["tpe_by_branch"] = "tpe_by_branch"
    startup_trials: Annotated[int | None, Field(ge=0)] = None
    """random trials before the models are used; null: a quarter of search.trials, at most 10"""


class RandomSearch(FrozenSettings):
    """Every trial is sampled independently."""

    kind: Literal["random"] = "random"


class GridSearch(FrozenSettings):
    """Every combination once, in random order; each range of floats needs a step."""

    kind: Literal["grid"] = "grid"


class GaussianProcess(FrozenSettings):
    """Gaussian process (Optuna): for few, expensive trials; learns only from parameters that all trials have."""

    kind: Literal["gp"] = "gp"
    startup_trials: Positive = 10
    """random trials before the model is used"""


class AshaSettings(FrozenSettings):
    """Asynchronous successive halving: a trial pauses at each rung until it is among the best 1/reduction there."""

    kind: Literal["asha"] = "asha"
    grace: Grace = None
    reduction: Annotated[int, Field(ge=2)] = 3
    """1/reduction of the trials at a rung are promoted"""


class MedianStopping(FrozenSettings):
    """Median stopping rule: stop a trial whose best score is worse than the median of the others' running means."""

    kind: Literal["median"] = "median"
    grace: Grace = None
    min_trials: Positive = 3
    """other trials that must have reached the same point"""


class Fifo(FrozenSettings):
    """Every trial runs to its end."""

    kind: Literal["fifo"] = "fifo"


Sampler: TypeAlias = TpeByBranch | RandomSearch | GridSearch | GaussianProcess
Scheduler: TypeAlias = AshaSettings | MedianStopping | Fifo
