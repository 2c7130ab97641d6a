"""The sections of a sweep besides `base` and `space`: objective, search and resources."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

__all__ = ["AshaSettings", "Fifo", "GridSearch", "Objective", "Part", "RandomSearch", "Resources", "Search", "Tpe"]

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


class AshaSettings(Part):
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
    scheduler: Annotated[AshaSettings | Fifo, Field(discriminator="kind")] = AshaSettings()
    patience: Annotated[
        Positive | None, Field(description="evaluations without a new best after which a trial ends; null: none")
    ] = None


class Resources(Part):
    """What one trial takes, and how many run at once (null: as many as fit)."""

    workers: Positive = 1
    cpus_per_worker: Annotated[float, Field(gt=0)] = 1.0
    gpus_per_worker: Annotated[float, Field(ge=0)] = 0.0
    concurrent: Positive | None = None
