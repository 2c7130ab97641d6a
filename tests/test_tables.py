"""The published tables of real trials."""

import json

import jsonschema
import pytest
from replays.table import NAMES
from tables.load import TABLES, load_table

#: Trainings and configurations, of which so many have three seeds.
SIZES = {"digits": (560, 400, 80), "horses": (112, 80, 16), "cifar10": (224, 160, 32)}


@pytest.mark.parametrize("name", NAMES)
def test_each_line_is_as_its_schema_says(name):
    schema = json.loads((TABLES / "schema.json").read_text())
    kinds = [{**schema, "anyOf": [kind]} for kind in schema["anyOf"]]
    heading, *trainings = [json.loads(line) for line in (TABLES / f"{name}.jsonl").read_text().splitlines()]
    for kind, rows in zip(kinds, ([heading], trainings), strict=True):
        validator = jsonschema.Draft202012Validator(kind)
        assert not [error.message for row in rows for error in validator.iter_errors(row)]


@pytest.mark.parametrize("name", NAMES)
def test_the_loader_reads_all_of_it(name):
    table = load_table(name)
    seeds = [{training.seed for training in each} for each in table.by_configuration.values()]
    assert (len(table.trainings), len(seeds), seeds.count({0, 1, 2})) == SIZES[name]
    assert all(len({*map(len, training.curve.values())}) == 1 for training in table.trainings)
