"""One HTML file that needs no network: a frame for pages of sections, and how any page is written."""

from __future__ import annotations

import base64
import contextlib
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from gensweep.errors import GensweepError

if TYPE_CHECKING:
    from jinja2 import Environment

__all__ = ["Picture", "Section", "data_url", "environment", "render_page", "write_whole"]


class Picture(NamedTuple):
    """A picture under its file's name, which ends in .png or .gif, and what it shows."""

    file: str
    caption: str
    data: bytes


class Section(NamedTuple):
    """A part of a page: words, pictures, and rows that have the same keys; the first key's values are words."""

    title: str
    words: str
    pictures: Sequence[Picture] = ()
    rows: Sequence[Mapping[str, str]] = ()


def render_page(title: str, words: str, facts: Mapping[str, str], sections: Sequence[Section], command: str) -> str:
    """The page as text, with its pictures inside.  Whatever users named is escaped."""
    shown: list[dict[str, Any]] = [section._asdict() for section in sections]
    for each in shown:
        each["pictures"] = [(data_url(file, data), caption) for file, caption, data in each["pictures"]]
    return (
        environment()
        .get_template("page.html.j2")
        .render(title=title, words=words, facts=facts, sections=shown, command=command)
    )


def environment() -> Environment:
    """Templates of this package; whatever is put into them is escaped."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    loader = PackageLoader("gensweep.report", ".")
    return Environment(loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)


def data_url(file: str, data: bytes) -> str:
    """A picture as part of a page."""
    return f"data:image/{file.rpartition('.')[2]};base64,{base64.b64encode(data).decode()}"


def write_whole(file: Path, content: str | bytes, hint: str) -> None:
    """Write a file, whole or not at all, and its folder.  Raises GensweepError, with the hint, if it cannot be."""
    temporary = file.with_name(f".{file.name}.{os.getpid()}")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_bytes(content.encode() if isinstance(content, str) else content)
        temporary.replace(file)
    except OSError as error:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise GensweepError(f"{file} cannot be written ({error.strerror}); {hint}") from error
