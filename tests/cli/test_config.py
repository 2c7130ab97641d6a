import json

import jsonschema
import pytest
import yaml

from gensweep.cli.main import run

SWEEP = """\
name: demo
base:
  family: {kind: diffusion}
space:
  network.width: {int: [16, 32], step: 16}
scales:
  cpu: {training.images: 20000}
"""


@pytest.fixture
def sweep(tmp_path):
    file = tmp_path / "sweep.yaml"
    file.write_text(SWEEP)
    return file


@pytest.fixture
def trial(tmp_path):
    file = tmp_path / "trial.yaml"
    file.write_text("family: {kind: gan}\ndata: {kind: digits, classes: ['3', '7']}\n")
    return file


def test_valid_files_are_listed_on_stdout(sweep, trial, capsys):
    assert run(["config", "validate", str(sweep), str(trial)]) == 0
    captured = capsys.readouterr()
    assert captured.out == f"{sweep}: a valid sweep (scales: cpu)\n{trial}: a valid trial\n"
    assert captured.err == ""


def test_problems_of_all_files_and_scales_come_at_once_with_exit_code_2(sweep, trial, tmp_path, capsys):
    sweep.write_text(SWEEP.replace("20000}", "-1}\n  gpu: {network.kind: cnnn}\n"))
    trial.write_text("family: {kind: gann}\n")
    missing = tmp_path / "missing.yaml"
    assert run(["config", "validate", str(sweep), str(trial), str(missing)]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert [line.rpartition("/")[2].partition(" ")[0] for line in lines] == [
        "sweep.yaml:7:",
        "sweep.yaml:8:",
        "trial.yaml:1:",
        "missing.yaml:",
    ]
    assert all(line.startswith("Error: ") for line in lines)


def test_the_schema_accepts_what_is_valid_and_refuses_what_is_not(sweep, capsys):
    assert run(["config", "schema"]) == 0
    schema = json.loads(capsys.readouterr().out)
    jsonschema.Draft202012Validator.check_schema(schema)
    validator = jsonschema.Draft202012Validator(schema)
    good = yaml.safe_load(sweep.read_text())
    assert validator.is_valid(good)
    for key in ("nonsense", "seed"):
        assert not validator.is_valid(good | {key: 1})
    good["base"]["family"] = {"kind": "gann"}
    assert not validator.is_valid(good)


def test_the_schema_knows_every_key_that_can_be_searched(capsys):
    assert run(["config", "schema"]) == 0
    space = json.loads(capsys.readouterr().out)["properties"]["space"]["properties"]
    assert {"network.width", "diffusion.schedule.beta_end", "gan.loss", "family.kind", "seed", "data.classes"} <= set(
        space
    )
    assert space["network.width"]["description"].startswith("a whole number")


@pytest.mark.parametrize(
    ("sampler", "words"),
    [
        ("{kind: heun, steps: 10}", ["heun with 10 steps and spacing log_snr", "2.34 times", "straight_heun"]),
        ("{kind: heun, steps: 21}", []),
    ],
)
def test_a_sampler_that_makes_noise_of_its_images_is_warned_of(tmp_path, capsys, sampler, words):
    text = f"family: {{kind: diffusion}}\ndiffusion: {{schedule: {{kind: cosine}}}}\nsampler: {sampler}\n"
    trial, sweep = tmp_path / "trial.yaml", tmp_path / "sweep.yaml"
    trial.write_text(text)
    base = "".join(f"  {line}\n" for line in text.splitlines())
    sweep.write_text(f"name: demo\nbase:\n{base}space:\n  network.width: {{int: [16, 32], step: 16}}\n")
    for file in (trial, sweep):
        assert run(["config", "validate", str(file)]) == 0
        lines = capsys.readouterr().err.splitlines()
        assert len(lines) == bool(words)
        assert all(line.startswith("Warning: sampler: ") and word in line for line in lines for word in words)
