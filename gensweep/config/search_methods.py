"""The samplers and schedulers of a search by the names of Optuna and Ray Tune, with their settings."""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, Field

Positive = Annotated[int, Field(ge=1)]
Reduction = Annotated[int, Field(ge=2, description="of the trials at a rung 1/reduction go on")]
PositiveAmount = Annotated[float, Field(gt=0)]
Share = Annotated[float, Field(ge=0, le=1)]


class FrozenSettings(BaseModel):
    """Settings that are complete, strictly typed and cannot change."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, strict=True)


class Tpe(FrozenSettings):
    """Tree-structured Parzen estimator (Optuna): learns where the good settings of each branch are."""

    kind: Literal["tpe"] = "tpe"
    startup_trials: Annotated[int, Field(ge=0, description="random trials of a branch before its model is asked")] = 20
    multivariate: Annotated[bool, Field(description="whether settings are modelled together, not each alone")] = False
    group: Annotated[
        bool, Field(description="with `multivariate`, whether parameters that only some kinds have are modelled, too")
    ] = False
    constant_liar: Annotated[
        bool, Field(description="whether running trials count as bad ones, so that new ones lie elsewhere")
    ] = True


class RandomSearch(FrozenSettings):
    """Every trial is drawn independently."""

    kind: Literal["random"] = "random"


class GridSearch(FrozenSettings):
    """Every combination once, in random order; each range needs a step, unless it is of whole numbers."""

    kind: Literal["grid"] = "grid"


class GaussianProcess(FrozenSettings):
    """Gaussian process (Optuna): for few, dear trials; learns of the parameters that all trials have."""

    kind: Literal["gp"] = "gp"
    startup_trials: Annotated[Positive, Field(description="random trials before the model is asked")] = 10


class CmaEs(FrozenSettings):
    """Covariance matrix adaptation (Optuna): for two ranges or more, without choices."""

    kind: Literal["cmaes"] = "cmaes"
    startup_trials: Annotated[Positive, Field(description="random trials before the first generation")] = 1


class Nsga2(FrozenSettings):
    """Genetic algorithm NSGA-II (Optuna): generations of trials, each bred from the best so far."""

    kind: Literal["nsga2"] = "nsga2"
    population: Annotated[int, Field(ge=2, description="trials of a generation; the first one is random")] = 10


class _Scheduler(FrozenSettings):
    """What ends trials, lets them wait or changes them."""

    @property
    def going_on(self) -> float:
        """About which share of what paused trials have left will be trained."""
        return 1.0


class _OnRungs(_Scheduler):
    """A scheduler that first looks at a trial once it has spent `grace`."""

    grace: Annotated[
        PositiveAmount | None,
        Field(description="spent before the first rung, in the unit of the budget; null: until the first evaluation"),
    ] = None

    @property
    def first_rung(self) -> float | None:
        """After what a trial is looked at first, in the unit of the budget; None: after its first evaluation."""
        return self.grace


class AshaSettings(_OnRungs):
    """Asynchronous successive halving on the budget: the best 1/reduction at a rung go on, others wait."""

    kind: Literal["asha"] = "asha"
    reduction: Reduction = 3
    by_family: Annotated[
        bool,
        Field(description="whether trials are compared with those of their family alone, for a verdict on families"),
    ] = False

    @property
    def going_on(self) -> float:
        """Most that wait do so to the end."""
        return 0.0


class HyperBand(_OnRungs):
    """HyperBand (Tune): trials of a bracket wait for each other at each rung, then the best 1/reduction go on."""

    kind: Literal["hyperband"] = "hyperband"
    reduction: Reduction = 3

    @property
    def going_on(self) -> float:
        """That of those who go on from the next rung, at most."""
        return 1 / self.reduction


class MedianStopping(_OnRungs):
    """Median stopping rule (Tune): a trial ends whose best score is worse than the median of the others' means."""

    kind: Literal["median"] = "median"
    min_trials: Annotated[Positive, Field(description="other trials that must have come as far")] = 3


class PopulationBasedTraining(_Scheduler):
    """Population based training (Tune): the worst go on from checkpoints of the best, with settings perturbed."""

    kind: Literal["pbt"] = "pbt"
    interval: Annotated[
        PositiveAmount | None,
        Field(
            description="spent between two perturbations, in the unit of the budget; null: until the first evaluation"
        ),
    ] = None
    quantile: Annotated[
        float, Field(gt=0, le=0.5, description="share of trials that are replaced, and share that they are cloned from")
    ] = 0.25
    resample: Annotated[Share, Field(description="how often a setting is drawn anew, and not perturbed")] = 0.25
    factors: Annotated[
        tuple[PositiveAmount, PositiveAmount], Field(description="a perturbed number is multiplied by one of these")
    ] = (0.8, 1.2)

    @property
    def first_rung(self) -> float | None:
        """After what trials are perturbed first, in the unit of the budget; None: after their first evaluation."""
        return self.interval


class Fifo(_Scheduler):
    """Every trial runs to its end."""

    kind: Literal["fifo"] = "fifo"

    @property
    def first_rung(self) -> float | None:
        """None: no trial is ever stopped."""
        return None


Sampler: TypeAlias = Tpe | RandomSearch | GridSearch | GaussianProcess | CmaEs | Nsga2
Scheduler: TypeAlias = AshaSettings | HyperBand | MedianStopping | PopulationBasedTraining | Fifo
