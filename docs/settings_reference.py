"""The reference of all keys of a trial and of a sweep, from the models that check them."""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Iterator

from pydantic import BaseModel

from gensweep.config import registries
from gensweep.config.problems import describe_field
from gensweep.config.schema import Shape, item_of, meaning, shape_of, summary
from gensweep.config.sweep_config import SweepConfig, WorkerRange
from gensweep.config.tree import SECTIONS_OF_EVERY_TRIAL
from gensweep.config.trial_config import trial_model

INTRODUCTION = """\
# Reference of settings

Made by `make docs` from the program itself: do not edit. Every key of a trial, by section and kind, then those of a
sweep. [sweep.md](sweep.md) explains the file and the ranges. For completion in editors, see `gensweep config schema`.

## A trial

What `gensweep train` takes, and what stands under `base` in a sweep. What is left out has its default.

| key | takes | default | meaning | families |
|---|---|---|---|---|"""
SWEEP = """
## A sweep

What `gensweep tune` takes. The amounts of a `budget` exclude each other: exactly one is given.
"""


def settings_reference() -> str:
    """The page as Markdown."""
    trial = [INTRODUCTION, *_rows_of_trials(), *_sections_of_trials()]
    sweep = [SWEEP, *_table(SweepConfig, ""), *_below(SweepConfig, "", 3, {})]
    workers = _section("resources.workers", Shape("", None, {"": WorkerRange}), 4, {})
    return re.sub(r"\n{3,}", "\n\n", "\n".join([*trial, *sweep, *workers])) + "\n"


def _trials() -> dict[str, type[BaseModel]]:
    return {family: trial_model(family) for family in registries.families()}


def _rows_of_trials() -> list[str]:
    """The keys at the top of a trial; families that do not mean the same by one have a row each."""
    families: dict[str, dict[str, list[str]]] = {name: {} for name in _keys_of_trials()}
    for family, model in _trials().items():
        for name in model.model_fields:
            families[name].setdefault(_row(model, name, name), []).append(family)
    every = len(_trials())
    return [
        f"{row} {'all' if len(having) == every else ', '.join(having)} |"
        for rows in families.values()
        for row, having in rows.items()
    ]


def _sections_of_trials() -> Iterator[str]:
    """Each section with the kinds that it has in any family."""
    seen: dict[tuple[type[BaseModel], ...], str] = {}
    for name in _keys_of_trials():
        shapes = [shape_of(model, name) for model in _trials().values() if name in model.model_fields]
        models = {kind: model for shape in shapes if shape is not None for kind, model in shape.models.items()}
        if models:
            yield from _section(name, Shape(name, None, models), 3, seen)


def _keys_of_trials() -> list[str]:
    """Those of all families, with those that only some have between `family` and the rest."""
    names = dict.fromkeys(name for model in _trials().values() for name in model.model_fields)
    after = SECTIONS_OF_EVERY_TRIAL.index("family") + 1
    own = [name for name in names if name not in SECTIONS_OF_EVERY_TRIAL]
    return [*SECTIONS_OF_EVERY_TRIAL[:after], *own, *SECTIONS_OF_EVERY_TRIAL[after:]]


def _section(path: str, shape: Shape, depth: int, seen: dict[tuple[type[BaseModel], ...], str]) -> Iterator[str]:
    """What a place takes, all kinds of it, and what is below them; once, with a link where it comes again."""
    yield f"\n{'#' * depth} {path}\n"
    models = tuple(shape.models.values())
    if models in seen:
        yield f"As for [{seen[models]}]({_anchor(seen[models])})."
        return
    seen[models] = path
    for kind, model in shape.models.items():
        if kind:
            yield f"\n{'#' * (depth + 1)} {path}: {kind}\n"
        yield _about(model)
        if any(name != "kind" for name in model.model_fields):
            yield ""
            yield from _table(model, path)
        yield from _below(model, path, depth + 1, seen)


def _below(
    model: type[BaseModel], path: str, depth: int, seen: dict[tuple[type[BaseModel], ...], str]
) -> Iterator[str]:
    for name in model.model_fields:
        item = item_of(model, name)
        shape = shape_of(model, name) if item is None else Shape(name, None, {"": item})
        if shape is not None:
            yield from _section(f"{path}.{name}".strip("."), shape, depth, seen)


def _about(model: type[BaseModel]) -> str:
    """What a section or a kind is, and where it is from."""
    source = re.search(r"Source: .*", inspect.getdoc(getattr(model, "function", model)) or "", re.DOTALL)
    words = summary(model)
    return words if source is None or "Source: " in words else f"{words} {' '.join(source[0].split())}"


def _table(model: type[BaseModel], path: str) -> Iterator[str]:
    yield "| key | takes | default | meaning |\n|---|---|---|---|"
    yield from (_row(model, name, f"{path}.{name}".strip(".")) for name in model.model_fields if name != "kind")


def _row(model: type[BaseModel], name: str, path: str) -> str:
    shape = shape_of(model, name)
    if name == "family":
        takes = "[a family](#family)"
    elif item_of(model, name) is not None:
        takes = f"[{describe_field(model.model_fields[name])}]({_anchor(path)})"
    elif shape is None:
        takes = describe_field(model.model_fields[name])
    else:
        takes = f"[{' or '.join(shape.kinds) or 'a section'}]({_anchor(path)})"
    words = re.sub(r"\bdocs/(\w+\.md)", r"[\1](\1)", meaning(model, name))
    cells = [takes, _default(model, name, shape), words]
    return f"| `{name}` | " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _default(model: type[BaseModel], name: str, shape: Shape | None) -> str:
    field = model.model_fields[name]
    if field.is_required():
        return "required"
    value = field.get_default(call_default_factory=True)
    if item_of(model, name) is not None and value:
        return "its defaults"
    if isinstance(value, BaseModel):
        kind = getattr(value, "kind", None)
        return f"`{{kind: {kind}}}`" if kind else "its defaults"
    return f"`{json.dumps(value)}`"


def _anchor(heading: str) -> str:
    """The link to a heading, as GitHub and the site name it."""
    return "#" + re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")
