import csv
import io
import json

import click
import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from gensweep.report.output import format_option, print_json, print_rows

ROWS = [
    {"#": 1, "sweep": "a-long-name-of-a-sweep", "score": 12.3456, "images": "60k", "what differs": "x=1 " * 30},
    {"#": 12, "sweep": "b", "score": None, "images": "-", "what differs": "[bold]y[/bold]=2"},
]


@pytest.mark.parametrize("width", [20, 40, 60, 80, 120, 300])
def test_a_table_never_cuts_a_value(width, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", str(width))
    print_rows(ROWS, "table")
    text = capsys.readouterr().out
    for words in ("a-long-name-of-a-sweep", "12.35", "60k", "[bold]y[/bold]=2"):
        assert words in text
    assert text.count("x=1") == 30
    if width >= 40:
        assert max(map(len, text.splitlines())) <= width


def test_into_a_pipe_there_are_no_colours_and_no_narrow_columns(capsys, monkeypatch):
    monkeypatch.delenv("COLUMNS", raising=False)
    print_rows(ROWS, "table")
    text = capsys.readouterr().out
    assert "\x1b" not in text
    assert "x=1 " * 29 in text
    assert "score" in text


def test_numbers_stand_right_aligned(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    print_rows([{"n": 5, "rest": "a"}, {"n": 1234, "rest": "b"}], "table")
    lines = [line for line in capsys.readouterr().out.splitlines() if line.rstrip().endswith(("a", "b"))]
    assert lines[0].index("5") == lines[1].index("4")


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
