"""A hook of MkDocs: pages of the site that lie outside of docs/, and links between both.

In the repository links go from file to file, so that they work on GitHub.
"""

from __future__ import annotations

import posixpath
import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parent.parent
#: Files of the repository, and the pages of the site that they become.
PAGES = {"README.md": "index.md", "CONTRIBUTING.md": "contributing.md", "CHANGELOG.md": "changelog.md"}
LINK = re.compile(r"\[([^\]]*)\]\((?!\w+:|#)([^)#\s]+)(#[^)\s]*)?\)")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages."""
    for source, page in PAGES.items():
        files.append(File.generated(config, page, content=(ROOT / source).read_text(encoding="utf-8")))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Point links at pages; of one to a file that is not in the site the file's name remains."""
    folder = "" if page.file.src_uri in PAGES.values() else "docs"

    def to_page(link: re.Match[str]) -> str:
        words, path, anchor = link.groups()
        target = posixpath.normpath(posixpath.join(folder, path))
        there = PAGES.get(target) or target.removeprefix("docs/")
        if files.get_file_from_path(there):
            return f"[{words}]({there}{anchor or ''})"
        return f"`{target}`" if target.startswith(words) else f"{words} (`{target}`)"

    return LINK.sub(to_page, markdown)
