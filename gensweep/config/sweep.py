"""SweepConfig: what is searched, how, judged by what, and on which resources."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar

from pydantic import Field

from gensweep.config.problems import Problem
from gensweep.config.ranges import Node
from gensweep.config.schema import validate
from gensweep.config.search_space import parse_space
from gensweep.config.sections import Objective, Part, Resources, Search
from gensweep.config.sweep_checks import check_space
from gensweep.config.tree import Tree, clone, override_all
from gensweep.config.trial_config import TrialConfig, check_trial, sections_by_family
from gensweep.errors import ConfigError

__all__ = ["SweepConfig", "check_sweep"]


class SweepConfig(Part):
    """One sweep, with every default; `base` and `space` are kept as they were written."""

    title: ClassVar[str] = "a sweep"
    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", max_length=64)]
    objective: Objective = Objective()
    base: dict[str, Any]
    space: Annotated[dict[str, Any], Field(default_factory=dict)]
    search: Search = Search()
    resources: Resources = Resources()
    keep_best: Annotated[int, Field(ge=0, description="trials whose best checkpoint is kept")] = 3
    rescore: Annotated[bool, Field(description="at the end, score the best of several trials on fresh seeds")] = True
    scales: Annotated[dict[str, dict[str, Any]], Field(default_factory=dict)]

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
    base, space = tree.get("base"), tree.get("space", Tree())
    if not isinstance(base, Tree) or not isinstance(space, Tree):
        return None, problems
    nodes, more = parse_space(space, sections_by_family())
    sections = (config.objective, config.search, config.resources) if config is not None else None
    problems += more + check_space(tree, base, nodes, sections, default_place)
    return (None if problems else config), problems
