"""Checks of shapes while tests run, by beartype, which makes a function for each signature that it checks.

jaxtyping asks for such functions whenever a function is defined, so again at each call for those inside of another one.
They hold nothing but the signature, so here they are made once.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any

from beartype import beartype

_made: dict[Hashable, Callable[..., Any]] = {}


def checked(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function by which beartype checks a signature that jaxtyping has written."""
    names = function.__module__, function.__qualname__, function.__code__.co_varnames
    key = *names, *function.__annotations__.items(), function.__defaults__, *(function.__kwdefaults__ or {}).items()
    try:
        if key not in _made:
            _made[key] = beartype(function)
        return _made[key]
    except TypeError:  # an annotation or a default cannot be hashed
        return beartype(function)
