"""Names for functions, and their settings as schemas.

A registered function's keyword-only parameters ARE the schema of its settings; its positional parameters are what the
caller knows only at run time (a number of timesteps, an image size, a device):

    SCHEDULES: Registry[Schedule] = Registry("schedule", package="gensweep.diffusion")

    @SCHEDULES.register("cosine")
    def cosine(timesteps: int, *, s: Annotated[float, Ge(0)] = 0.008) -> Tensor: ...

A parameter can itself be a registered item or a function with settings.  It is then annotated with `Choice` or
`Section`, and arrives as a function with its settings bound, ready for the run-time arguments:

    def gaussian_diffusion(*, timesteps: int = 1000, schedule: Annotated[Schedule, Choice(SCHEDULES, "linear")]):
        alpha_bar = schedule(timesteps)
"""

from __future__ import annotations

import functools
import importlib
import inspect
import operator
import pkgutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Generic, Literal, TypeVar, get_origin, get_type_hints

from pydantic import BaseModel, ConfigDict, Field, create_model

__all__ = ["Choice", "Registry", "Section", "Settings", "bind", "nested", "settings_fields", "settings_model"]

F = TypeVar("F", bound=Callable[..., Any])


class Settings(BaseModel):
    """The settings of one function: frozen, no unknown keys, no NaN or infinity."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, strict=True)
    function: ClassVar[Callable[..., Any]]


@dataclass(frozen=True)
class Choice:
    """Marks a parameter that takes one item of a registry, bound to its settings."""

    registry: Registry[Any]
    default: str | None = None


@dataclass(frozen=True)
class Section:
    """Marks a parameter that takes one given function, bound to its settings."""

    function: Callable[..., Any]


class Registry(Generic[F]):
    """Functions or classes of one sort, by kind.

    `noun` is used in messages ("'cosin' is not a schedule").  Modules of `package` are imported at the first look-up,
    so adding a file to the package is all that it takes to add an item.
    """

    def __init__(self, noun: str, *, package: str) -> None:
        self.noun = noun
        self._package = package
        self._items: dict[str, F] = {}
        self._discovered = False

    def register(self, kind: str) -> Callable[[F], F]:
        """Give a function or class its name.  Raises ValueError if the name is taken."""

        def decorate(item: F) -> F:
            if kind in self._items:
                raise ValueError(f"{self.noun} {kind!r} is registered twice: {self._items[kind]!r} and {item!r}")
            self._items[kind] = item
            return item

        return decorate

    def kinds(self) -> tuple[str, ...]:
        """All names, module by module, in order of registration."""
        self._discover()
        return tuple(self._items)

    def __getitem__(self, kind: str) -> F:
        """The item of that name.  Raises KeyError that lists the known names."""
        self._discover()
        if kind not in self._items:
            raise KeyError(f"{kind!r} is not a {self.noun} (known: {', '.join(self._items)})")
        return self._items[kind]

    def __iter__(self) -> Iterator[str]:
        return iter(self.kinds())

    def __contains__(self, kind: object) -> bool:
        return kind in self.kinds()

    def model(self, kind: str) -> type[Settings]:
        """The pydantic model of one item's settings, with the field `kind`."""
        return settings_model(self[kind], kind)

    def union(self) -> Any:
        """The type "any item's settings", told apart by `kind`, for a field of another model."""
        models = tuple(self.model(kind) for kind in self.kinds())
        return (
            models[0]
            if len(models) == 1
            else Annotated[functools.reduce(operator.or_, models), Field(discriminator="kind")]
        )

    def _discover(self) -> None:
        if self._discovered:
            return
        self._discovered = True
        package = importlib.import_module(self._package)
        for module in pkgutil.iter_modules(package.__path__):
            importlib.import_module(f"{self._package}.{module.name}")
        # Whichever module was imported first: schemas list the kinds in this order.
        self._items = dict(sorted(self._items.items(), key=lambda item: item[1].__module__))


@functools.cache
def settings_model(function: Callable[..., Any], kind: str | None = None) -> type[Settings]:
    """The pydantic model of a function's keyword-only parameters; with `kind`, also its name as a literal field."""
    fields: dict[str, Any] = {} if kind is None else {"kind": (Literal[kind], ...)}
    fields |= settings_fields(function)
    summary = (inspect.getdoc(function) or "").partition("\n\n")[0].replace("\n", " ")
    name = function.__name__ if kind is None else f"{function.__name__}[{kind}]"
    model: type[Settings] = create_model(name, __base__=Settings, __doc__=summary, **fields)
    model.function = function
    return model


def settings_fields(function: Callable[..., Any]) -> dict[str, tuple[Any, Any]]:
    """Keyword-only parameters as pydantic field definitions: name -> (type, default)."""
    callee = function.__init__ if inspect.isclass(function) else function
    hints = get_type_hints(callee, include_extras=True)
    return {
        name: _field(hints[name], parameter.default)
        for name, parameter in inspect.signature(callee).parameters.items()
        if parameter.kind is inspect.Parameter.KEYWORD_ONLY
    }


def nested(hint: Any) -> Choice | Section | None:
    """The `Choice` or `Section` that annotates a type, if any."""
    if get_origin(hint) is not Annotated:
        return None
    return next((mark for mark in hint.__metadata__ if isinstance(mark, Choice | Section)), None)


def _field(hint: Any, default: Any) -> tuple[Any, Any]:
    mark = nested(hint)
    if isinstance(mark, Section):
        model = settings_model(mark.function)
        return model, Field(default_factory=model)
    if isinstance(mark, Choice):
        kind = mark.default
        if kind is None:
            return mark.registry.union(), ...
        registry = mark.registry
        return registry.union(), Field(default_factory=lambda: registry.model(kind).model_validate({"kind": kind}))
    return hint, ... if default is inspect.Parameter.empty else default


def bind(settings: Settings) -> functools.partial[Any]:
    """The function that the settings describe, waiting only for its run-time arguments.

    Nested settings are bound too, so that the function sees callables and plain values, never a model.
    """
    values = {name: getattr(settings, name) for name in type(settings).model_fields if name != "kind"}
    bound = {name: bind(value) if isinstance(value, Settings) else value for name, value in values.items()}
    return functools.partial(type(settings).function, **bound)
