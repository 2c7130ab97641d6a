import csv
import io
import json

import click
import pytest
from click.testing import CliRunner
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gensweep.report.output import format_option, print_facts, print_json, print_remark, print_rows, print_table


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


NAMES = st.text("abcdefghij-./_", min_size=1, max_size=12)
COMMAND = "gensweep tune 'my space.yaml' --name a-2 --set data.kind=image_folder --set 'data.path=\"my photos: #1\"'"


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.integers(2, 8).flatmap(lambda count: st.lists(st.lists(NAMES, min_size=count, max_size=count), min_size=1)),
    st.sampled_from([40, 80]),
)
def test_a_table_of_any_width_shows_each_cell_whole_and_fits(capsys, monkeypatch, rows, width):
    monkeypatch.setenv("COLUMNS", str(width))
    print_table({f"c{index}": cells for index, cells in enumerate(zip(*rows, strict=True))})
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= width
    words = [word.strip(",") for line in lines for word in line.split()]
    for row in rows:
        for cell in row:
            assert cell.strip(",") in words


@pytest.mark.parametrize("width", [30, 200])
def test_a_command_stays_in_one_line(capsys, monkeypatch, width):
    monkeypatch.setenv("COLUMNS", str(width))
    print_facts({"reproduce": COMMAND}, commands=("reproduce",))
    assert capsys.readouterr().out == f"reproduce  {COMMAND}\n"
    print_remark("to make it comparable:", COMMAND)
    assert capsys.readouterr().err == f"to make it comparable: {COMMAND}\n"


def test_into_a_pipe_each_row_and_each_fact_is_one_line(capsys, monkeypatch):
    monkeypatch.delenv("COLUMNS", raising=False)
    print_table({"a": ["x" * 300, "y"], "b": ["1", "2"], "settings": ["w " * 200, "v"]})
    assert len([line for line in capsys.readouterr().out.splitlines() if line.strip()]) == 2 + 2
    print_facts({"a": "word " * 100, "command": COMMAND}, commands=("command",))
    assert len(capsys.readouterr().out.splitlines()) == 2
