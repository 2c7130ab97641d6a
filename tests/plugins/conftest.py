"""Plug-ins are loaded into this process, and are gone after the test."""

from __future__ import annotations

import gc
import importlib
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest

from gensweep import plugins, registry
from gensweep.registry import Registry


@pytest.fixture(scope="session")
def registries() -> list[Registry]:
    """All registries of the package."""
    gc.unfreeze()  # get_objects() leaves out what tests/conftest.py froze
    found = [each for each in gc.get_objects() if type(each) is Registry and each._package.startswith("gensweep")]
    gc.freeze()
    return found


@pytest.fixture
def anew(registries, tmp_path) -> Callable[[], AbstractContextManager[None]]:
    """Contexts like new processes: they begin without a plug-in, and what plug-ins they import is gone afterwards."""

    @contextmanager
    def context() -> Iterator[None]:
        kinds = [{kind: each[kind] for kind in each} for each in registries]
        modules, loaded = set(sys.modules), dict[str, plugins.Plugin]()
        importlib.invalidate_caches()
        try:
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(sys, "path", [*sys.path])
                patch.setattr(plugins, "_loaded", loaded)
                yield
        finally:
            for each, items in zip(registries, kinds, strict=True):
                each._items = items
            for forget in registry._forget:
                forget()
            tops = {module.partition(".")[0] for module in loaded}
            for name in set(sys.modules) - modules:
                if name.partition(".")[0] in tops or str(tmp_path) in str(getattr(sys.modules[name], "__file__", "")):
                    del sys.modules[name]

    return context


@pytest.fixture
def here(anew, tmp_path, monkeypatch) -> Iterator[Path]:
    """An empty current folder; what is imported from it is gone afterwards."""
    monkeypatch.chdir(tmp_path)
    with anew():
        yield tmp_path


@pytest.fixture
def bought(here, monkeypatch):
    """A function that installs a package of one module, which a group of entry points names."""
    monkeypatch.syspath_prepend(here)

    def install(text: str, group: str, value: str) -> None:
        Path("bought.py").write_text(text)
        info = Path("bought-1.0.dist-info")
        info.mkdir()
        (info / "METADATA").write_text("Metadata-Version: 2.1\nName: bought\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text(f"[{group}]\nany = {value}\n")

    return install
