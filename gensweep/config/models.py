"""Turn signatures into pydantic models of a function's settings, and settings into bound functions."""

from __future__ import annotations

import functools
import inspect
import operator
from collections.abc import Callable, Iterator
from typing import Annotated, Any, ClassVar, Literal, TypeAlias, get_args

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, create_model

from gensweep.registry import Choice, Keyword, Registry, Section, cached_until_registered, keywords

Function: TypeAlias = Callable[..., Any]


class FrozenSettings(BaseModel):
    """Complete, strictly typed, frozen settings: no unknown keys, no NaN or infinity."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", allow_inf_nan=False, strict=True, use_attribute_docstrings=True
    )


class Settings(FrozenSettings):
    """The settings of one function."""

    model_config = ConfigDict(use_attribute_docstrings=False)  # made from signatures, without source
    function: ClassVar[Function]
    around: ClassVar[Function | None] = None
    title: ClassVar[str]


@cached_until_registered
def settings_model(
    function: Function, kind: str | None = None, *, sections: bool = True, around: Function | None = None
) -> type[Settings]:
    """The model of the keyword-only parameters of functions, and of a `kind`; without `sections`, of plain values."""
    fields: dict[str, Any] = {} if kind is None else {"kind": (Literal[kind], ...)}
    known = keywords(function) | (keywords(around) if around else {})
    chosen = {name: each for name, each in known.items() if sections or each.mark is None}
    fields |= {name: model_field(keyword) for name, keyword in chosen.items()}
    summary = (inspect.getdoc(function) or "").partition("\n\n")[0].replace("\n", " ")
    name = function.__name__ if kind is None else f"{function.__name__}[{kind}]"
    model: type[Settings] = create_model(name, __base__=Settings, __doc__=summary, **fields)
    model.function, model.around = function, around
    return model


def item_model(registry: Registry[Any], kind: str) -> type[Settings]:
    """The model of one item's settings, with the field `kind`."""
    model = settings_model(registry[kind], kind, around=registry.around)
    model.title = f"the {registry.noun} {kind}"
    return model


def model_field(keyword: Keyword) -> tuple[Any, Any]:
    """A parameter as a pydantic field: (type, default)."""
    mark = keyword.mark
    if isinstance(mark, Section):
        model = settings_model(mark.function)
        return model, Field(default_factory=model, description=keyword.meaning)
    if isinstance(mark, Choice):
        # A field keeps the mark, which has the registry's noun and the default kind.
        hint, registry, kind = Annotated[_union(mark.registry), mark], mark.registry, mark.default
        if kind is None:
            return hint, Field(description=keyword.meaning)
        default = functools.partial(item_model(registry, kind).model_validate, {"kind": kind})
        return hint, Field(default_factory=default, description=keyword.meaning)
    hint = Annotated[keyword.hint, BeforeValidator(names)] if _takes_names(keyword.hint) else keyword.hint
    default_value = ... if keyword.default is inspect.Parameter.empty else keyword.default
    return hint, Field(default_value, description=keyword.meaning)


def bind(settings: Settings) -> functools.partial[Any]:
    """The described function, with all settings bound, nested ones too; only run-time arguments are missing."""
    values = {name: getattr(settings, name) for name in type(settings).model_fields if name != "kind"}
    bound = {name: bind(value) if isinstance(value, Settings) else value for name, value in values.items()}
    around = type(settings).around
    own = {name: bound.pop(name) for name in (keywords(around) if around else ())}
    made = functools.partial(type(settings).function, **bound)
    if around is None:
        return made
    enclosed = functools.partial(around, made, **own)
    enclosed.__signature__ = inspect.signature(made)  # type: ignore[attr-defined]
    return enclosed


def functions_of(settings: Any) -> Iterator[Function]:
    """The functions of a section and of its nested sections."""
    if isinstance(settings, Settings):
        yield type(settings).function
        for name in type(settings).model_fields:
            yield from functions_of(getattr(settings, name))


def _union(registry: Registry[Any]) -> Any:
    """A union of the settings of all items, with `kind` as the discriminator."""
    models = [item_model(registry, kind) for kind in registry.kinds()]
    if len(models) == 1:
        return models[0]
    return Annotated[functools.reduce(operator.or_, models), Field(discriminator="kind")]


def _takes_names(hint: Any) -> bool:
    return hint == tuple[str, ...] or any(_takes_names(part) for part in get_args(hint))


def names(value: Any) -> Any:
    """Expand `classes: cat` and `classes: [3, 7]` to a list of names; other values stay."""
    value = [value] if isinstance(value, str) or type(value) is int else value
    if not isinstance(value, list | tuple):
        return value
    return tuple(str(name) if type(name) is int else name for name in value)
