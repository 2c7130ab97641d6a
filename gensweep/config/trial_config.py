"""TrialConfig: all settings of one training, validated and frozen.

`plugins` are imported first.  All trials have the sections `seed`, `data`, `family`, `start`, `training` and
`evaluation`; the family adds others.  Each keyword-only parameter of its registered class that is a `Choice` or a
`Section` is a section of the trial, and each plain one is a key of `family`.
"""

from __future__ import annotations

import contextlib
import functools
import inspect
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, ClassVar, cast

from annotated_types import doc
from pydantic import BeforeValidator, ConfigDict, Field, PrivateAttr, create_model

from gensweep import plugins
from gensweep.config import registries
from gensweep.config.checks import cross_checks, key_of, metric_checks
from gensweep.config.models import FrozenSettings, Settings, bind, functions_of, model_field, names, settings_model
from gensweep.config.problems import Problem, listed, valid
from gensweep.config.schema import Shape, validate
from gensweep.config.tree import SECTIONS_OF_EVERY_TRIAL, Tree, clone, flatten, override_all, place_of
from gensweep.errors import ConfigError, ParameterError
from gensweep.registry import Choice, Keyword, Section, cached_until_registered, keywords

Seed = Annotated[int, Field(ge=0, lt=2**63, description="seed of all random numbers of the training")]
PluginNames = Annotated[
    tuple[str, ...],
    BeforeValidator(names),
    Field(description="modules (my_package.schedules) or files (mine.py) that register your own kinds"),
]


class TrialConfig(FrozenSettings):
    """One training run: frozen, complete with every default."""

    model_config = ConfigDict(use_attribute_docstrings=False)
    title: ClassVar[str] = "a trial"
    plugins: PluginNames = ()
    seed: Seed = 0
    data: Settings
    family: Settings
    start: Settings
    training: Settings
    evaluation: Settings
    _written: Tree = PrivateAttr(default_factory=Tree)  # the file's or --set's values, with the line of each key

    @classmethod
    def from_dict(cls, tree: Mapping[str, Any]) -> TrialConfig:
        """Validate a nested mapping.  Raises ConfigError with all problems."""
        return valid(*check_trial(clone(tree)))

    def with_overrides(self, overrides: Mapping[str, Any]) -> TrialConfig:
        """The same trial with some dotted keys changed, as in `tree.override`, validated again."""
        return TrialConfig.from_dict(override_all(self.as_dict(), overrides))

    def as_dict(self) -> dict[str, Any]:
        """Plain nested values, fit for JSON and YAML, without empty `plugins` and a start from scratch."""
        values = self.model_dump(mode="json")
        if values["start"] == {"kind": "scratch"}:
            del values["start"]
        if not values["plugins"]:
            del values["plugins"]
        last = ("start", "training", "evaluation")
        return {name: values[name] for name in sorted(values, key=lambda name: name in last and last.index(name) + 1)}

    def flat(self) -> dict[str, Any]:
        """Every value by its dotted key."""
        return dict(flatten(self.as_dict()))

    def __eq__(self, other: object) -> bool:
        # Without the line numbers.
        return isinstance(other, TrialConfig) and self.as_dict() == other.as_dict()

    @contextlib.contextmanager
    def keys_in_errors(self) -> Iterator[None]:
        """In the context, an error about a parameter names the key of this trial that sets it, and the key's line."""
        try:
            yield
        except ParameterError as error:
            key = key_of(self, error.parameter)
            raise ConfigError(str(Problem(place_of(self._written, key.split(".")), key, error.message))) from error

    def kind(self, section: str) -> str:
        """The kind of a section, for example `kind("family")`."""
        return str(getattr(self, section).kind)

    def bound(self, section: str) -> functools.partial[Any]:
        """A section's function with its settings bound, lacking only run-time arguments; a family has its sections."""
        names = type(self).model_fields.keys() - set(SECTIONS_OF_EVERY_TRIAL) if section == "family" else ()
        return functools.partial(bind(getattr(self, section)), **{name: bind(getattr(self, name)) for name in names})

    def __reduce__(self) -> tuple[Any, ...]:
        # Classes of families are made at run time, so a pickle has the values instead.
        return TrialConfig.from_dict, (self.as_dict(),)


class _Unknown(TrialConfig):
    """A trial of unknown family: only the common sections are checked."""

    model_config = ConfigDict(extra="ignore")
    family: Any = None


@cached_until_registered
def trial_model(family: str | None) -> type[TrialConfig]:
    """The model of a family's trials; None is an unknown family, with the common sections only."""
    plugins.load_installed()  # before models list the known kinds
    hints: dict[str, Any] = {
        "data": Annotated[Any, Choice(registries.datasets(), "digits"), doc("the images to train on")],
        "start": Annotated[Any, Choice(registries.starts(), "scratch"), doc("the start of the training")],
        "training": Annotated[Any, Section(registries.training())],
        "evaluation": Annotated[Any, Section(registries.evaluation())],
    }
    fields: dict[str, Any] = {name: model_field(Keyword(hint, inspect.Parameter.empty)) for name, hint in hints.items()}
    if family is None:
        return cast(type[TrialConfig], create_model("AnyTrial", __base__=_Unknown, **fields))
    cls = registries.families()[family]
    fields |= {name: model_field(keyword) for name, keyword in keywords(cls).items() if keyword.mark is not None}
    fields["family"] = (settings_model(cls, family, sections=False), Field(description="the kind of model"))
    model = create_model(f"{family.title()}Trial", __base__=TrialConfig, __doc__=f"A {family} trial.", **fields)
    model.title = f"a {family} trial"
    return cast(type[TrialConfig], model)


def check_trial(tree: Tree, default_place: str = "") -> tuple[TrialConfig | None, list[Problem]]:
    """The trial of a tree, or all its problems; those between values come last."""
    if problems := load_plugins(tree, default_place):
        return None, problems
    unknown_family = _family_problem(tree, default_place)
    family, problems = (None, [unknown_family]) if unknown_family else (tree["family"]["kind"], [])
    config, more = validate(trial_model(family), tree, default_place)
    problems += [_of_other_family(each, family) for each in more]
    if config is None or family is None:
        return None, problems
    config = config.model_copy(update={"plugins": _with_used(config)})
    config._written = tree
    for key, message in cross_checks(config):
        problems.append(Problem(place_of(tree, key.split("."), default_place), key, message))
    return (None if problems else config), problems


def written_plugins(tree: Mapping[str, Any]) -> list[str]:
    """The names under `plugins` of a tree; the schema rejects anything else."""
    found = names(tree.get("plugins"))
    return [name for name in found if isinstance(name, str)] if isinstance(found, tuple) else []


def load_plugins(tree: Mapping[str, Any], default_place: str = "") -> list[Problem]:
    """Import the plug-ins of a tree, before the rest of it is read; returns the problems."""
    problems = []
    for position, name in enumerate(written_plugins(tree)):
        try:
            plugins.load(name)
        except ConfigError as error:
            problems.append(Problem(place_of(tree, ["plugins", position], default_place), "plugins", str(error)))
    return problems


def _with_used(trial: TrialConfig) -> tuple[str, ...]:
    """The plug-ins of a trial, including those loaded otherwise that provide one of its parts."""
    functions = [function for name in type(trial).model_fields for function in functions_of(getattr(trial, name))]
    metrics: tuple[str, ...] = trial.evaluation.metrics  # type: ignore[attr-defined]
    functions += [registries.metrics()[name] for name in metrics if name in registries.metrics()]
    named = [plugins.load(name) for name in trial.plugins]
    used = [plugin for function in functions if (plugin := plugins.owner(function)) is not None]
    more = [each.name for each in used if not any(plugin.covers(each) for plugin in named)]
    return tuple(dict.fromkeys([*trial.plugins, *more]))


def common_sections(tree: Mapping[str, Any]) -> TrialConfig:
    """The sections that all trials have, without a family.  Raises ConfigError with all problems."""
    config, problems = validate(trial_model(None), clone(tree))
    if config is not None:
        problems += [Problem("", key, message) for key, message in metric_checks(config)]
    return valid(config, problems)


def sections_by_family() -> dict[str, list[str]]:
    """The sections that each family adds to a trial."""
    return {
        family: [name for name in trial_model(family).model_fields if name not in SECTIONS_OF_EVERY_TRIAL]
        for family in registries.families()
    }


def _of_other_family(problem: Problem, family: str | None) -> Problem:
    """The same problem, with a hint if another family has the unknown section."""
    sections = sections_by_family()
    owners = [other for other, names in sections.items() if problem.key in names]
    if family is None or not owners or family in owners:
        return problem
    these = f"famil{'y' if len(owners) == 1 else 'ies'} {' and '.join(owners)}"
    message = f"{problem.key!r} is a section of the {these}; this trial's family is {family}"
    return Problem(problem.place, problem.key, message)


def _family_problem(tree: Tree, default_place: str) -> Problem | None:
    """The problem of a missing or unknown family."""
    families, section = registries.families(), tree.get("family")
    kind = section.get("kind") if isinstance(section, Mapping) else None
    if isinstance(kind, str) and kind in families:
        return None
    shape = Shape("family", None, dict.fromkeys(families, TrialConfig))
    message = f"is missing; write {shape.example()} (known: {listed(families)})"
    place = place_of(tree, ["family", "kind"], default_place)
    return Problem(place, "family.kind" if kind else "family", shape.refusal(section) if "family" in tree else message)
