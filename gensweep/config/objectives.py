"""What trials are searched for, and the limits within which: scores by their metrics, costs by their names."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from gensweep.config.search_methods import FrozenSettings

#: A limit so small is none that anything is in proportion to.
NEXT_TO_NOTHING = 1e-12


class Objective(FrozenSettings):
    """The metric by which trials are ranked; of a list, the first one, and the others make the Pareto front."""

    metric: Annotated[
        str, Field(description="one of evaluation.metrics; behind the first of a list also a cost, as sample_flops")
    ] = "fd"
    mode: Annotated[Literal["min", "max"], Field(description="which is better: less (min) or more (max)")] = "min"


class Constraint(FrozenSettings):
    """A limit: a trial that breaks it is not the best one while another meets all limits."""

    metric: Annotated[str, Field(description="one of evaluation.metrics, or a cost, as params")]
    min: Annotated[float | None, Field(description="the least; null: no limit")] = None
    max: Annotated[float | None, Field(description="the most; null: no limit")] = None

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
        """By how much a value lies outside, in parts of the limit that is nearest; not positive if it lies inside."""
        above = -1.0 if self.max is None else (value - self.max) / _size(self.max)
        below = -1.0 if self.min is None else (self.min - value) / _size(self.min)
        return max(above, below)

    def words(self, value: float) -> str:
        """What is wrong with a value that lies outside."""
        if self.max is not None and value > self.max:
            return f"{self.metric} {value:,.6g} is more than {self.max:,.6g}"
        return f"{self.metric} {value:,.6g} is less than {self.min:,.6g}"


def _size(limit: float) -> float:
    """What excesses over a limit are counted in: the limit, unless that is next to nothing."""
    return abs(limit) if abs(limit) > NEXT_TO_NOTHING else 1.0
