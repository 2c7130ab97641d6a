import json

import pytest
import yaml
from lawful import write_lawful_sweep
from made_up import diffusion, project, write_sweep
from truths.trainings import KnownLaw, MadeUpSweep

from gensweep.cli.main import run
from gensweep.config import load_sweep
from gensweep.extras.plan import forecast
from gensweep.search.space import sample
from gensweep.sweep.continuation import SWEEPS
from gensweep.sweep.stored_sweeps import load_sweeps

MADE = MadeUpSweep(KnownLaw(noise=0.01))
BUDGET = f"{4 * MADE.flops:g}flops"


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    with project(tmp_path_factory.mktemp("store")) as folder:
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
    assert value["budget"] == {"unit": "flops", "value": 4 * MADE.flops}
    assert [(each["family"], each["network"]) for each in value["others"]] == [("gan", "dcgan")]


def test_a_plan_has_a_price(store, capsys):
    assert run(["plan", "ddpm", "--budget", BUDGET, "--price", "3600EUR/h", "--format", "json"]) == 0
    out, err = capsys.readouterr()
    found = json.loads(out)["recommendation"]
    assert found["currency"] == "EUR"
    cost = next(t for t in load_sweeps(["ddpm"], SWEEPS)[0].trials if t.trial == found["trial"]).cost
    assert found["price"] == pytest.approx(found["flops"] * cost.device_seconds / cost.flops)
    assert f"Price: {found['price']:,.2f} EUR, at 3,600.00 EUR/h for each device." in err


@pytest.mark.parametrize("sweep", ["ddpm", "dcgan"])
def test_the_next_sweep_can_be_run_as_written(store, capsys, sweep):
    file = store / f"next-{sweep}.yaml"
    assert run(["plan", sweep, "--budget", BUDGET, "-o", str(file), "--format", "json"]) == 0
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
    config.trial(sample(config.nodes(), 0))


def test_what_follows_no_law_is_not_recommended(store, capsys):
    file = store / "never.yaml"
    assert run(["plan", "wall", "--budget", BUDGET, "--format", "json", "-o", str(file)]) == 5
    out, err = capsys.readouterr()
    value = json.loads(out)
    assert value["recommendation"] is None
    assert value["expected"] is None
    assert value["backtest"]["trusted"] is False
    assert "do not follow the scaling law" in value["problems"][0]
    assert "Error: no recommendation: " in err
    assert not file.exists()
    assert run(["plan", "wall", "--budget", BUDGET]) == 5
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["three", "--budget", BUDGET], 5, "gensweep tune --extend"),
        (["ddpm", "--budget", "1e12flops"], 1, "gensweep best --compare"),
        (["ddpm", "--budget", "0flops"], 2, "above 0"),
        (["ddpm", "--budget", "3weeks"], 2, "'weeks'"),
        (["upward", "--budget", BUDGET], 2, "objective is fd, kid or bpd"),
        (["costless", "--budget", BUDGET], 4, "trained here"),
        (["ddpm", "--budget", BUDGET, "-o", "plan.svg"], 2, ".yaml"),
        (["ddpm", "--budget", BUDGET, "-o", "nowhere/next.yaml"], 2, "create it first"),
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
