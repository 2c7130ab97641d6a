import csv
import io
import json
from dataclasses import replace

import pytest
import yaml

from gensweep.cli.main import run
from gensweep.sweep.continuation import SWEEPS
from gensweep.sweep.stored_sweeps import load_sweeps

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
    err = " ".join(err.split())
    assert "Left out: few: scores of another kind (generated images: 500 against 2,000)" in err
    assert "Failed: 1 trials (dcgan/t0001)" in err
    assert "</html>" in (store / "report.html").read_text(encoding="utf-8")


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
            "rescored", "further_scores", "signals", "warnings", "objectives", "broken_limits",
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
        (["--budget", "3weeks"], 2, "has the unknown unit 'weeks'"),
        (["--budget", "9d"], 2, "is more than all groups reached"),
        (["--draw", "5", "--budget", "1e12flops"], 2, "no trial has a recorded cost in flops"),
        (["--budget", "60kimages", "--draw", "5"], 2, "--draw: sampling costs no training images"),
    ],
)
def test_budgets_that_say_nothing_are_refused_in_one_line(store, capsys, arguments, code, words):
    assert run(["best", "--compare", "dcgan", "--no-html", *arguments]) == code
    out, err = capsys.readouterr()
    assert out == ""
    assert words in err
    assert err.strip().count("\n") == 0


def test_a_budget_belongs_to_a_comparison(store, capsys):
    assert run(["best", "dcgan", "--budget", "60kimages"]) == 2
    assert "need --compare" in capsys.readouterr().err


def test_a_budget_is_the_one_of_the_verdict(store, capsys):
    assert run(["best", "--compare", "--no-html", "--budget", "60000images", "--format", "json"]) == 0
    value = json.loads(capsys.readouterr().out)
    assert value["verdict"]["budget"] == {"unit": "images", "value": 60000}
    assert value["verdict"]["recommended"]["trial"] in {entry["trial"] for entry in value["entries"]}
    assert {curve["unit"] for curve in value["curves"]} == {"images"}
    assert value["pareto"][0]["score"] == value["entries"][0]["objective"]["value"]


def test_a_price_turns_device_time_into_money(store, capsys):
    assert run(["best", "--compare", "dcgan", "--no-html", "--price", "3600EUR/h", "--format", "json"]) == 0
    out, _ = capsys.readouterr()
    verdict = json.loads(out)["verdict"]
    trials = {trial.trial: trial.cost for trial in load_sweeps(["dcgan"], SWEEPS)[0].trials}
    seconds = {
        name: cost.device_seconds + (cost.scoring_device_seconds or 0)
        for name, cost in trials.items()
        if cost.device_seconds
    }
    recommended = verdict["recommended"]["trial"]
    money = {"recommended": seconds[recommended], "all": sum(seconds.values())}
    assert verdict["price"] == {"currency": "EUR", **{name: pytest.approx(each) for name, each in money.items()}}
    assert f"At 3,600.00 EUR/h for each device, dcgan/{recommended} cost" in verdict["text"]


@pytest.mark.parametrize("command", [["best", "--compare"], ["plan", "dcgan", "--budget", "8h"]])
def test_an_invalid_price_is_refused_in_one_line(store, capsys, command):
    assert run([*command, "--price", "cheap"]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("Error: --price: takes a price for an hour")
