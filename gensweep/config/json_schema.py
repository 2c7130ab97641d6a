"""JSON Schema of the files, so that editors complete and check them while they are written."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema, models_json_schema
from pydantic_core import core_schema

from gensweep.config import registries
from gensweep.config.problems import describe_field
from gensweep.config.schema import meaning, shape_of
from gensweep.config.sweep_config import SweepConfig
from gensweep.config.trial_config import trial_model

DIALECT = "https://json-schema.org/draft/2020-12/schema"


class _WithMeanings(GenerateJsonSchema):
    """Says of every property what it means."""

    def model_schema(self, schema: core_schema.ModelSchema) -> dict[str, Any]:
        made = super().model_schema(schema)
        for name, each in made.get("properties", {}).items():
            each |= {"description": words} if (words := meaning(schema["cls"], name)) else {}
        return made


def _range_schema(name: str, item: str, description: str) -> dict[str, Any]:
    bounds = {
        "description": "the lowest and the highest value",
        "type": "array",
        "minItems": 2,
        "maxItems": 2,
        "items": {"type": item},
    }
    step = {"description": "distance between two values, from the lowest on", "type": item, "exclusiveMinimum": 0}
    log = {"description": "whether values are drawn evenly on a logarithmic scale", "type": "boolean"}
    value = {"description": "the value that you believe in", "type": "number"}
    width = {"description": "the standard deviation around it, in parts of the range", "type": "number"}
    believed = {"type": "object", "properties": {"value": value, "width": width}, "required": ["value"]}
    prior = {
        "description": "the value that you believe in: draws are denser around it",
        "anyOf": [{"type": "number"}, believed | {"additionalProperties": False}],
    }
    return {
        "type": "object",
        "description": f"{description} from low to high, both included",
        "properties": {name: bounds, "step": step, "log": log, "prior": prior},
        "required": [name],
        "additionalProperties": False,
    }


ENTRY_SCHEMA: dict[str, Any] = {
    "description": "a range, a choice, or a fixed value",
    "anyOf": [
        _range_schema("int", "integer", "whole numbers"),
        _range_schema("float", "number", "numbers"),
        {
            "type": "object",
            "description": "one of several values, or of several sub-spaces {kind: ..., setting: range}",
            "properties": {
                "choice": {
                    "description": "the values or sub-spaces, of which one is taken",
                    "type": "array",
                    "minItems": 1,
                    "items": {"$ref": "#/$defs/ChoiceElement"},
                }
            },
            "required": ["choice"],
            "additionalProperties": False,
        },
        {
            "type": "object",
            "description": "several entries under one key",
            "propertyNames": {"not": {"enum": ["int", "float", "choice", "step", "log", "prior"]}},
            "additionalProperties": {"$ref": "#/$defs/SpaceEntry"},
        },
        {"type": ["string", "number", "boolean", "null", "array"]},
    ],
}
ELEMENT_SCHEMA: dict[str, Any] = {
    "anyOf": [
        {
            "type": "object",
            "properties": {"kind": {"description": "which of the kinds that may stand here", "type": "string"}},
            "additionalProperties": {"$ref": "#/$defs/SpaceEntry"},
        },
        {"type": ["string", "number", "boolean", "null", "array"]},
    ]
}


def trial_schema() -> dict[str, Any]:
    """Schema of a trial's file: one alternative for each family."""
    sampling_configs, definitions = _trials()
    return {
        "$schema": DIALECT,
        "title": "gensweep trial",
        "description": "One training run. Start it with `gensweep train FILE`.",
        "anyOf": sampling_configs,
        "$defs": definitions,
    }


def sweep_schema() -> dict[str, Any]:
    """Schema of a sweep's file, with every key that a space may search."""
    sampling_configs, definitions = _trials()
    schema = SweepConfig.model_json_schema(schema_generator=_WithMeanings)
    properties = schema["properties"]
    # What the space decides need not stand in the base.
    base = [copy.deepcopy(definitions[each["$ref"].rpartition("/")[2]]) for each in sampling_configs]
    for each in base:
        each.pop("required", None)
    properties["base"] = {"description": meaning(SweepConfig, "base"), "anyOf": base}
    properties["space"] = {
        "type": "object",
        "description": meaning(SweepConfig, "space"),
        "properties": _entries(),
        "additionalProperties": {"$ref": "#/$defs/SpaceEntry"},
    }
    schema["$defs"] |= definitions | {"SpaceEntry": ENTRY_SCHEMA, "ChoiceElement": ELEMENT_SCHEMA}
    schema |= {"title": "gensweep sweep", "description": "A sweep. Start it with `gensweep tune FILE`."}
    return {"$schema": DIALECT} | schema


def _trials() -> tuple[list[dict[str, Any]], dict[str, Any]]:
    models = [trial_model(family) for family in registries.families()]
    references, schema = models_json_schema([(model, "validation") for model in models], schema_generator=_WithMeanings)
    return [references[model, "validation"] for model in models], schema["$defs"]


def _entries() -> dict[str, dict[str, Any]]:
    """What a space may search, by dotted key; kinds and families that share a key say each what it means to them."""
    found: dict[str, dict[tuple[str, ...], dict[str, None]]] = {}
    for family in registries.families():
        for key, takes, words in _keys(trial_model(family), ()):
            if key != "plugins":
                said = (words.rstrip("."),) if words else ()
                found.setdefault(key, {}).setdefault(said, {}).update(dict.fromkeys(takes))
    return {
        key: {
            "$ref": "#/$defs/SpaceEntry",
            "description": "; ".join(": ".join([" or ".join(takes), *words]) for words, takes in each.items()),
        }
        for key, each in sorted(found.items())
    }


def _keys(model: type[BaseModel], above: tuple[str, ...]) -> Iterator[tuple[str, list[str], str]]:
    """Every dotted key below a model, in all kinds, with what it takes and what it means."""
    for name, field in model.model_fields.items():
        path = (*above, name)
        shape = shape_of(model, name)
        if shape is None:
            yield ".".join(path), [describe_field(field)], meaning(model, name)
            continue
        yield ".".join(path), shape.kinds or ["a section"], meaning(model, name)
        for below in shape.models.values():
            yield from _keys(below, path)
