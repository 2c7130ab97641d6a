"""JSON Schema of the files, so that editors complete and check them while they are written."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from gensweep.config import registries
from gensweep.config.problems import describe_field
from gensweep.config.schema import shape_of
from gensweep.config.sweep_config import SweepConfig
from gensweep.config.trial_config import trial_model

DIALECT = "https://json-schema.org/draft/2020-12/schema"


def _range_schema(name: str, item: str, description: str) -> dict[str, Any]:
    bounds = {"type": "array", "minItems": 2, "maxItems": 2, "items": {"type": item}}
    step = {"type": item, "exclusiveMinimum": 0}
    number = {"type": "number"}
    believed = {"type": "object", "properties": {"value": number, "width": number}, "required": ["value"]}
    prior = {
        "description": "the value that you believe in; width: the standard deviation around it, in parts of the range",
        "anyOf": [number, believed | {"additionalProperties": False}],
    }
    return {
        "type": "object",
        "description": f"{description} from low to high, both included",
        "properties": {name: bounds, "step": step, "log": {"type": "boolean"}, "prior": prior},
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
            "properties": {"choice": {"type": "array", "minItems": 1, "items": {"$ref": "#/$defs/ChoiceElement"}}},
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
            "properties": {"kind": {"type": "string"}},
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
    schema = SweepConfig.model_json_schema()
    properties = schema["properties"]
    # What the space decides need not stand in the base.
    base = [copy.deepcopy(definitions[each["$ref"].rpartition("/")[2]]) for each in sampling_configs]
    for each in base:
        each.pop("required", None)
    properties["base"] = {"description": "the configuration that all trials share", "anyOf": base}
    properties["space"] = {
        "type": "object",
        "description": "what is searched, by dotted key of a trial",
        "properties": dict(sorted(_entries(), key=lambda entry: entry[0])),
        "additionalProperties": {"$ref": "#/$defs/SpaceEntry"},
    }
    properties["scales"]["description"] = "named sets of overrides by dotted key, for --scale NAME"
    schema["$defs"] |= definitions | {"SpaceEntry": ENTRY_SCHEMA, "ChoiceElement": ELEMENT_SCHEMA}
    schema |= {"title": "gensweep sweep", "description": "A sweep. Start it with `gensweep tune FILE`."}
    return {"$schema": DIALECT} | schema


def _trials() -> tuple[list[dict[str, Any]], dict[str, Any]]:
    models = [trial_model(family) for family in registries.families()]
    references, schema = models_json_schema([(model, "validation") for model in models])
    return [references[model, "validation"] for model in models], schema["$defs"]


def _entries() -> Iterator[tuple[str, dict[str, Any]]]:
    for family in registries.families():
        for key, description in _keys(trial_model(family), ()):
            if key == "plugins":
                continue
            yield key, {"$ref": "#/$defs/SpaceEntry", "description": description}


def _keys(model: type[BaseModel], above: tuple[str, ...]) -> Iterator[tuple[str, str]]:
    """Every dotted key below a model, in all kinds, with what it takes."""
    for name, field in model.model_fields.items():
        path = (*above, name)
        shape = shape_of(model, name)
        if shape is None:
            yield ".".join(path), describe_field(field)
            continue
        yield ".".join(path), f"{shape.noun}: {', '.join(shape.kinds)}" if shape.kinds else "a section"
        for below in shape.models.values():
            yield from _keys(below, path)
