"""YAML written so that the strict reader takes it back: text that looks like something else stands in quotes."""

from __future__ import annotations

from typing import Any

import yaml

from gensweep.config.yaml import read_value


class _Dumper(yaml.SafeDumper):
    """Mappings in their own order, short lists on one line, no anchors."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    plain = read_value(text, "") if text.strip() == text and text else None
    is_text = plain is not None and not plain.problems and plain.value == text
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=None if is_text else "'")


def _list(dumper: yaml.SafeDumper, items: list[Any]) -> yaml.SequenceNode:
    short = not any(isinstance(item, dict | list) for item in items)
    return dumper.represent_sequence("tag:yaml.org,2002:seq", items, flow_style=short)


_Dumper.add_representer(str, _text)
_Dumper.add_representer(list, _list)


def to_yaml(value: Any) -> str:
    """Plain nested values as YAML text."""
    return yaml.dump(value, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=100)
