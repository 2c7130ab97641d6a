import csv
import io
import json
import re
from dataclasses import replace

import pytest
import yaml

from gensweep.cli.main import run
from gensweep.report.wording import format_setting_list
from gensweep.results import Cost
from gensweep.sweep.stored_sweeps import find_sweep
from gensweep.verdict.comparison import varied_by_family

LONG = "gan-vs-ddpm-diffusion-cpu"
#: What every command says that finds MLflow away.
NOTE = "MLflow is not up to date"


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    from made_up import IDENTITY, diffusion, gan, project, write_sweep

    with project(tmp_path_factory.mktemp("store")) as folder:
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
    assert all(len(line) <= 80 for line in err.splitlines() if not line.startswith(NOTE))
    err = " ".join(err.split())
    assert "Left out: few: scores of another kind (generated images: 500 against 2,000)" in err
    assert "Failed: 1 trials (dcgan/t0001)" in err
    assert "t0001 (FD-EffNetLite0 64.49); recommended: " in err
    assert ", as diffusion is expected to do worse. " in err
    assert "</html>" in (store / "report.html").read_text(encoding="utf-8")


@pytest.mark.parametrize("words", [["best", LONG], ["best", "--compare", "--no-html"], ["trials", LONG]])
def test_at_80_columns_no_record_breaks(store, capsys, monkeypatch, words):
    monkeypatch.setenv("COLUMNS", "80")
    assert run(words) == 0
    check_records("".join(capsys.readouterr()).splitlines(), words)


def check_records(lines, words):
    """Every trial has its name and score in one line, and its settings whole below it."""
    # What has no place to break at, such as a path, may be longer.
    lines = [line for line in lines if not line.startswith(NOTE)]
    assert all(len(line) <= 80 or " " not in line.split("  ")[-1].strip() for line in lines), "\n".join(lines)
    sweep = find_sweep(LONG)
    shown = () if words == ["best", LONG] else sweep.trials
    for trial in shown:
        names = {trial.trial} if words[0] == "trials" else {trial.sweep, trial.trial}
        row = next(number for number, line in enumerate(lines) if names <= set(line.split()))
        assert trial.score is None or f"{trial.score.value:.4g}" in lines[row].split()
        settings = format_setting_list(trial.at_best.params, varied_by_family(sweep.trials)[trial.name])
        assert set(settings) <= set(" ".join(lines[row + 1 : row + 5]).split())


def test_compare_as_json(store, capsys):
    assert run(["best", "--compare", "--no-html", "--format", "json"]) == 0
    value = json.loads(capsys.readouterr().out)
    assert sorted(value["sweeps"]) == ["dcgan", LONG]
    assert [entry["rank"] for entry in value["entries"]] == [1, 2, 3, 4]
    scores = [entry["objective"]["value"] for entry in value["entries"]]
    assert scores == sorted(scores)
    for entry in value["entries"]:
        assert set(entry) == {
            "rank", "sweep", "trial", "family", "objective", "cost", "params", "checkpoint", "status",
            "rescored", "further_scores", "signals", "warnings", "lineage", "best_of", "objectives", "broken_limits",
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
    assert "gensweep train --from-run few/t0000" in err


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
    assert "kind: diffusion" not in out


def test_best_writes_the_configuration_where_it_is_told(store, capsys):
    assert run(["best", LONG, "-o", "best.yaml"]) == 0
    assert yaml.safe_load((store / "best.yaml").read_text())["family"]["kind"] == "diffusion"
    assert run(["best", LONG, "-o", "best.yaml", "--compare", "--no-html"]) == 2


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
    assert {"trial", "status", "objective", "images", "params"} <= set(value[0])
    assert isinstance(value[0]["objective"], float)
    assert value[1]["objective"] is None
    costs = {"train_seconds", "params", "activation_bytes"}
    assert all(costs <= set(trial["cost"]) for trial in value)
    assert [trial["best"] for trial in value].count(True) == 1


def test_an_empty_store_says_what_to_run(tmp_path, capsys):
    from made_up import project

    with project(tmp_path):
        for arguments in (["best"], ["best", "--compare"], ["trials"], ["sample", "quickstart"]):
            assert run(arguments) == 4
            error = capsys.readouterr().err
            assert f"no sweep in {tmp_path}" in error
            assert "gensweep tune quickstart" in error


@pytest.mark.parametrize(
    "command", ["best", "best --compare", "trials", "sample a", "plan a --budget 8h", "export a --to onnx"]
)
def test_commands_that_read_make_no_file_in_an_empty_folder(command, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    assert run(command.split()) == 4
    assert f"no sweep in {tmp_path}" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("damage", ["away", "garbled"])
def test_without_mlflow_commands_work_and_say_one_line(store, capsys, monkeypatch, damage):
    if damage == "garbled":
        (store / "garbled.db").write_bytes(b"no database" * 1000)
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{store / 'garbled.db'}")
    for words in (["trials", LONG], ["best", LONG], ["best", "--compare"]):
        assert run(words) == 0
        out, err = capsys.readouterr()
        assert "t0001" in out
        assert err.count(NOTE) == 1


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
    assert value["verdict"]["recommended"]["trial"] in {entry["trial"] for entry in value["entries"]}
    assert {curve["unit"] for curve in value["curves"]} == {"images"}
    assert value["pareto"][0]["score"] == value["entries"][0]["objective"]["value"]


@pytest.fixture(scope="module")
def front(tmp_path_factory):
    """A sweep of two objectives; its best score breaks a limit."""
    from logged import LoggedSweep
    from made_up import project

    further, limit = {"metric": "sample_flops", "mode": "min"}, {"metric": "params", "min": None, "max": 9.0}
    with project(tmp_path_factory.mktemp("front")) as folder:
        sweep = LoggedSweep(folder / "sweeps", "front", trials=4, further=[further], constraints=[limit])
        for number, (score, flops, params) in enumerate([(5.0, 2e9, 9), (4.0, 3e9, 9), (6.0, 4e9, 9), (1.0, 1e9, 10)]):
            trial, cost = f"t{number:04d}", Cost(images=100, sample_flops=flops, params=params)
            sweep.start(trial, {"x": number}, {"family": {"kind": "gan"}})
            sweep.evaluate(trial, 100, score, cost=cost)
            sweep.end(trial)
        sweep.close()
        yield folder


def test_the_front_of_several_objectives_is_json_and_a_table(front, capsys):
    assert run(["best", "front", "--format", "json"]) == 0
    value = json.loads(capsys.readouterr().out)
    assert (value["trial"], value["objectives"]) == ("t0001", {"fd": 4.0, "sample_flops": 3e9})
    assert [(row["trial"], row["params"]["x"]) for row in value["objective_front"]] == [("t0001", 1), ("t0000", 0)]
    assert run(["best", "front"]) == 0
    assert re.search(r"front/t0000 +GAN +5 +2 GFLOPs +x=0", capsys.readouterr().out)


def test_the_report_draws_the_front_and_a_trial_that_breaks_a_limit_stays_out(front, capsys):
    assert run(["best", "--compare", "front", "-o", "front.html"]) == 0
    words = "Left out: front: 1 of 4 trials break a limit (t0003: params 10 is more than 9)"
    assert words in " ".join(capsys.readouterr().err.split())
    page = (front / "front.html").read_text()
    assert "<h2>The front of the objectives</h2>" in page
    assert "<h2>The objectives</h2>" in page
    assert run(["trials", "front"]) == 0
    assert "t0003 breaks a limit: params 10 is more than 9" in " ".join(capsys.readouterr().err.split())
