"""`gensweep judge` from the command line, on tiny GANs: decisions, exit codes, refusals, and resuming."""

import json
import re

import pytest
import yaml
from typed_commands import call, start

from gensweep.sweep.folder import SweepFolder

pytestmark = [pytest.mark.ray, pytest.mark.mlflow]

BASE = {
    "data": {"kind": "digits", "size": 8},
    "family": {"kind": "gan"},
    "network": {"kind": "dcgan", "width": 8},
    "training": {"images": 6000, "batch_size": 32},
    "evaluation": {"samples": 100, "metrics": ["fd"], "extractor": {"kind": "efficientnet_lite0", "resolution": 32}},
    "gan": {"generator_learning_rate": 1e-5, "discriminator_learning_rate": 1e-5},
}
FASTER = ["--set", "gan.generator_learning_rate=2e-3", "--set", "gan.discriminator_learning_rate=2e-3"]
JUDGED = ["judge", "base.yaml", *FASTER, "--most-seeds", 3, "--format", "json"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with a base and a finished judgement of a candidate that learns."""
    folder = tmp_path_factory.mktemp("judge")
    (folder / "base.yaml").write_text(yaml.safe_dump(BASE))
    (folder / "keep.json").write_text(start(folder, *JUDGED).out)
    return folder


def test_a_candidate_that_learns_is_kept_at_equal_compute(folder):
    found = json.loads((folder / "keep.json").read_text())
    assert found["decision"] == "keep"
    assert 2 <= len(found["looks"]) <= 3
    assert found["looks"][-1]["low"] > 0
    state = SweepFolder(folder / "sweeps", "judge-base").state()
    assert {trial.status for trial in state.trials.values()} == {"finished"}
    seeds = [[trial.config["seed"] for trial in state.trials.values() if trial.number == n] for n in (0, 1)]
    assert sorted(seeds[0]) == sorted(seeds[1]) == [*range(len(seeds[0]))]
    assert found["cost"]["used"] == pytest.approx(sum(trial.cost.flops for trial in state.trials.values()))


def test_the_same_command_repeats_the_answer_without_training(folder, monkeypatch):
    monkeypatch.setattr("gensweep.extras.judge.judging.run_sweep", lambda *args, **how: pytest.fail("it trains"))
    printed = call(folder, *JUDGED)
    assert printed.out == (folder / "keep.json").read_text()
    assert (
        "Keep: judge-base/t0001 (generator_learning_rate=0.002 discriminator_learning_rate=0.002): gain" in printed.err
    )


def test_an_interrupted_judgement_continues_to_the_same_answer(folder):
    log = SweepFolder(folder / "sweeps", "judge-base").log.file
    lines = log.read_bytes().splitlines(keepends=True)
    ended = [number for number, line in enumerate(lines) if b'"ended"' in line.lower()]
    log.write_bytes(b"".join(lines[: ended[2]]))  # the third training has just been evaluated
    before, now = json.loads((folder / "keep.json").read_text()), json.loads(start(folder, *JUDGED).out)
    assert now["decision"] == "keep"
    assert now["scores"] == [
        {name: pytest.approx(score, rel=1e-4) for name, score in pair.items()} for pair in before["scores"]
    ]


def test_a_candidate_that_diverges_is_discarded(folder):
    wild = ["gan.generator_learning_rate=1", "gan.discriminator_learning_rate=1", "gan.loss.kind=least_squares"]
    changes = [f"--set={change}" for change in wild]
    printed = start(folder, "judge", "base.yaml", *changes, "--name", "diverging", code=10)
    assert re.search(r"Discard: diverging/t0001 \(.*learning_rate=1\): gain -\d", printed.err)
    report = folder / "report.html"
    call(folder, "best", "judge-base", "diverging", "--compare", "-o", report)
    page = report.read_text(encoding="utf-8")
    assert "<h2>Judgements</h2>" in page
    assert "Discard: diverging/t0001 (" in page
    assert "smallest gain that matters" in page


def test_a_stream_begins_with_a_base_without_a_name(folder):
    (folder / "space.yaml").write_text(yaml.safe_dump({"base": BASE}))
    assert (
        "judge --against-current CANDIDATE --name night"
        in start(folder, "judge", "--init", "space.yaml", "--name", "night").err
    )
    assert "evaluation.samples: is fixed at 100" in refused(
        folder, "--against-current", "--set", "evaluation.samples=200", "--name", "night"
    )
    assert "data.classes: is fixed at None, but" in refused(
        folder, "--against-current", "--set", "data.classes=[0]", "--name", "night"
    )


def refused(folder, *arguments):
    return call(folder, "judge", *arguments, code=2).err


def test_a_candidate_that_changes_what_is_fixed_is_refused_with_all_differences(folder):
    other = {**BASE, "seed": 5, "training": {**BASE["training"], "images": 7000}}
    other["evaluation"] = {**BASE["evaluation"], "samples": 200}
    (folder / "other.yaml").write_text(yaml.safe_dump(other))
    message = refused(folder, "base.yaml", "other.yaml")
    assert "evaluation.samples: is fixed at 100, but the candidate has 200" in message
    assert "seed: is fixed at 0, but the candidate has 5" in message
    assert "training.images: is fixed at 6000, but the candidate has 7000" in message
    assert "seed: is fixed at 0, but the candidate has 1" in refused(folder, "base.yaml", "--set", "seed=1")
    assert not (folder / "sweeps" / "judge-other").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["base.yaml"], "there is no candidate: name a file or a run"),
        ([], "name a base and a candidate"),
        (["base.yaml", "nowhere/t0001"], "'nowhere/t0001' is not a sweep or run"),
        (["base.yaml", "missing.yaml"], "missing.yaml"),
        (["base.yaml", "--set", "gan.loss.kind=hing"], "hing"),
        (["base.yaml", *FASTER, "--name", "small", "--budget", "1e6flops"], "does not pay for two pairs"),
        (["base.yaml", *FASTER, "--name", "small", "--budget", "10s"], "does not pay for two pairs"),
        (["base.yaml", *FASTER, "--error", "3"], "write for instance 1% or 0.01"),
        (["base.yaml", *FASTER, "--most-seeds", "4"], "rules.most_seeds: is 3 in judge-base, but now 4"),
        (["--init", "base.yaml"], "with one configuration and --name NAME"),
        (["--against-current", "base.yaml", "--name", "nowhere"], "nowhere"),
    ],
)
def test_bad_input_is_refused_in_a_line(folder, arguments, message):
    lines = refused(folder, *arguments)
    assert message in lines
    assert "Traceback" not in lines
