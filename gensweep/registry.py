"""Names for functions, and their settings as schemas.

A registered function's keyword-only parameters ARE the schema of its settings; its positional parameters are known
only at run time (a number of timesteps, an image size, a device):

    SCHEDULES: Registry[Schedule] = Registry("schedule", package="gensweep.diffusion")

    @SCHEDULES.register("cosine")
    def cosine(timesteps: int, *, s: Annotated[float, Ge(0)] = 0.008) -> Tensor: ...

A parameter can itself be a registered item or a function with settings.  It is then annotated with `Choice` or
`Section`, and arrives as a function with its settings bound, ready for the run-time arguments:

    def gaussian_diffusion(*, timesteps: int = 1000, schedule: Annotated[Schedule, Choice(SCHEDULES, "linear")]):
        alpha_bar = schedule(timesteps)

The description of a parameter is its `doc` of annotated_types: `s: Annotated[float, Ge(0), doc("shift of the
time")]`.  Schemas and the reference use it.
"""

from __future__ import annotations

import functools
import importlib
import inspect
import pkgutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Annotated, Any, Generic, NamedTuple, ParamSpec, TypeVar, get_origin, get_type_hints

from annotated_types import DocInfo

from gensweep import plugins
from gensweep.errors import ConfigError

F = TypeVar("F", bound=Callable[..., Any])
P = ParamSpec("P")
T = TypeVar("T")

_forget: list[Callable[[], None]] = []


def cached_until_registered(function: Callable[P, T]) -> Callable[P, T]:
    """`functools.cache` for functions of the registered kinds; cleared when a plug-in adds one."""
    cached = functools.cache(function)
    _forget.append(cached.cache_clear)
    return cached  # type: ignore[return-value]


@dataclass(frozen=True)
class Choice:
    """Marks a parameter whose value is a registered item, bound to its settings."""

    registry: Registry[Any]
    default: str | None = None


@dataclass(frozen=True)
class Section:
    """Marks a parameter whose value is a fixed function, bound to its settings."""

    function: Callable[..., Any]


@dataclass(frozen=True)
class Takes:
    """The allowed values of a parameter in messages, if type and bounds are not enough."""

    words: str


@dataclass(frozen=True)
class SameAs:
    """Marks `**parameters` as the keyword-only ones of another function or class, which several share."""

    function: Callable[..., Any]


class Registry(Generic[F]):
    """Functions or classes with the same signature, by kind.

    `noun` is used in messages ("'cosin' is not a schedule").  Modules of `package`, which may itself be a module, are
    imported at the first look-up, so a new file in the package adds an item.  Items of plug-ins come after these.
    `around` takes an item with its settings, and the run-time arguments; its own settings are those of every item.
    """

    def __init__(self, noun: str, *, package: str, around: Callable[..., Any] | None = None) -> None:
        self.noun, self.around = noun, around
        self._package = package
        self._items: dict[str, F] = {}
        self._discovered = False

    def register(self, kind: str) -> Callable[[F], F]:
        """Register a function or class under a name.  Raises ConfigError if the name is taken.

        A new definition of the same function, as in a notebook, replaces the old one.
        """

        def decorate(item: F) -> F:
            if foreign := item.__module__.partition(".")[0] != self._package.partition(".")[0]:
                self._discover()
            old = self._items.get(kind, item)
            if (old.__module__, old.__qualname__) != (item.__module__, item.__qualname__):
                raise ConfigError(f"{kind!r} is already the {self.noun} of {old.__module__}; choose another name")
            self._items[kind] = item
            for forget in _forget if foreign else ():
                forget()
            return item

        return decorate

    def kinds(self) -> tuple[str, ...]:
        """All names, module by module, in order of registration."""
        self._discover()
        return tuple(self._items)

    def __getitem__(self, kind: str) -> F:
        """The item of that name.  Raises KeyError with the known names."""
        self._discover()
        if kind not in self._items:
            raise KeyError(f"{kind!r} is not a {self.noun} (known: {', '.join(self._items)})")
        return self._items[kind]

    def kind_of(self, item: object) -> str:
        """The registered name of an object's class, or the class name."""
        return next((kind for kind in self if self[kind] is type(item)), type(item).__name__)

    def __iter__(self) -> Iterator[str]:
        return iter(self.kinds())

    def _discover(self) -> None:
        if self._discovered:
            return
        self._discovered = True
        package = importlib.import_module(self._package)
        for module in pkgutil.iter_modules(getattr(package, "__path__", ())):
            importlib.import_module(f"{self._package}.{module.name}")
        # Independent of the import order: schemas list the kinds in this order.
        self._items = dict(sorted(self._items.items(), key=lambda item: item[1].__module__))
        plugins.load_installed()


class Keyword(NamedTuple):
    """A keyword-only parameter: its type with its bounds, and its default or `inspect.Parameter.empty`."""

    hint: Any
    default: Any

    @property
    def mark(self) -> Choice | Section | None:
        """The `Choice` or `Section` that annotates it, if any."""
        return next((mark for mark in self._marks if isinstance(mark, Choice | Section)), None)

    @property
    def meaning(self) -> str | None:
        """Its `doc`; that of the parameter has priority over that of its type."""
        return next((mark.documentation for mark in reversed(self._marks) if isinstance(mark, DocInfo)), None)

    @property
    def _marks(self) -> tuple[Any, ...]:
        return self.hint.__metadata__ if get_origin(self.hint) is Annotated else ()


def keywords(function: Callable[..., Any]) -> dict[str, Keyword]:
    """The keyword-only parameters of a function or class, by name.  Raises ConfigError if one has no type."""
    callee = function.__init__ if inspect.isclass(function) else function
    hints = get_type_hints(callee, include_extras=True)
    found: dict[str, Keyword] = {}
    for name, parameter in inspect.signature(callee).parameters.items():
        if parameter.kind is inspect.Parameter.KEYWORD_ONLY:
            if name not in hints:
                where = f"{function.__module__}.{function.__qualname__}"
                raise ConfigError(f"{where}: {name} needs a type for checking settings, such as {name}: int")
            found[name] = Keyword(hints[name], parameter.default)
        elif parameter.kind is inspect.Parameter.VAR_KEYWORD:
            for mark in getattr(hints.get(name), "__metadata__", ()):
                found = (keywords(mark.function) if isinstance(mark, SameAs) else {}) | found
    return found
