"""The order of a registry's kinds, which schemas and documents repeat."""

import importlib
import sys
from typing import Annotated, Any

from gensweep.registry import Registry, SameAs, keywords

MODULE = """
from {package} import ITEMS

@ITEMS.register("{name}2")
def second(): ...

@ITEMS.register("{name}1")
def first(): ...
"""


def test_kinds_come_module_by_module_whichever_was_imported_first(tmp_path, monkeypatch):
    package = tmp_path / "kinds_in_order"
    package.mkdir()
    (package / "__init__.py").write_text("")
    for name in ("alpha", "beta"):
        (package / f"{name}.py").write_text(MODULE.format(package=package.name, name=name))
    monkeypatch.syspath_prepend(tmp_path)
    importlib.import_module(package.name)
    items = Registry("item", package=package.name)
    monkeypatch.setattr(sys.modules[package.name], "ITEMS", items, raising=False)
    importlib.import_module(f"{package.name}.beta")
    assert items.kinds() == ("alpha2", "alpha1", "beta2", "beta1")


def test_keywords_that_functions_share_are_stated_once():
    def shared(*, width: int = 8, depth: int = 2): ...

    def network(size: int, *, depth: float = 0.5, **settings: Annotated[Any, SameAs(shared)]): ...

    assert {name: keyword.default for name, keyword in keywords(network).items()} == {"width": 8, "depth": 0.5}
