"""Plug-ins: modules of other people that register schedules, networks, data sets and the like, and their code.

A plug-in is a module or a file.  Importing it is all that it takes, in each process: what it registers then is there.
Its code is read before it is imported, so that what is sent to other machines is what runs here.
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
#: Entry points of these groups name functions: commands of click, and parts of the report.
COMMANDS, REPORT_PARTS = "gensweep.commands", "gensweep.report_parts"
#: A plug-in is code, which goes to every worker; data lie elsewhere.
MAX_BYTES = 16 * 2**20

_MODULE = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*")


@dataclass(frozen=True)
class Plugin:
    """A plug-in that is loaded: its name as the user wrote it, its module, and the files that importing it takes.

    They are those of its whole package, by path below a folder on Python's path.
    """

    name: str
    module: str
    files: Mapping[str, bytes]

    def covers(self, other: Plugin) -> bool:
        """Whether it is the other one, or a package that imports it."""
        return f"{other.module}.".startswith(f"{self.module}.")

    @cached_property
    def sha256(self) -> str:
        """The hash of names and contents of all files."""
        parts = {path: hashlib.sha256(content).hexdigest() for path, content in self.files.items()}
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()

    def install(self) -> None:
        """Import this code in a process that may not have it.  Raises ConfigError if it cannot be imported here."""
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
        """Write the files below a folder."""
        for path, content in self.files.items():
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_bytes(content)


#: By module, in the order in which they were loaded.
_loaded: dict[str, Plugin] = {}
_installed_are_loaded = False


def loaded() -> tuple[Plugin, ...]:
    """The plug-ins of this process."""
    return tuple(_loaded.values())


def load(name: str) -> Plugin:
    """Import a module, or a file whose name ends in .py, unless this process has done so.

    A module is looked for where Python looks, and in the current folder.  Raises ConfigError if there is none, if it
    raises, or if it registers a name that is taken.
    """
    path, module = expanded(name), module_of(name)
    if module in _loaded:
        other = expanded(_loaded[module].name)
        are_files = path.suffix == other.suffix == ".py" and path.is_file() and other.is_file()
        if are_files and not path.samefile(other):
            raise ConfigError(f"plug-in {path}: {module!r} is the name of another plug-in, {other}; rename the file")
        return _loaded[module]
    if not _MODULE.fullmatch(module):
        raise ConfigError(f"plug-in {name!r}: name a module, such as my_package.schedules, or a file, such as mine.py")
    if path.suffix == ".py":
        file = path if path.is_file() else Path(path.name)
        if file.is_file():
            plugin = _load_file(name, module, file.resolve())
        elif module in sys.modules:
            plugin = Plugin(name, module, _files_of(module))
        else:
            raise ConfigError(
                f"plug-in {name}: there is no such file, seen from {Path.cwd()}; say where it is with "
                f"--import FOLDER/{path.name}"
            )
    else:
        plugin = _load_module(name)
    _loaded[module] = plugin
    return plugin


def is_here(name: str) -> bool:
    """Whether a plug-in is imported, or lies where its name says, where Python looks, or in the current folder."""
    module = module_of(name)
    top = module.partition(".")[0]
    if module in _loaded or top in sys.modules or importlib.util.find_spec(top) is not None:
        return True
    return any(path.is_file() for path in (expanded(name), Path(f"{top}.py"))) or Path(top).is_dir()


def module_of(name: str) -> str:
    """The module of a plug-in of that name, which may be a file."""
    path = Path(name)
    return path.stem if path.suffix == ".py" else name


def load_installed() -> None:
    """Load what packages that are installed offer as plug-ins.  Raises ConfigError if one cannot be loaded."""
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
    """What installed packages offer in a group of entry points, by name."""
    return {entry.name: entry for entry in sorted(metadata.entry_points(group=group))}


def load_offered(entry: metadata.EntryPoint) -> Any:
    """Import what an entry point names.  Raises ConfigError if that fails."""
    with _named(entry), _explained(entry.value, entry.module):
        return entry.load()


def command_help(entry: metadata.EntryPoint) -> str:
    """The first line of a command's docstring, read from the file: an import may take seconds."""
    with suppress(ImportError, OSError):
        spec = importlib.util.find_spec(entry.module)
        text = Path(spec.origin).read_text(encoding="utf-8") if spec is not None and spec.origin is not None else ""
        if found := re.search(rf'^def {entry.attr}\(.*?"""(.+?)("""|$)', text, re.DOTALL | re.MULTILINE):
            return found[1]
    return ""


@contextmanager
def _named(entry: metadata.EntryPoint) -> Iterator[None]:
    """Adds the package to the ConfigError of what it offers."""
    try:
        yield
    except ConfigError as error:
        package = entry.dist.name if entry.dist is not None else "unknown"
        raise ConfigError(f"{error}; it came with the package {package}: fix or uninstall it") from None


def owner(item: Callable[..., Any]) -> Plugin | None:
    """The plug-in whose import registers a function or class; None if it is gensweep's own.

    A module that was imported by hand, or by another plug-in, becomes one with that.  Raises ConfigError if the item
    was made in a script or notebook, which no other process can import.
    """
    module = item.__module__
    if module.partition(".")[0] == __package__:
        return None
    if module == "__main__":
        raise ConfigError(
            f"{item.__qualname__} is registered in a script or notebook, which workers cannot import; put it into a "
            "file of its own, such as mine.py, and name that under plugins: [mine.py]"
        )
    if module not in _loaded:
        with _explained(module, module):
            _loaded[module] = Plugin(module, module, _files_of(module))
    return _loaded[module]


@contextmanager
def _explained(name: str, module: str) -> Iterator[None]:
    """Turns what an import raises into a ConfigError of one line."""
    try:
        yield
    except KeyboardInterrupt:
        raise
    except BaseException as error:
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
    other = sys.modules.get(module)
    found = getattr(other, "__file__", None)
    if other is None:  # what an import of this name would run instead
        found = getattr(importlib.util.find_spec(module.partition(".")[0]), "origin", None)
    if (other, found) != (None, None) and (found is None or Path(found).resolve() != file):
        raise ConfigError(f"plug-in {name}: {module} is the name of another module ({found}); rename the file")
    plugin = Plugin(name, module, {file.name: file.read_bytes()})
    if other is None:
        spec = importlib.util.spec_from_file_location(module, file)
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
    """The files of a module's package, or the file of one that is in none.  Raises ConfigError if they are large."""
    top = sys.modules[module.partition(".")[0]]
    paths = list(getattr(top, "__path__", ()))
    files: dict[str, bytes] = {}
    if not paths:
        if (file := getattr(top, "__file__", None)) is None:
            raise ConfigError("it is built into Python, and registers nothing")
        return {Path(file).name: Path(file).read_bytes()}
    size = 0
    for folder in map(Path, paths):
        for file in sorted(_code_in(folder)):
            size += file.stat().st_size
            if size > MAX_BYTES:
                raise ConfigError(
                    f"{folder} holds more than {MAX_BYTES >> 20} MiB, and all of it would go to every "
                    "worker; keep data out of the package"
                )
            files[f"{top.__name__}/{file.relative_to(folder).as_posix()}"] = file.read_bytes()
    return files


def _code_in(folder: Path) -> Iterator[Path]:
    for path in folder.iterdir():
        if path.is_dir():
            if path.name != "__pycache__" and not path.name.startswith("."):
                yield from _code_in(path)
        elif path.suffix != ".pyc" and path.is_file():
            yield path
