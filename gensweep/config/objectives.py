"""Objectives, limits and budgets of a search."""

from __future__ import annotations

from typing import Annotated, Literal, Self, cast

from pydantic import Field, model_validator

from gensweep.config.models import FrozenSettings
from gensweep.config.search_methods import PositiveAmount
from gensweep.results import MAX_IMAGES, Unit

SECONDS_PER_HOUR = 3600.0
#: Limits up to this size count as 0.
SMALLEST_SCALE = 1e-12


class Objective(FrozenSettings):
    """The metric that ranks trials; in a list, the first one ranks, and all make the Pareto front."""

    metric: str = "fd"
    """one of evaluation.metrics; after the first of a list also a cost, such as sample_flops"""
    mode: Literal["min", "max"] = "min"
    """which is better: less (min) or more (max)"""


class Constraint(FrozenSettings):
    """A limit: a trial that breaks it cannot be the best while another one meets all limits."""

    metric: str
    """one of evaluation.metrics, or a cost, such as params"""
    min: float | None = None
    """the lowest allowed value; null: no limit"""
    max: float | None = None
    """the highest allowed value; null: no limit"""

    @model_validator(mode="after")
    def _limits(self) -> Self:
        if self.min is None and self.max is None:
            raise ValueError(f"takes min or max; write it like {{metric: {self.metric}, max: 2.0e+6}}")
        if self.min is not None and self.max is not None and self.min > self.max:
            raise ValueError(f"takes min <= max, but got min={self.min:g}, max={self.max:g}")
        return self

    def __str__(self) -> str:
        low = "" if self.min is None else f"{self.min:,.6g} <= "
        return f"{low}{self.metric}" + ("" if self.max is None else f" <= {self.max:,.6g}")

    def excess(self, value: float) -> float:
        """The distance to the nearest limit, relative to it unless it is about 0; positive if the limit is broken."""
        above = -1.0 if self.max is None else (value - self.max) / _scale(self.max)
        below = -1.0 if self.min is None else (self.min - value) / _scale(self.min)
        return max(above, below)

    def format_violation(self, value: float) -> str:
        """The message for a value outside the limits."""
        if self.max is not None and value > self.max:
            return f"{self.metric} {value:,.6g} is more than {self.max:,.6g}"
        return f"{self.metric} {value:,.6g} is less than {self.min:,.6g}"


def _scale(limit: float) -> float:
    """Size of a limit, or 1 near 0, where dividing would overflow."""
    return abs(limit) if abs(limit) > SMALLEST_SCALE else 1.0


class _Amount(FrozenSettings):
    """An amount in one of several units: exactly one field is given."""

    @model_validator(mode="after")
    def _is_one(self) -> Self:
        given, known = [name for name, value in self if value is not None], list(type(self).model_fields)
        if len(given) != 1:
            found = f"{' and '.join(given)} are given" if given else "nothing is given"
            raise ValueError(f"takes exactly one of {', '.join(known)}, but {found}; write it like {{flops: 1.0e+15}}")
        return self

    @property
    def _given(self) -> tuple[str, float]:
        return next((name, value) for name, value in self if value is not None)

    @property
    def amount(self) -> float:
        """The amount, in its unit."""
        return self._given[1]


class TrialBudget(_Amount):
    """The budget of each training of a sweep: training images, FLOPs of training, or its seconds times devices."""

    images: Annotated[int | None, Field(ge=1, le=MAX_IMAGES)] = None
    """training images, counted over all workers"""
    flops: PositiveAmount | None = None
    """floating point operations, forward and backward, of all networks of the family"""
    device_seconds: PositiveAmount | None = None
    """seconds of training, times devices"""

    @property
    def unit(self) -> Unit:
        """The unit of the amount."""
        return cast(Unit, self._given[0])


class SearchBudget(_Amount):
    """The budget of all trials of a sweep together, for training and scoring."""

    flops: PositiveAmount | None = None
    """floating point operations"""
    device_hours: PositiveAmount | None = None
    """hours, times devices"""

    @property
    def unit(self) -> Unit:
        """The unit of the amount."""
        return "flops" if self.device_hours is None else "device_seconds"

    @property
    def amount(self) -> float:
        """The amount, in its unit."""
        return super().amount * (1.0 if self.device_hours is None else SECONDS_PER_HOUR)
