import csv
import html
import io
import json
import shlex

import pytest
import yaml
from lawful import write_lawful_sweep
from made_up import diffusion, mlflow_store, write_sweep
from truths.trainings import KnownLaw, MadeUpSweep

from gensweep.cli.main import run
from gensweep.compute import forecast
from gensweep.config import load_sweep
from gensweep.report.budget_verdict import judge
from gensweep.report.comparison import compare
from gensweep.report.html import render
from gensweep.report.plan_ahead import plan_ahead
from gensweep.sweep.space import SearchSpace
from gensweep.tracking.runs import load_sweeps

MADE = MadeUpSweep(KnownLaw(noise=0.01))
BUDGET = f"{4 * MADE.flops:g}flops"


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    with mlflow_store(tmp_path_factory.mktemp("store")) as folder:
        write_lawful_sweep(folder, "ddpm", MADE)
        write_lawful_sweep(folder, "dcgan", MadeUpSweep(KnownLaw(floor=60, noise=0.01)), family="gan", seed=1)
        broken = KnownLaw(floor=2, size=1, images_exponent=0.7, saturates=5e12)
        write_lawful_sweep(folder, "wall", MadeUpSweep(broken, trainings=8, rungs=(), evaluations=16), seed=2)
        write_lawful_sweep(folder, "three", MadeUpSweep(trainings=3, rungs=(), evaluations=4), seed=3)
        long = MadeUpSweep(trainings=1, rungs=(), evaluations=48, flops=2 * MADE.flops)
        write_lawful_sweep(folder, "long", long, family="gan", seed=5)
        write_lawful_sweep(folder, "upward", MadeUpSweep(trainings=6, rungs=(), evaluations=4), seed=4, mode="max")
        write_sweep(folder, "costless", diffusion, 6, pictures=False, rungs=1)
        yield folder


@pytest.fixture(autouse=True)
def few_replicates(monkeypatch):
    monkeypatch.setattr(forecast, "REPLICATES", 30)


def test_a_plan_as_json(store, capsys):
    assert run(["plan", "ddpm", "dcgan", "--budget", BUDGET, "--format", "json"]) == 0
    value = json.loads(capsys.readouterr().out)
    recommended = value["recommendation"]
    assert recommended["family"] == "diffusion"
    assert recommended["network"] == "unet"
    assert recommended["sweep"] == "ddpm"
    assert recommended["settings"]["network.width"] == recommended["width"]
    assert recommended["flops"] == pytest.approx(4 * MADE.flops, rel=0.01)
    assert recommended["images"] > 0
    assert value["expected"]["low"] < value["expected"]["value"] < value["expected"]["high"]
    assert value["backtest"]["trusted"] is True
    assert 0.5 <= value["backtest"]["coverage"] <= 1
    assert 0 <= value["backtest"]["regret"] < 0.2
    (widest,) = value["backtest"]["widths"]  # one diffusion model is as wide
    assert (widest["family"], widest["network"]) == ("gan", "dcgan")
    assert widest.keys() == {"family", "network", "width", "coverage", "ratio", "trainings"}
    assert value["budget"] == {"unit": "flops", "value": 4 * MADE.flops}
    assert [(each["family"], each["network"]) for each in value["others"]] == [("gan", "dcgan")]
    assert value["frontier"][0]["points"][-1]["budget"] == pytest.approx(4 * MADE.flops)


def test_a_plan_in_words_with_its_backtest_and_figure(store, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    assert run(["plan", "ddpm", "dcgan", "--budget", BUDGET, "--figure", "plan.svg"]) == 0
    out, err = capsys.readouterr()
    assert "family" in out
    assert max(map(len, out.splitlines())) <= 80
    assert "80 %" in out
    assert "Backtest: with the last factor of 4 of compute hidden" in err
    assert f"With {4 * MADE.flops:.4g}flops: diffusion at width".replace("e+", "e") in err
    assert "Settings of ddpm/t" in err
    assert "one seed" in err
    svg = (store / "plan.svg").read_text(encoding="utf-8")
    assert "FD-EffNetLite0" in svg
    assert ">diffusion<" in svg
    assert run(["plan", "ddpm", "--budget", BUDGET, "--figure", "plan.png"]) == 0
    assert (store / "plan.png").read_bytes().startswith(b"\x89PNG")


@pytest.fixture(scope="module")
def ahead(store):
    """By name of the sweeps, what the report says of four times the compute, and the page."""
    found = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(forecast, "REPLICATES", 30)
        for names in (("ddpm", "dcgan"), ("wall",), ("three",), ("upward",), ("costless",), ("long", "ddpm")):
            comparison = compare(load_sweeps(names), asked=True)
            judged = judge(comparison)
            said = plan_ahead(comparison, judged)
            found[names[0]] = said, render(comparison, judged, said)
    return found


def test_the_report_shows_the_plan_for_four_times_the_compute_where_it_is_trusted(ahead, store, capsys):
    said, page = ahead["ddpm"]
    assert "With 4 times the compute" in page
    assert [row["family"] for row in said.rows] == ["diffusion", "GAN"]
    for words in (*said.sentences, *said.remarks, said.rows[1]["80 %"]):
        assert html.escape(words, quote=False) in page.replace("&#39;", "'")
    program, *arguments = shlex.split(said.command)
    assert program == "gensweep"
    assert said.command in page
    assert run(arguments) == 0
    assert said.sentences[0] in capsys.readouterr().err


@pytest.mark.parametrize(
    ("sweep", "said"),
    [
        ("wall", "No plan for 8e13flops can be trusted: "),
        ("three", "No plan: too few trials with scores to fit a law"),
        ("upward", "a law needs scores that fall towards a floor"),
    ],
)
def test_the_report_says_in_a_line_why_it_has_no_plan(ahead, sweep, said):
    found, page = ahead[sweep]
    assert said in found.sentences[0]
    assert said in page
    assert (found.rows, found.command) == ((), None)
    assert "next.yaml" not in page


def test_the_report_plans_from_what_families_with_a_law_have_spent(ahead):
    found, _ = ahead["long"]
    assert "With 8e13flops: diffusion at width" in found.sentences[0]
    assert found.remarks[0].startswith("GAN is left out")


def test_a_report_without_compute_on_record_says_nothing_of_a_plan(ahead):
    found, page = ahead["costless"]
    assert found is None or not found.rows
    assert "next.yaml" not in page


def test_a_plan_as_csv_has_a_row_a_family(store, capsys):
    assert run(["plan", "ddpm", "dcgan", "--budget", BUDGET, "--format", "csv"]) == 0
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert [row["family"] for row in rows] == ["diffusion", "GAN"]
    assert float(rows[0]["expected"]) < float(rows[1]["expected"])


def test_device_time_and_images_are_budgets_too(store, capsys):
    for budget in ("30min", "20Mimages"):
        assert run(["plan", "ddpm", "--budget", budget, "--format", "json"]) in (0, 5)
        value = json.loads(capsys.readouterr().out)
        assert value["backtest"]["coverage"] is not None
    assert value["budget"] == {"unit": "images", "value": 20e6}


@pytest.mark.parametrize("sweep", ["ddpm", "dcgan"])
def test_the_next_sweep_can_be_run_as_written(store, capsys, sweep):
    file = store / f"next-{sweep}.yaml"
    assert run(["plan", sweep, "--budget", BUDGET, "--write", str(file), "--format", "json"]) == 0
    out, err = capsys.readouterr()
    width = json.loads(out)["recommendation"]["width"]
    assert f"gensweep tune {file}" in err
    assert run(["config", "validate", str(file)]) == 0
    tree = yaml.safe_load(file.read_text(encoding="utf-8"))
    assert tree["budget"] == {"flops": 4 * MADE.flops}
    assert width in tree["space"]["network.width"]["choice"]
    config = load_sweep(file)
    assert config.name == f"{sweep}-next"
    assert [(each.metric, each.max) for each in config.constraints] == [("params", 1e9)]
    config.trial(SearchSpace.of(config).sample(0))


def test_ranges_of_the_next_sweep_lie_around_the_best_value_within_the_former_ones(store, capsys):
    file = store / "narrowed.yaml"
    assert run(["plan", "ddpm", "--budget", BUDGET, "--write", str(file), "--format", "json"]) == 0
    best = json.loads(capsys.readouterr().out)["recommendation"]["settings"]["optimizer.learning_rate"]
    low, high = yaml.safe_load(file.read_text(encoding="utf-8"))["space"]["optimizer.learning_rate"]["float"]
    assert 1e-4 <= low < best < high <= 1e-2
    assert high / low <= 4.1


def test_what_follows_no_law_is_not_recommended(store, capsys):
    file = store / "never.yaml"
    assert run(["plan", "wall", "--budget", BUDGET, "--format", "json", "--write", str(file)]) == 5
    out, err = capsys.readouterr()
    value = json.loads(out)
    assert value["recommendation"] is None
    assert value["expected"] is None
    assert value["backtest"]["trusted"] is False
    assert "follow no saturating power law" in value["problems"][0]
    assert "Error: nothing is recommended: " in err
    assert not file.exists()
    assert run(["plan", "wall", "--budget", BUDGET]) == 5
    assert capsys.readouterr().out == ""


def test_without_a_law_the_json_says_why(store, capsys):
    assert run(["plan", "ddpm", "--budget", BUDGET, "--format", "json"]) == 0
    whole = json.loads(capsys.readouterr().out)
    assert run(["plan", "three", "--budget", BUDGET, "--format", "json"]) == 5
    value = json.loads(capsys.readouterr().out)
    assert (value.keys(), value["backtest"].keys()) == (whole.keys(), whole["backtest"].keys())
    assert value["recommendation"] is value["expected"] is value["probability"] is None
    assert [problem.partition(" (")[0] for problem in value["problems"]] == ["too few trials with scores to fit a law"]


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["three", "--budget", BUDGET], 5, "gensweep tune --extend"),
        (["ddpm", "--budget", "1e12flops"], 1, "gensweep best --compare"),
        (["ddpm", "--budget", "0flops"], 2, "above 0"),
        (["ddpm", "--budget", "3weeks"], 2, "'weeks'"),
        (["upward", "--budget", BUDGET], 2, "objective is fd, kid or bpd"),
        (["costless", "--budget", BUDGET], 4, "trained here"),
        (["ddpm", "--budget", BUDGET, "--figure", "plan.pdf"], 2, ".svg, .png"),
        (["ddpm", "--budget", BUDGET, "--figure", "nowhere/plan.svg"], 2, "make it first"),
        (["ddpm", "--budget", BUDGET, "--write", "next.txt"], 2, ".yaml"),
        (["ddmp", "--budget", BUDGET], 2, "did you mean 'ddpm'"),
    ],
)
def test_bad_input_gets_one_line_with_what_to_do(store, capsys, arguments, code, words):
    assert run(["plan", *arguments]) == code
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("Error: ")
    assert err.strip().count("\n") == 0
    assert words in err


def test_a_file_that_exists_is_not_overwritten(store, capsys):
    (store / "mine.yaml").write_text("mine")
    assert run(["plan", "ddpm", "--budget", BUDGET, "--write", "mine.yaml"]) == 2
    assert (store / "mine.yaml").read_text() == "mine"
    assert "exists already" in capsys.readouterr().err
