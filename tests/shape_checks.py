"""Checks of shapes while tests run, by beartype, of every function and dataclass whose annotations have shapes.

jaxtyping's own import hook decorates every function of a module.  Most have no shapes, yet each call of one takes ten
microseconds more, which was a fifth of the time of tests that train.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Callable, Hashable, Sequence
from functools import wraps
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from types import CodeType, ModuleType
from typing import Any

import torch
from beartype import beartype

_made: dict[Hashable, Callable[..., Any]] = {}


def checked(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function by which beartype checks a signature that jaxtyping has written.

    jaxtyping asks for one whenever a function is defined, so again at each call for those inside of another one.  They
    hold nothing but the signature, so here they are made once.

    It asks for two: one that checks the arguments before the call, and one that checks them again with the result.
    The second is made to check the result alone.
    """
    result = function.__annotations__.get("return", Any)
    if result is not Any:
        function.__annotations__ = {"return": result}
    names = function.__module__, function.__qualname__, function.__code__.co_varnames
    key = *names, *function.__annotations__.items(), function.__defaults__, *(function.__kwdefaults__ or {}).items()
    try:
        if key not in _made:
            _made[key] = _outside_of_traces(beartype(function))
        return _made[key]
    except TypeError:  # an annotation or a default cannot be hashed
        return _outside_of_traces(beartype(function))


def _outside_of_traces(check: Callable[..., Any]) -> Callable[..., Any]:
    """The check, except where torch.jit traces, which would record each look at a shape, and takes long for that."""

    @wraps(check)
    def unless_tracing(*arguments: Any, **named: Any) -> Any:
        return None if torch.jit.is_tracing() else check(*arguments, **named)

    return unless_tracing


def check_shapes(modules: Sequence[str]) -> None:
    """Check the shapes of modules, and of those in packages of these names, that are imported from now on."""
    sys.meta_path.insert(0, _Finder(modules))


class _Finder(MetaPathFinder):
    def __init__(self, modules: Sequence[str]) -> None:
        self._modules = modules

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if not any(fullname == name or fullname.startswith(f"{name}.") for name in self._modules):
            return None
        spec = PathFinder.find_spec(fullname, path, target)
        if spec is not None and isinstance(spec.loader, SourceFileLoader):
            spec.loader = _Loader(spec.loader.name, spec.loader.path)
        return spec


class _Loader(SourceFileLoader):
    def get_code(self, fullname: str) -> CodeType:
        # What is compiled here is not what Python keeps of the file.
        tree = ast.parse(self.get_data(self.path), self.path)
        return compile(ast.fix_missing_locations(_Decorating(tree).visit(tree)), self.path, "exec", dont_inherit=True)


class _Decorating(ast.NodeTransformer):
    """Decorates the functions and dataclasses of a module that have shapes, nested ones too."""

    def __init__(self, module: ast.Module) -> None:
        imports = [node for node in module.body if isinstance(node, ast.ImportFrom) and node.module == "jaxtyping"]
        self._shapes = {name.asname or name.name for node in imports for name in node.names}
        aliases = [node for node in module.body if isinstance(node, ast.AnnAssign) and self._has_shapes(node.value)]
        self._shapes |= {node.target.id for node in aliases if isinstance(node.target, ast.Name)}

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.FunctionDef:
        self.generic_visit(node)
        arguments = ast.walk(node.args)
        annotations = [argument.annotation for argument in arguments if isinstance(argument, ast.arg)]
        if any(map(self._has_shapes, [*annotations, node.returns])):
            node.decorator_list.append(_decorator())
        return node

    def visit_ClassDef(self, node: ast.ClassDef) -> ast.ClassDef:
        self.generic_visit(node)
        if any(isinstance(field, ast.AnnAssign) and self._has_shapes(field.annotation) for field in node.body):
            node.decorator_list.insert(0, _decorator())
        return node

    def _has_shapes(self, annotation: ast.expr | None) -> bool:
        parts = () if annotation is None else ast.walk(annotation)
        return any(isinstance(part, ast.Name) and part.id in self._shapes for part in parts)


def _decorator() -> ast.expr:
    text = '__import__("jaxtyping").jaxtyped(typechecker=__import__("shape_checks").checked)'
    return ast.parse(text, mode="eval").body
