"""Plug-ins: the user's modules that register schedules, networks, data sets and so on, and their code.

A plug-in is a module or a file that each process imports.  Its code is read before the import, so that other machines
get the code that runs here.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import json
import re
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cached_property
from importlib import metadata
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from gensweep.errors import ConfigError
from gensweep.files import cache_folder, expanded, locked, replace_folder

#: Entry points of this group name modules that are plug-ins wherever their package is installed.
GROUP = "gensweep.plugins"
#: Entry points of these groups name functions: commands of click, parts of the report, and functions of `gensweep`.
COMMANDS, REPORT_PARTS, FUNCTIONS = "gensweep.commands", "gensweep.report_parts", "gensweep.functions"
#: A plug-in is code that goes to every worker; data belong elsewhere.
MAX_BYTES = 16 * 2**20

_MODULE = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*")


@dataclass(frozen=True)
class Plugin:
    """A plug-in: its name as the user wrote it, its module, and the content of its package's files.

    The files have paths relative to a folder on Python's path.
    """

    name: str
    module: str
    files: Mapping[str, bytes]

    def covers(self, other: Plugin) -> bool:
        """True for the same plug-in, and for a package that contains it."""
        return f"{other.module}.".startswith(f"{self.module}.")

    @cached_property
    def sha256(self) -> str:
        """The hash of names and contents of all files."""
        parts = {path: hashlib.sha256(content).hexdigest() for path, content in self.files.items()}
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()

    def install(self) -> None:
        """Import this code in a process that may lack it.  Raises ConfigError if the import fails."""
        if self.module in _loaded:
            return
        folder = cache_folder() / "plugins" / self.sha256[:16]
        with locked(folder):
            if not folder.is_dir():
                with TemporaryDirectory(dir=folder.parent) as scratch:
                    aside = Path(scratch) / "code"
                    self.write(aside)
                    replace_folder(aside, folder)
        sys.path.insert(0, str(folder))
        importlib.invalidate_caches()
        with _explained(self.name, self.module):
            importlib.import_module(self.module)
        _loaded[self.module] = self

    def write(self, folder: Path) -> None:
        """Write the files to a folder."""
        for path, content in self.files.items():
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_bytes(content)


#: By module, in the order of loading.
_loaded: dict[str, Plugin] = {}
_installed_are_loaded = False


def loaded() -> tuple[Plugin, ...]:
    """The plug-ins of this process."""
    return tuple(_loaded.values())


def load(name: str) -> Plugin:
    """Import a module, or a file whose name ends in .py, once per process.

    Modules are searched on Python's path and in the current folder.  Raises ConfigError if there is none, if it raises,
    or if it registers a name that is taken.
    """
    path, module = expanded(name), module_of(name)
    if module in _loaded:
        other = expanded(_loaded[module].name)
        if path.is_file() and other.is_file() and not path.samefile(other):
            raise ConfigError(f"plug-in {path}: {module!r} is the name of another plug-in, {other}; rename the file")
        return _loaded[module]
    if not _MODULE.fullmatch(module):
        raise ConfigError(f"plug-in {name!r}: name a module, such as my_package.schedules, or a file, such as mine.py")
    _loaded[module] = _load_file(name, module, path) if path.suffix == ".py" else _load_module(name)
    return _loaded[module]


def is_here(name: str) -> bool:
    """True if a plug-in is imported, or if `load` would find its code."""
    module, path = module_of(name), expanded(name)
    if module in _loaded or path.suffix == ".py":
        return module in _loaded or path.is_file()
    top = module.partition(".")[0]
    return importlib.util.find_spec(top) is not None or Path(f"{top}.py").is_file() or Path(top).is_dir()


def module_of(name: str) -> str:
    """The module of a plug-in, which may be a file."""
    path = Path(name)
    return path.stem if path.suffix == ".py" else name


def load_installed() -> None:
    """Load the plug-ins of installed packages.  Raises ConfigError if one cannot be loaded."""
    global _installed_are_loaded
    if _installed_are_loaded:
        return
    _installed_are_loaded = True
    for entry in metadata.entry_points(group=GROUP):
        try:
            with _named(entry):
                own = entry.module.partition(".")[0] == __package__
                importlib.import_module(entry.module) if own else load(entry.module)
        except ConfigError:
            _installed_are_loaded = False
            raise


def offered(group: str) -> dict[str, metadata.EntryPoint]:
    """The entry points of installed packages in a group, by name."""
    return {entry.name: entry for entry in sorted(metadata.entry_points(group=group))}


def load_offered(entry: metadata.EntryPoint) -> Any:
    """Import the object of an entry point.  Raises ConfigError if that fails."""
    with _named(entry), _explained(entry.value, entry.module):
        return entry.load()


def command_help(entry: metadata.EntryPoint) -> str:
    """The first line of a command's docstring, read from the file, because an import may take seconds."""
    with suppress(ImportError, OSError):
        spec = importlib.util.find_spec(entry.module)
        text = Path(spec.origin).read_text(encoding="utf-8") if spec is not None and spec.origin is not None else ""
        if found := re.search(rf'^def {entry.attr}\(.*?"""(.+?)("""|$)', text, re.DOTALL | re.MULTILINE):
            return found[1]
    return ""


@contextmanager
def _named(entry: metadata.EntryPoint) -> Iterator[None]:
    """Adds the package name to a ConfigError of its plug-in."""
    try:
        yield
    except ConfigError as error:
        package = entry.dist.name if entry.dist is not None else "unknown"
        raise ConfigError(f"{error}; it came with the package {package}: fix or uninstall it") from None


def owner(item: Callable[..., Any]) -> Plugin | None:
    """The plug-in that registers a function or class; None if it is gensweep's own.

    A module imported directly, or by another plug-in, becomes a plug-in too.  Raises ConfigError if the item comes from
    a script or notebook, which no other process can import.
    """
    module = item.__module__
    if module.partition(".")[0] == __package__:
        return None
    if module == "__main__":
        raise ConfigError(
            f"{item.__qualname__} is registered in a script or notebook, which workers cannot import; put it into a "
            "separate file, such as mine.py, and list that file under plugins: [mine.py]"
        )
    if module not in _loaded:
        with _explained(module, module):
            _loaded[module] = Plugin(module, module, _files_of(module))
    return _loaded[module]


@contextmanager
def _explained(name: str, module: str) -> Iterator[None]:
    """Turns an exception of an import into a ConfigError of one line."""
    try:
        yield
    except (Exception, SystemExit) as error:
        raise ConfigError(f"plug-in {name}: {_cause(error, module)}") from error


def _cause(error: BaseException, module: str) -> str:
    if isinstance(error, ConfigError):
        return str(error)
    if isinstance(error, ModuleNotFoundError) and error.name is not None:
        if f"{module}.".startswith(f"{error.name}."):
            return f"there is no module {error.name}, neither installed nor in {Path.cwd()}"
        return f"it imports {error.name}, which is not installed"
    frame = traceback.extract_tb(error.__traceback__)[-1]
    file, line, words = frame.filename, frame.lineno, str(error)
    if isinstance(error, SyntaxError):
        file, line, words = error.filename or file, error.lineno, error.msg
    return f"importing it raises {type(error).__name__}: {' '.join(words.split())} ({file}:{line})"


def _load_file(name: str, module: str, file: Path) -> Plugin:
    if not file.is_file():
        raise ConfigError(
            f"plug-in {name}: there is no such file in {Path.cwd()}; give its path with --import FOLDER/{file.name}"
        )
    other = importlib.util.find_spec(module.partition(".")[0])  # the code that an import of this name runs
    if other is not None and other.origin is not None and Path(other.origin).resolve() != file.resolve():
        raise ConfigError(f"plug-in {name}: {module} is the name of another module ({other.origin}); rename the file")
    plugin = Plugin(name, module, {file.name: file.read_bytes()})
    if module not in sys.modules:
        spec = importlib.util.spec_from_file_location(module, file.resolve())
        assert spec is not None
        assert spec.loader is not None
        sys.modules[module] = made = importlib.util.module_from_spec(spec)
        try:
            with _explained(name, module):
                spec.loader.exec_module(made)
        except BaseException:
            del sys.modules[module]
            raise
    return plugin


def _load_module(name: str) -> Plugin:
    top = name.partition(".")[0]
    if top not in sys.modules and importlib.util.find_spec(top) is None:
        sys.path.append(str(Path.cwd()))
        importlib.invalidate_caches()
    with _explained(name, name):
        importlib.import_module(top)
        files = _files_of(top)
        importlib.import_module(name)
    return Plugin(name, name, files)


def _files_of(module: str) -> Mapping[str, bytes]:
    """The files of a module's package, or a single module's file.  Raises ConfigError if they are too large."""
    top, files, size = sys.modules[module.partition(".")[0]], dict[str, bytes](), 0
    if not (folders := [*map(Path, getattr(top, "__path__", ()))]):
        if (file := getattr(top, "__file__", None)) is None:
            raise ConfigError("it is a built-in module of Python")
        return {Path(file).name: Path(file).read_bytes()}
    for folder in folders:
        for path in sorted(folder.rglob("*")):
            relative = path.relative_to(folder)
            hidden = any(part.startswith(".") or part == "__pycache__" for part in relative.parts)
            if hidden or path.suffix == ".pyc" or not path.is_file():
                continue
            size += path.stat().st_size
            if size > MAX_BYTES:
                raise ConfigError(
                    f"{folder} contains more than {MAX_BYTES >> 20} MiB, which would be copied to every "
                    "worker; keep data out of the package"
                )
            files[f"{top.__name__}/{relative.as_posix()}"] = path.read_bytes()
    return files
