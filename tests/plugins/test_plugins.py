"""Modules and files outside of this repository add kinds, and what is none is told in a line."""

import re
import sys
from pathlib import Path

import pytest
import yaml
from own_schedule import SCHEDULE, trial_with
from recorded import sweep, trial

import gensweep as gs
from gensweep import plugins
from gensweep.cli.main import run
from gensweep.config import load_sweep, load_trial
from gensweep.diffusion.schedules import SCHEDULES
from gensweep.errors import ConfigError
from gensweep.report.html import render
from gensweep.verdict.comparison import compare
from gensweep.verdict.recommendation import recommend


def test_a_file_is_a_plugin_and_its_parameters_are_settings(here):
    Path("mine.py").write_text(SCHEDULE.format(kind="steady"))
    trial = load_trial(trial_with("steady", plugins="mine.py"), overrides={"diffusion.schedule.rate": 4.0})
    assert (trial.plugins, trial.flat()["diffusion.schedule.rate"]) == (("mine.py",), 4.0)
    assert SCHEDULES.kinds()[-1] == "steady"
    with pytest.raises(ConfigError, match=r"schedule\.rate: 'a'"):
        load_trial(trial_with("steady", plugins=["mine.py"]), overrides={"diffusion.schedule.rate": "a"})


def test_a_module_that_was_imported_otherwise_is_recorded_where_it_is_used(here):
    Path("by_hand.py").write_text(SCHEDULE.format(kind="handmade"))
    plugins.load("by_hand.py")
    plain = load_trial(trial_with("linear"))
    assert "plugins" not in plain.as_dict()
    space = {"name": "a", "base": trial_with("linear"), "space": {}}
    space["space"]["diffusion.schedule.kind"] = {"choice": ["linear", "handmade"]}
    sweep = load_sweep(space, overrides={"search.trials": 2})
    assert sweep.plugins == ("by_hand.py",)
    assert sweep.trial({"diffusion.schedule.kind": "linear"}).plugins == ("by_hand.py",)


def test_two_files_of_one_name_are_not_taken_for_each_other(here):
    for folder, kind in (("nets", "first_of_two"), ("schedules", "second_of_two")):
        Path(folder).mkdir()
        Path(folder, "same.py").write_text(SCHEDULE.format(kind=kind))
    assert plugins.load("nets/same.py") is plugins.load("nets/same.py") is plugins.load("./nets/same.py")
    with pytest.raises(ConfigError, match=r"schedules/same\.py: 'same' is the name of another plug-in, nets/same\.py"):
        plugins.load("schedules/same.py")


@pytest.mark.parametrize(
    ("file", "text", "name", "message"),
    [
        (None, "", "nowhere.mine", "plug-in nowhere.mine: there is no module nowhere, neither installed nor in "),
        (None, "", "gone.py", "plug-in gone.py: there is no such file in "),
        (None, "", "a b", "plug-in 'a b': name a module, such as my_package.schedules, or a file, such as mine.py"),
        ("json.py", "", "json.py", "plug-in json.py: json is the name of another module ("),
        ("bad.py", "1 / 0", "bad.py", "plug-in bad.py: importing it raises ZeroDivisionError: division by zero ("),
        ("torn.py", "def f(:", "torn", "plug-in torn: importing it raises SyntaxError: "),
        ("needy.py", "import not_there", "needy", "plug-in needy: it imports not_there, which is not installed"),
        (
            "again.py",
            SCHEDULE.format(kind="cosine"),
            "again.py",
            "plug-in again.py: 'cosine' is already the schedule of gensweep.diffusion.schedules",
        ),
    ],
)
def test_what_is_no_plugin_is_told_in_a_line(here, capsys, file, text, name, message):
    if file is not None:
        Path(file).write_text(text)
    Path("trial.yaml").write_text(yaml.safe_dump({"plugins": [name], **trial_with("cosine")}, sort_keys=False))
    assert run(["config", "validate", "trial.yaml"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"Error: trial.yaml:2: plugins: {message}")
    assert run(["config", "validate", "trial.yaml", "--set", "plugins=[]", "--import", name]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith((f"Error: {message}", "Error: trial.yaml:2: plugins: "))
    assert SCHEDULES["cosine"].__module__ == "gensweep.diffusion.schedules"


def test_script_functions_are_refused_and_redefinitions_replace(here):
    scope = {"__name__": "__main__"}
    for rate in ("5.0", "7.0"):
        exec(SCHEDULE.format(kind="typed_in").replace("5.0", rate), scope)
    assert SCHEDULES["typed_in"] is scope["typed_in"]
    with pytest.raises(ConfigError, match="typed_in is registered in a script or notebook, which workers cannot"):
        load_trial(trial_with("typed_in"))


COMMAND = '''
import click

@click.command()
@click.option("--loud", is_flag=True)
def shout(loud):
    """Say it louder."""
    print("HEY" if loud else "hey")
'''


def test_an_installed_package_adds_a_command(bought, capsys):
    bought(COMMAND, "gensweep.commands", "bought:shout")
    assert run(["--help"]) == 0
    assert re.search(r"any +Say it louder\.", capsys.readouterr().out)
    assert "bought" not in sys.modules
    assert run(["any", "--loud"]) == 0
    assert capsys.readouterr().out == "HEY\n"


def test_a_command_that_cannot_be_imported_names_its_package(bought, capsys):
    bought("import not_there", "gensweep.commands", "bought:shout")
    assert run(["--help"]) == 0
    assert run(["any"]) == 2
    assert "it imports not_there, which is not installed; it came with the package bought" in capsys.readouterr().err


def test_an_installed_package_adds_a_part_of_the_report(bought):
    text = "def part(comparison, judged):\n    return f'<h2>{judged.recommended.trial.name} has colours</h2>'\n"
    bought(text, "gensweep.report_parts", "bought:part")
    comparison = compare([sweep("a", [trial("a", 0, 5.0)])])
    assert "<h2>a/t0000 has colours</h2>" in render(comparison, recommend(comparison))


def test_an_installed_package_adds_a_function(bought):
    bought("def twice(number):\n    return 2 * number\n", "gensweep.functions", "bought:twice")
    assert gs.any(3) == 6


def test_an_installed_package_is_a_plugin_by_its_entry_point(bought, monkeypatch):
    bought(SCHEDULE.format(kind="bought"), "gensweep.plugins", "bought")
    monkeypatch.setattr(plugins, "_installed_are_loaded", False)
    plugins.load_installed()
    assert load_trial(trial_with("bought")).plugins == ("bought",)
    monkeypatch.setattr(plugins, "_installed_are_loaded", False)
    monkeypatch.setattr(plugins, "_loaded", {})
    del sys.modules["bought"]
    Path("bought.py").write_text("import not_there")
    with pytest.raises(ConfigError, match="it imports not_there, which is not installed; it came with the package bou"):
        plugins.load_installed()
