"""HTML files that need no network: their templates and pictures, and how they are written."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import TYPE_CHECKING

from gensweep.errors import GensweepError
from gensweep.files import write_bytes

if TYPE_CHECKING:
    from jinja2 import Environment


def environment(package: str = "gensweep.report") -> Environment:
    """Templates of a package, which may include those of this one; whatever is put into them is escaped."""
    from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined

    loader = ChoiceLoader([PackageLoader(name, ".") for name in dict.fromkeys([package, "gensweep.report"])])
    return Environment(loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)


def data_url(file: str, data: bytes) -> str:
    """A picture as part of a page."""
    return f"data:image/{file.rpartition('.')[2]};base64,{base64.b64encode(data).decode()}"


def write_whole(file: Path, content: str | bytes, hint: str) -> None:
    """Write a file, whole or not at all, and its folder.  Raises GensweepError, with the hint, if it cannot be."""
    try:
        write_bytes(file, content.encode() if isinstance(content, str) else content)
    except OSError as error:
        raise GensweepError(f"{file} cannot be written ({error.strerror}); {hint}") from error
