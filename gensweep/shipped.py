"""The search spaces that come with gensweep, by name."""

from __future__ import annotations

import difflib
from pathlib import Path

from gensweep.errors import ConfigError

FOLDER = Path(__file__).parent / "search_spaces"
#: Editors find the schema by this line, in a checkout only.
SCHEMA_LINE = "# yaml-language-server:"


def shipped_spaces() -> dict[str, Path]:
    """The files, by the names that people type: ddpm, quickstart, ..."""
    return {file.stem: file for file in sorted(FOLDER.glob("*.yaml"))}


def title(file: Path) -> str:
    """The first line of a space, which says what it asks."""
    return file.read_text(encoding="utf-8").partition("\n")[0].removeprefix("# ")


def space_file(typed: str) -> Path:
    """The file that a user means: a path, or the name of a space that comes with gensweep.

    Raises ConfigError for a name that is neither.
    """
    path, spaces = Path(typed), shipped_spaces()
    if path.suffix in (".yaml", ".yml") and path.stem in spaces and not path.exists():
        raise ConfigError(f"{typed}: no such file; did you mean {path.stem}, as in: gensweep tune {path.stem}")
    if path.exists() or path.suffix or path.name != typed:
        return path
    if typed not in spaces:
        close = difflib.get_close_matches(typed, spaces, n=1)
        hint = f"; did you mean {close[0]!r}?" if close else ""
        raise ConfigError(f"{typed!r} is neither a file nor a space of gensweep{hint} (known: {', '.join(spaces)})")
    return spaces[typed]
