import csv
import io
import json

import click
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from gensweep.report.output import format_option, print_json, print_rows


@settings(deadline=None)
@given(st.lists(st.fixed_dictionaries({"a": st.text(st.characters(exclude_categories=("Cs",))), "b": st.integers()})))
def test_csv_and_json_come_back_as_they_were(rows):
    for format, read in (
        ("json", json.loads),
        ("csv", lambda text: list(csv.DictReader(io.StringIO(text, newline="")))),
    ):

        @click.command()
        @format_option
        def command(format):
            print_rows(rows, format)

        text = CliRunner().invoke(command, ["--format", format]).stdout
        found = read(text) if text else []
        assert [row["b"] for row in found] == [row["b"] if format == "json" else str(row["b"]) for row in rows]
        if format == "json":
            assert found == rows


def test_json_is_valid_whatever_the_numbers(capsys):
    print_json({"a": float("nan"), "b": [float("inf"), 1.5], "c": {"d": float("-inf")}})
    assert json.loads(capsys.readouterr().out) == {"a": None, "b": [None, 1.5], "c": {"d": None}}


def test_nothing_prints_nothing_but_an_empty_json_list(capsys):
    for format in ("table", "csv"):
        print_rows([], format)
    assert capsys.readouterr().out == ""
    print_rows([], "json")
    assert json.loads(capsys.readouterr().out) == []
