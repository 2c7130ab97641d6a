"""Pages, docstrings and messages are in plain English: no idioms to decode, no sentence above 40 words."""

import ast
import re
from inspect import cleandoc
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
GENERATED = {"cli.md", "reference.md"}
DOCS = [page for page in sorted((ROOT / "docs").glob("*.md")) if page.name not in GENERATED]
FILES = [*(ROOT / f"{name}.md" for name in ("README", "CONTRIBUTING", "CHANGELOG")), *DOCS]
FILES += sorted((ROOT / "gensweep").rglob("*.py"))
MAX_WORDS = 40
IDIOMS = {
    "what-clause": r"what (is|are|was|were|has|have|it|they|an?|the|one|of|to|others?|[a-z]{2,}s)",
    "those that": r"those (that|which)",
    "goes on": r"(goes|go|gone|going|went) on",
    "so many": r"so (many|few) \w+|as (many|few) as (?!possible)\w+",
    "nobody": r"(nobody|somebody|whoever|one that|one which)",
    "mend": r"mend(s|ed|ing)?",
    "lies": r"(lies?|lay) (in|at|on|beside|below|above|outside|where)",
    "such a": r"such (a|an|are|as are)",
    "comes to": r"(comes?|came) to (a|an|the|its|their)",
    "takes in": r"(takes?|took) (in|over|up|back|the place)",
    "is to be": r"(is|are|was|were) to (be|have|go|run|end|stop|do)",
    "dear": r"dear(er)?",
    "of its own": r"of (its|their|one's|your) own",
}


def page_blocks(text):
    """Paragraphs, list items and table cells with their lines, without code blocks."""
    text = re.sub(r"^ *```.*?^ *```|^(?: {4}|\t).*?$", lambda code: "\n" * code[0].count("\n"), text, flags=re.M | re.S)
    for block in re.finditer(r"(?:(?!\n\n|\n *(?:[-*] |[|#]|\d+\. )|\|).)+", text, re.DOTALL):
        yield text.count("\n", 0, block.start()) + 1, block[0]


def code_blocks(text):
    """Paragraphs and listed lines of docstrings and messages, with the line where each string starts."""
    for node in ast.walk(ast.parse(text)):
        parts = node.values if isinstance(node, ast.JoinedStr) else [node]
        words = "".join(str(part.value) if isinstance(part, ast.Constant) else "x" for part in parts)
        for block in re.split(r"\n\s*\n|\n {2,}(?=\S)|\n(?=.* {3})", cleandoc(words)):
            yield getattr(node, "lineno", 0), block


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(ROOT)))
def test_prose_is_plain(file):
    found = set()
    for line, block in (page_blocks if file.suffix == ".md" else code_blocks)(file.read_text(encoding="utf-8")):
        for sentence in re.split(r"(?<=[.!?;:])\s", re.sub(r"`[^`]*`|\([^)]*\)", "x", block)):
            named = [name for name, idiom in IDIOMS.items() if re.search(rf"\b{idiom}\b", sentence, re.IGNORECASE)]
            named += ["too long"] if len(sentence.split()) > MAX_WORDS else []
            found |= {f"{file.name}:{line}: {name}: {' '.join(sentence.split())}" for name in named}
    assert not found, "\n".join(["", *sorted(found)])
