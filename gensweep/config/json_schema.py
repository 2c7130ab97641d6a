"""JSON Schema of a sweep's file, with which editors complete and check it."""

from __future__ import annotations

import functools
import operator
from collections.abc import Iterator
from typing import Any

from pydantic import BaseModel, TypeAdapter
from pydantic.json_schema import GenerateJsonSchema
from pydantic_core import core_schema

from gensweep.config import registries
from gensweep.config.problems import describe_field
from gensweep.config.schema import meaning, shape_of
from gensweep.config.search_space import RANGE_KINDS, FloatRange, IntRange
from gensweep.config.sweep_config import SweepConfig
from gensweep.config.trial_config import trial_model


class _WithMeanings(GenerateJsonSchema):
    """Describes every property; titles would repeat the keys."""

    def field_title_should_be_set(self, schema: Any) -> bool:
        return False

    def model_schema(self, schema: core_schema.ModelSchema) -> dict[str, Any]:
        made = super().model_schema(schema)
        for name, each in made.get("properties", {}).items():
            each |= {"description": words} if (words := meaning(schema["cls"], name)) else {}
        return made


ENTRY, PLAIN = {"$ref": "#/$defs/SpaceEntry"}, {"type": ["string", "number", "boolean", "null", "array"]}
ELEMENT = {"anyOf": [{"type": "object", "additionalProperties": ENTRY}, PLAIN]}
TAKEN = "the values or sub-spaces; each trial gets one of them"
CHOICE = {
    "type": "object",
    "description": "one of several values, or of several sub-spaces {kind: ..., setting: range}",
    "properties": {"choice": {"description": TAKEN, "type": "array", "minItems": 1, "items": ELEMENT}},
    "required": ["choice"],
    "additionalProperties": False,
}
SEVERAL = {
    "type": "object",
    "description": "several entries under one key",
    "propertyNames": {"not": {"enum": [*RANGE_KINDS, "step", "log"]}},
    "additionalProperties": ENTRY,
}


def sweep_schema() -> dict[str, Any]:
    """Schema of a sweep's file, with every key that a space may search."""
    schema, trials = _of_any(SweepConfig), _of_any(*_models())
    ranges = _of_any(IntRange, FloatRange)
    schema["$defs"] |= trials["$defs"] | ranges["$defs"]
    schema["$defs"]["SpaceEntry"] = {"anyOf": [*ranges["anyOf"], CHOICE, SEVERAL, PLAIN]}
    for each in trials["anyOf"]:
        # The base may omit keys of the space.
        schema["$defs"][each["$ref"].rpartition("/")[2]].pop("required", None)
    schema["properties"]["base"] = {"description": meaning(SweepConfig, "base"), "anyOf": trials["anyOf"]}
    schema["properties"]["space"] = {
        "type": "object",
        "description": meaning(SweepConfig, "space"),
        "properties": {key: ENTRY | {"description": words} for key, words in sorted(_keys().items())},
        "additionalProperties": ENTRY,
    }
    described = "A sweep. Start it with `gensweep tune FILE`."
    dialect = "https://json-schema.org/draft/2020-12/schema"
    return {"$schema": dialect} | schema | {"title": "gensweep sweep", "description": described}


def _models() -> list[type[BaseModel]]:
    return [trial_model(family) for family in registries.families()]


def _of_any(*models: type[BaseModel]) -> dict[str, Any]:
    union: Any = functools.reduce(operator.or_, models)
    return TypeAdapter(union).json_schema(schema_generator=_WithMeanings)


def _keys() -> dict[str, str]:
    """Every key that a space may search, with its meanings in all kinds and families."""
    found: dict[str, dict[str, None]] = {}
    for model in _models():
        for key, words in _keys_below(model, ""):
            found.setdefault(key, {})[words] = None
    return {key: "; ".join(words) for key, words in found.items() if key != "plugins"}


def _keys_below(model: type[BaseModel], above: str) -> Iterator[tuple[str, str]]:
    for name, field in model.model_fields.items():
        shape = shape_of(model, name)
        takes = describe_field(field) if shape is None else " or ".join(shape.kinds) or "a section"
        yield above + name, f"{takes}: {words}" if (words := meaning(model, name)) else takes
        for below in shape.models.values() if shape else ():
            yield from _keys_below(below, f"{above}{name}.")
