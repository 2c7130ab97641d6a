import contextlib
import csv
import fcntl
import io
import json
import os
import pty
import re
import struct
import subprocess
import sys
import termios
from dataclasses import replace

import pytest

from gensweep.cli.main import run
from gensweep.report.ranked_trials import varied
from gensweep.report.wording import setting_list
from gensweep.results import Cost
from gensweep.tracking.runs import find_sweep

LONG = "gan-vs-ddpm-diffusion-cpu"


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    from made_up import IDENTITY, diffusion, gan, mlflow_store, write_sweep

    with mlflow_store(tmp_path_factory.mktemp("store")) as folder:
        write_sweep(folder, "few", diffusion, 1, rungs=1, identity=replace(IDENTITY, samples=500), pictures=False)
        write_sweep(folder, "broken", gan, 1, failing=0)
        write_sweep(folder, "dcgan", gan, 3, seed=2, rungs=1, failing=1, pictures=False)
        write_sweep(folder, LONG, diffusion, 2, seed=1, rungs=1)
        yield folder


def test_compare_prints_a_table_and_writes_the_report(store, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    assert run(["best", "--compare"]) == 0
    out, err = capsys.readouterr()
    assert max(map(len, out.splitlines())) <= 80
    assert "FD-EffNetLite0" in out
    assert max(map(len, err.splitlines())) <= 80
    err = " ".join(err.split())
    assert "Left out: few: scores of another kind (generated images: 500 against 2,000)" in err
    assert "Failed: 1 trials (dcgan/t0001)" in err
    assert "Too close to call at 60k images of training" in " ".join(err.split())
    assert "</html>" in (store / "report.html").read_text(encoding="utf-8")


@pytest.mark.parametrize("words", [["best", LONG], ["best", "--compare", "--no-html"], ["trials", LONG]])
def test_at_80_columns_no_record_breaks(store, capsys, monkeypatch, words):
    monkeypatch.setenv("COLUMNS", "80")
    assert run(words) == 0
    check_records("".join(capsys.readouterr()).splitlines(), words)


def test_in_a_terminal_of_80_columns_no_record_breaks(store):
    words = ["best", "--compare", "--no-html"]
    check_records(in_terminal(store, words, columns=80), words)


def check_records(lines, words):
    """Every trial has its name and score in one line, and its settings whole below it."""
    # What has no place to break at, such as a path, may be longer.
    assert all(len(line) <= 80 or " " not in line.split("  ")[-1].strip() for line in lines), "\n".join(lines)
    sweep = find_sweep(LONG)
    shown = () if words == ["best", LONG] else sweep.trials
    for trial in shown:
        names = {trial.trial} if words[0] == "trials" else {trial.sweep, trial.trial}
        row = next(number for number, line in enumerate(lines) if names <= set(line.split()))
        assert trial.objective is None or f"{trial.objective.value:.4g}" in lines[row].split()
        settings = setting_list(trial.params, varied(sweep.trials))
        assert set(settings) <= set(" ".join(lines[row + 1 : row + 5]).split())


def in_terminal(folder, words, columns):
    """The lines that a command shows in a terminal so wide."""
    driver, terminal = pty.openpty()
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
    environment = {key: value for key, value in os.environ.items() if key != "COLUMNS"}
    command = [sys.executable, "-m", "gensweep", *words]
    with subprocess.Popen(command, cwd=folder, env=environment, stdin=terminal, stdout=terminal, stderr=terminal):
        os.close(terminal)
        shown = b""
        with contextlib.suppress(OSError):  # the terminal is gone with the process
            while piece := os.read(driver, 1 << 16):
                shown += piece
    os.close(driver)
    return re.sub(r"\x1b\[[0-9;]*m", "", shown.decode()).splitlines()


def test_compare_as_json(store, capsys):
    assert run(["best", "--compare", "--no-html", "--format", "json"]) == 0
    value = json.loads(capsys.readouterr().out)
    assert sorted(value["sweeps"]) == ["dcgan", LONG]
    assert [entry["rank"] for entry in value["entries"]] == [1, 2, 3, 4]
    scores = [entry["objective"]["value"] for entry in value["entries"]]
    assert scores == sorted(scores)
    for entry in value["entries"]:
        assert set(entry) == {
            "rank", "sweep", "trial", "run_id", "family", "objective", "cost", "params", "checkpoint", "status",
            "rescored", "further_scores", "signals", "warnings", "lineage", "objectives", "broken_limits",
        }  # fmt: skip
        assert set(entry["objective"]) == {
            "metric", "value", "corrected", "interval", "guessed", "identity", "floor", "ceiling",
        }  # fmt: skip
        assert {"images", "flops", "device_seconds", "train_seconds", "sample_seconds", "params"} <= set(entry["cost"])
    assert {item["sweep"] for item in value["not_comparable"]} == {"few", "broken"}


def test_compare_as_csv_has_one_row_an_entry(store, capsys):
    assert run(["best", "--compare", "--no-html", "--format", "csv"]) == 0
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert [row["rank"] for row in rows] == ["1", "2", "3", "4"]
    assert rows[0]["objective.identity.samples"] == "2000"
    assert rows[0]["cost.params"] == "1500000"
    assert {row["params.network.width"] for row in rows} <= {"32", "64", "96", "128"}
    assert [row["params.gan.loss.kind"] == "" for row in rows] == [row["family"] == "diffusion" for row in rows]
    assert not any(cell.startswith(("{", "[")) for row in rows for cell in row.values())


def test_the_best_as_csv_has_a_column_a_setting_of_its_configuration(store, capsys):
    assert run(["best", LONG, "--format", "csv"]) == 0
    (row,) = csv.DictReader(io.StringIO(capsys.readouterr().out))
    assert row["config.family.kind"] == "diffusion"
    assert row["config.network.multipliers"] == "1 2 2"
    assert row["reproduce"] == f"gensweep train --from-run {LONG}/{row['trial']}"
    assert not any(cell.startswith(("{", "[")) for cell in row.values())


def test_trials_as_csv_have_a_column_a_setting(store, capsys):
    assert run(["trials", "dcgan", "--format", "csv"]) == 0
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert [row["status"] for row in rows] == ["finished", "failed", "finished"]
    assert all(float(row["params.gan.generator_learning_rate"]) > 0 for row in rows)
    assert rows[1]["objective"] == rows[1]["signals.diversity"] == ""
    assert rows[0]["signals.diversity"] == "0.7"


def test_naming_sweeps_that_cannot_be_compared_is_an_error_that_tells_the_way_out(store, capsys):
    assert run(["best", "--compare", "--no-html", LONG, "few"]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert "cannot be compared" in err
    assert "--set evaluation.samples=" in err


@pytest.mark.parametrize("arguments", [["best", "--compare", "broken"], ["best", "broken"]])
def test_nothing_to_compare_is_code_4_and_one_line(store, capsys, arguments):
    assert run(arguments) == 4
    err = capsys.readouterr().err
    assert err.startswith("Error: nothing to compare")
    assert err.strip().count("\n") == 0
    assert "gensweep trials broken" in err


def test_the_best_of_a_sweep_with_its_configuration(store, capsys):
    assert run(["best", LONG, "--format", "json"]) == 0
    value = json.loads(capsys.readouterr().out)
    assert value["config"]["family"]["kind"] == "diffusion"
    assert value["reproduce"] == f"gensweep train --from-run {LONG}/{value['trial']}"
    assert run(["best", LONG]) == 0
    out = capsys.readouterr().out
    assert value["reproduce"] in out
    assert "  kind: diffusion" in out


def test_several_sweeps_need_compare(store, capsys):
    assert run(["best", LONG, "dcgan"]) == 2
    assert f"gensweep best --compare {LONG} dcgan" in capsys.readouterr().err


def test_unknown_sweeps_get_a_suggestion(store, capsys):
    assert run(["best", "--compare", "dcgna"]) == 2
    assert "did you mean 'dcgan'" in capsys.readouterr().err


def test_trials_as_table(store, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    assert run(["trials", "dcgan"]) == 0
    out, err = capsys.readouterr()
    assert "NonFiniteLoss" in out
    assert "* t000" in out
    assert "dcgan (finished): 2 finished, 1 failed" in err


def test_trials_as_json(store, capsys):
    assert run(["trials", "dcgan", "--format", "json"]) == 0
    value = json.loads(capsys.readouterr().out)
    assert [trial["status"] for trial in value] == ["finished", "failed", "finished"]
    assert {"trial", "run_id", "status", "objective", "images", "params"} <= set(value[0])
    assert isinstance(value[0]["objective"], float)
    assert value[1]["objective"] is None


@pytest.mark.mlflow
def test_an_empty_store_says_what_to_run(tmp_path, capsys):
    from made_up import mlflow_store

    with mlflow_store(tmp_path):
        for arguments in (["best"], ["best", "--compare"], ["trials"]):
            assert run(arguments) == 4
            assert "gensweep tune search_spaces/quickstart.yaml" in capsys.readouterr().err


@pytest.mark.mlflow
def test_a_dead_server_is_one_line(monkeypatch, capsys):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    assert run(["trials"]) == 1
    assert "http://127.0.0.1:9 does not answer" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["--budget", ""], 2, "is not an amount of compute; give a number and a unit: 2e13flops"),
        (["--budget", "0images"], 2, "give an amount above 0"),
        (["--budget", "3weeks"], 2, "has the unit 'weeks', which is none"),
        (["--budget", "9d"], 2, "is beyond what all were trained for"),
        (["--budget", "1images"], 2, "is less than the first scores of all took"),
        (["--budget", "1e12flops"], 2, "no trial has on record what it spent in flops"),
        (["--draw", "5", "--budget", "1e12flops"], 2, "no trial has on record what it spent in flops"),
        (["--budget", "60kimages", "--draw", "5"], 2, "--draw: drawing costs no training images"),
    ],
)
def test_budgets_that_say_nothing_are_refused_in_one_line(store, capsys, arguments, code, words):
    assert run(["best", "--compare", "dcgan", "--no-html", *arguments]) == code
    out, err = capsys.readouterr()
    assert out == ""
    assert words in err
    assert err.strip().count("\n") == 0


def test_sweeps_without_a_common_budget_are_code_4_and_one_line(store, capsys):
    assert run(["best", "--compare", "--no-html", "--budget", "20s"]) == 4
    err = capsys.readouterr().err
    assert re.search("nothing to compare at one budget: in device_seconds .* all of [-a-z]* have a score from", err)
    assert "train dcgan longer, or compare in another unit" in err
    assert err.strip().count("\n") == 0


def test_a_budget_belongs_to_a_comparison(store, capsys):
    assert run(["best", "dcgan", "--budget", "60kimages"]) == 2
    assert "add --compare" in capsys.readouterr().err


def test_a_budget_is_the_one_of_the_verdict(store, capsys):
    assert run(["best", "--compare", "--no-html", "--budget", "60000images", "--format", "json"]) == 0
    value = json.loads(capsys.readouterr().out)
    assert value["verdict"]["budget"] == {"unit": "images", "value": 60000}
    assert value["verdict"]["winner"]["trial"] in {entry["trial"] for entry in value["entries"]}
    assert {curve["unit"] for curve in value["curves"]} == {"images"}
    assert value["pareto"][0]["score"] == value["entries"][0]["objective"]["value"]


@pytest.fixture(scope="module")
def front(tmp_path_factory):
    """A sweep of two objectives; its best score breaks a limit."""
    from logged import LoggedSweep
    from made_up import mlflow_store

    further, limit = {"metric": "sample_flops", "mode": "min"}, {"metric": "params", "min": None, "max": 9.0}
    with mlflow_store(tmp_path_factory.mktemp("front")) as folder:
        sweep = LoggedSweep(folder / "sweeps", "front", trials=4, further=[further], constraints=[limit])
        for number, (score, flops, params) in enumerate([(5.0, 2e9, 9), (4.0, 3e9, 9), (6.0, 4e9, 9), (1.0, 1e9, 10)]):
            trial, cost = f"t{number:04d}", Cost(images=100, sample_flops=flops, params=params)
            sweep.start(trial, {"x": number}, {"family": {"kind": "gan"}})
            sweep.evaluate(trial, 100, score, cost=cost)
            sweep.end(trial)
        sweep.file()
        yield folder


@pytest.mark.mlflow
def test_the_front_of_several_objectives_is_json_and_a_table(front, capsys):
    assert run(["best", "front", "--format", "json"]) == 0
    value = json.loads(capsys.readouterr().out)
    assert (value["trial"], value["objectives"]) == ("t0001", {"fd": 4.0, "sample_flops": 3e9})
    assert [(row["trial"], row["params"]["x"]) for row in value["objective_front"]] == [("t0001", 1), ("t0000", 0)]
    assert run(["best", "front"]) == 0
    assert re.search(r"front/t0000 +GAN +5 +2 GFLOPs +x=0", capsys.readouterr().out)


@pytest.mark.mlflow
def test_the_report_draws_the_front_and_a_trial_that_breaks_a_limit_stays_out(front, capsys):
    assert run(["best", "--compare", "front", "--html", "front.html"]) == 0
    words = "Left out: front: 1 of 4 trials break a limit (t0003: params 10 is more than 9)"
    assert words in " ".join(capsys.readouterr().err.split())
    page = (front / "front.html").read_text()
    assert "<h2>The front of the objectives</h2>" in page
    assert "<h2>The objectives</h2>" in page
    assert run(["trials", "front"]) == 0
    assert "t0003 breaks a limit: params 10 is more than 9" in " ".join(capsys.readouterr().err.split())
